"""The small real data sets that come with scikit-learn; none needs a network.

They are read from its folder, because importing scikit-learn takes about a second.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np


def digits(flat: bool = False):
    """Handwritten digits: 1797 images [8, 8, 1] with values 0 to 16, in ten classes.

    With `flat` an image is a row of 64 values (E. Alpaydin and C. Kaynak, 1998).
    """
    x, y = _read_table("digits.csv.gz", header_lines=0)
    return (x if flat else x.reshape(-1, 8, 8, 1)), y


def iris():
    """Iris flowers: 150 records of 4 lengths in cm, in three classes (R. A. Fisher, 1936)."""
    return _read_table("iris.csv")


def wine():
    """Wines: 178 records of 13 chemical measurements, in three classes (M. Forina et al., 1988)."""
    return _read_table("wine_data.csv")


def breast_cancer():
    """Breast tumors: 569 records of 30 cell measurements, malignant (0) or benign (1) (W. Wolberg et al., 1993)."""
    return _read_table("breast_cancer.csv")


def _read_table(file: str, header_lines: int = 1):
    """The columns of one of scikit-learn's files, float32; the last has the labels."""
    path = (
        Path(importlib.util.find_spec("sklearn").origin).parent
        / "datasets"
        / "data"
        / file
    )
    content = path.read_bytes()
    text = (
        gzip.decompress(content) if path.suffix == ".gz" else content
    ).decode()
    # NumPy, given a path, asks for the working directory, which may have been deleted.
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=header_lines)
    return table[:, :-1].astype(np.float32), table[:, -1].astype(np.int64)
