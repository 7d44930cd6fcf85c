"""Reads arrays that NumPy saved and others may have changed: what does not fit is refused before it is unpacked."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tftrain.runtime.names import join_names
from tftrain.runtime.untrusted import Unreadable, open_file

MAX_ARRAY_BYTES = 2**32
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(
    path: str | os.PathLike,
    expected: Mapping[str, tuple[Sequence[int | None], np.dtype]],
    root: Path | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of a file that `np.savez` wrote.

    Args:
        path: the file.
        expected: by name the shape, in which None is any size, and the type; what does not fit is never unpacked.
        root: the folder of a run, in which no link is followed.

    Raises:
        Unreadable: the file is damaged, or holds other arrays.
    """
    with open_file(path, root) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_names(archive, path, expected)
                return {
                    name: _read_array(archive, name, path, shape, dtype)
                    for name, (shape, dtype) in expected.items()
                }
        except Unreadable:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise errors of some ten kinds for damaged files
            raise Unreadable(
                path, f"cannot be read: {error or type(error).__name__}"
            ) from None


def _read_array(
    archive: zipfile.ZipFile,
    name: str,
    path: str | os.PathLike,
    shape: Sequence[int | None],
    dtype: np.dtype,
) -> np.ndarray:
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        stored_shape, fortran_order, stored_type = _HEADERS[version](member)
        if not _has_shape(stored_shape, shape) or stored_type != dtype:
            sizes = ["any" if size is None else size for size in shape]
            raise Unreadable(
                path,
                f"holds '{name}' as {stored_type} {list(stored_shape)}; expected {np.dtype(dtype)} {sizes}",
            )
        size = (
            int(np.prod([1, *stored_shape], dtype=object))
            * stored_type.itemsize
        )
        if not 0 <= size <= MAX_ARRAY_BYTES:
            raise Unreadable(
                path, f"holds '{name}', which is too large: {size} bytes"
            )
        content = member.read(size + 1)
    if len(content) != size:
        raise Unreadable(
            path, f"holds '{name}' without the {size} bytes of its shape"
        )
    order = "F" if fortran_order else "C"
    return np.frombuffer(content, stored_type).reshape(
        stored_shape, order=order
    )


def _has_shape(stored: Sequence[int], expected: Sequence[int | None]) -> bool:
    if len(stored) != len(expected):
        return False
    pairs = zip(expected, stored, strict=True)
    return all(
        size is None or size == stored_size for size, stored_size in pairs
    )


def _check_names(
    archive: zipfile.ZipFile, path: str | os.PathLike, expected: Iterable[str]
) -> None:
    stored = sorted(name.removesuffix(".npy") for name in archive.namelist())
    if stored != sorted(expected):
        present = join_names(stored) or "nothing"
        needed = join_names(sorted(expected)) or "nothing"
        raise Unreadable(path, f"holds {present}; expected {needed}")
