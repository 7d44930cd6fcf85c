"""What is taken from the working directory: modules that a config names, and what those import themselves.

Python looks for every module in the working directory too, and packages try to import others that need not be there: a
file called lz4.py would run as soon as joblib is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

READER = "tftrain.config.importing"  # imports what a config names
_MACHINERY = {
    "_frozen_importlib",
    "_frozen_importlib_external",
    "importlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "importlib.util",
    __name__,
}

_guarded: set[str] = set()  # folders


class GuardedFinder:
    """Finds modules in one folder, for `READER` and for the modules of that folder alone."""

    def __init__(self, folder: str, finder: Any):
        self._folder, self._finder = folder, finder

    def find_spec(
        self, name: str, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module; None where there is none, or another package asks for it.

        Args:
            name: of the module.
            target: as Python's finders have it.
        """
        spec = self._finder.find_spec(name, target)
        return (
            spec
            if spec is not None and self._may_import(_importing_frame())
            else None
        )

    def invalidate_caches(self) -> None:
        """Have the folder read again."""
        self._finder.invalidate_caches()

    def _may_import(self, importer: FrameType | None) -> bool:
        if importer is None:
            return False
        name = importer.f_globals.get("__name__", "")
        if name.partition(".")[0] == "tftrain":
            return name == READER
        return self._is_own(_file_of(importer))

    def _is_own(self, file: str) -> bool:
        """Whether a file was found in the folder, and not by another entry of sys.path, such as a .venv within it.

        The file itself may be a link: it counts where it was found.
        """
        entries = {os.path.realpath(entry) for entry in sys.path}
        above = os.path.dirname(os.path.abspath(file))
        while os.path.realpath(
            above
        ) not in entries and above != os.path.dirname(above):
            above = os.path.dirname(above)
        return os.path.realpath(above) == self._folder


def guard_working_directory() -> None:
    """Keep packages from importing what lies in the working directory; does nothing where it is not looked in."""
    try:
        folder = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was deleted, so nothing lies there
        return

    def make_finder(entry: str) -> GuardedFinder:
        if os.path.realpath(entry) != folder:
            raise ImportError(
                f"only the working directory is guarded, not {entry}"
            )
        return GuardedFinder(folder, _plain_finder(entry))

    _guarded.add(folder)
    sys.path_hooks.insert(0, make_finder)
    for entry in [
        entry
        for entry in sys.path_importer_cache
        if os.path.realpath(entry) == folder
    ]:
        del sys.path_importer_cache[entry]
    importlib.invalidate_caches()


def leave_out_working_directory() -> None:
    """Take the working directory off sys.path, for commands that run no code of the user's.

    There packages would find the entry points of others that are not installed, such as plugins of TensorBoard.
    """
    sys.path[:] = [
        entry for entry in sys.path if os.path.realpath(entry) not in _guarded
    ]


@contextmanager
def cwd_off_path() -> Iterator[None]:
    """Keeps the working directory out of the search for modules while the block runs.

    TensorFlow tries to import many packages that need not be there, and a file in a user's folder may have the name of
    one, such as pandas.py.
    """
    try:
        here = ("", os.getcwd())
    except FileNotFoundError:  # the folder was deleted
        here = ("",)
    out = [folder for folder in sys.path if folder in here]
    sys.path[:] = [folder for folder in sys.path if folder not in here]
    try:
        yield
    finally:
        sys.path += out


def import_matplotlib() -> ModuleType:
    """Import Matplotlib without reading a matplotlibrc in the working directory.

    Such a file may have LaTeX run, which reads and writes files; a damaged one, or a named pipe, would end or hold up
    the import.
    """
    if not os.path.lexists("matplotlibrc"):
        return importlib.import_module("matplotlib")
    here = os.getcwd()
    os.chdir(os.path.dirname(__file__))
    try:
        return importlib.import_module("matplotlib")
    finally:
        os.chdir(here)


def _plain_finder(entry: str) -> Any:
    """What Python finds modules of a folder with."""
    for hook in sys.path_hooks[1:]:
        try:
            return hook(entry)
        except ImportError:
            continue
    raise ImportError(f"{entry} is no folder")


def _importing_frame() -> FrameType | None:
    """The frame that an import statement or a call of importlib stands in; that of who made code of no file."""
    frame = sys._getframe(1)
    while frame is not None and (
        frame.f_globals.get("__name__") in _MACHINERY
        or _file_of(frame).startswith("<")
    ):
        frame = frame.f_back
    return frame


def _file_of(frame: FrameType) -> str:
    """The file that a frame's code is from, such as `<string>` where it is from none."""
    return frame.f_globals.get("__file__") or frame.f_code.co_filename
