"""The time that is written into zip files, which `.keras` and `.npz` files are."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

_FIRST_YEAR, _LAST_YEAR = 1980, 2107
_FIRST_DAY = (
    315_619_200.0  # 2 January 1980, which is within that year everywhere
)


@contextmanager
def zip_clock() -> Iterator[None]:
    """Let zip files be written while the system's clock shows a year that they cannot hold, as one that was never set.

    Their entries then have the first day that they can hold.
    """
    if _FIRST_YEAR <= time.localtime(time.time()).tm_year <= _LAST_YEAR:
        yield
        return
    real = zipfile.time
    zipfile.time = SimpleNamespace(
        time=lambda: _FIRST_DAY, localtime=time.localtime
    )
    try:
        yield
    finally:
        zipfile.time = real
