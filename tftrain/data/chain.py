"""The name of before, for one version: see `tftrain.data.preprocessing`."""

from tftrain.data.preprocessing import Preprocess

__all__ = ["Preprocess"]
