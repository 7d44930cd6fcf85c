"""Names that are given a value after their definition: only an import can tell."""

# ruff: noqa: F811

from functools import partial


def shortened(width: int, depth: int):
    pass


shortened = partial(shortened, depth=3)


def chosen(width: int):
    pass


if True:

    def chosen(depth: int):
        pass


class Patched:
    def __init__(self, units: int):
        pass

    def other(self, rate: float):
        pass

    __init__ = other
