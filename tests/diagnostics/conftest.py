"""The small runs that tests of core are made of."""

from tests.core.conftest import house

__all__ = ["house"]
