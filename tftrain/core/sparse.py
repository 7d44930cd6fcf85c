"""The names of before, for one version: see `tftrain.core.numerics`."""

from tftrain.core.numerics import concat_sparse as joined
from tftrain.core.numerics import gradient_dtype, with_values
from tftrain.core.numerics import stored_values as values_of
from tftrain.core.numerics import sum_duplicate_rows as unique_rows

__all__ = [
    "gradient_dtype",
    "joined",
    "unique_rows",
    "values_of",
    "with_values",
]
