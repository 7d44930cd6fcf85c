"""The small real data sets that come with scikit-learn; none needs a network."""

from __future__ import annotations

import numpy as np
from sklearn import datasets


def digits(flat: bool = False):
    """Handwritten digits: 1797 images [8, 8, 1] with values 0 to 16, in ten classes.

    With `flat` an image is a row of 64 values (E. Alpaydin and C. Kaynak, 1998).
    """
    x, y = datasets.load_digits(return_X_y=True)
    x = x.astype(np.float32)
    return (x if flat else x.reshape(-1, 8, 8, 1)), y


def iris():
    """Iris flowers: 150 records of 4 lengths in cm, in three classes (R. A. Fisher, 1936)."""
    return _table(datasets.load_iris)


def wine():
    """Wines: 178 records of 13 chemical measurements, in three classes (M. Forina et al., 1988)."""
    return _table(datasets.load_wine)


def breast_cancer():
    """Breast tumors: 569 records of 30 cell measurements, malignant (0) or benign (1) (W. Wolberg et al., 1993)."""
    return _table(datasets.load_breast_cancer)


def _table(load):
    x, y = load(return_X_y=True)
    return x.astype(np.float32), y
