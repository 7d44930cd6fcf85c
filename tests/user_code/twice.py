"""Names that are given twice: the last one counts, as in Python."""

# ruff: noqa: E402, F401, F811

import elsewhere_and_missing  # checking a config must not import this file
import keras
import keras.layers
from pack.inner import small as late


def network(width: int):
    """The first."""


def network(depth: int, *, outputs: int):
    """The last."""


class Base:
    def __init__(self, units: int):
        pass


class Child(Base):
    """Inherits from the base above it."""


class Base:
    def __init__(self, units: int):
        """Replaced below."""

    def __init__(self, rate: float):
        pass


class Again(Base):
    def __init__(self, slope: float):
        pass


class Again(Again):
    """Inherits from its namesake."""


class Layer(keras.layers.Dense):
    """Inherits from what two imports lead to."""


def late(by: float):
    """In place of the one imported."""


def taken(by: float):
    """Replaced by the one imported."""


from pack.inner import small as taken
