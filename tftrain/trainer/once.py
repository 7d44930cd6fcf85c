"""Signals that Python answers once: at the next one the system does what it does by default, which ends the process."""

from __future__ import annotations

import ctypes
import sys

_RESET = 0x80000000  # SA_RESETHAND
_MASK_BYTES = 128
_DEFAULT, _IGNORED = None, 1
_IS_KNOWN = sys.platform == "linux" and sys.maxsize > 2**32


class _Action(ctypes.Structure):
    """C's `struct sigaction`, on Linux with 64 bits."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * _MASK_BYTES),
        ("flags", ctypes.c_uint),
        ("restorer", ctypes.c_void_p),
    ]


class Once:
    """How the system calls Python for some signals, so that this can be asked for again.

    Python handles a signal between two of its own instructions, so never within a call that keeps the interpreter.
    Nothing is done on other systems than Linux.
    """

    def __init__(self):
        self._actions: dict[int, _Action] = {}

    def answer(self, number: int) -> None:
        """Let Python handle a signal once more, if it has a handler now or had one at the last call."""
        if not _IS_KNOWN:
            return
        library = ctypes.CDLL(None)
        action = _Action()
        library.sigaction(number, None, ctypes.byref(action))
        if action.handler not in (_DEFAULT, _IGNORED):
            action.flags |= _RESET
            self._actions[number] = action
        if number in self._actions:
            library.sigaction(number, ctypes.byref(self._actions[number]), None)
