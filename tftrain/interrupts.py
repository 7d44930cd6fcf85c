"""Ctrl-C, SIGTERM and a terminal that is closed: put off while a run could not be stopped in good order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tftrain.core.types import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))  # not on Windows
INTERRUPTED = "interrupted by"


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; `where` says at which step, and how to go on."""

    def __init__(self, number: int, where: str = ""):
        super().__init__(number, where)
        self.number, self.where = number, where

    @property
    def status(self) -> int:
        """What the process exits with, as a shell tells a process that a signal has ended."""
        return 128 + self.number

    def __str__(self) -> str:
        return " ".join([said(self.number), self.where]).rstrip()


class Asked(Stop):
    """The reason that ends training where a signal asked for it."""

    def __init__(self, number: int):
        super().__init__(said(number))
        self.number = number


def said(number: int) -> str:
    return f"{INTERRUPTED} {signal.Signals(number).name}"


class Interrupts:
    """Owns the signal that came while it was put off; 0 is none."""

    def __init__(self):
        self.number = 0
        self._waits = False

    def answer(self, number: int) -> None:
        """Take a signal in. Raises Interrupted, unless it is put off."""
        if not self._waits:
            raise Interrupted(number)
        self.number = number

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """A signal that comes while the block runs is raised at its end, unless the block raises itself."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self.number:
            raise Interrupted(self.number)


@contextmanager
def heard() -> Iterator[Interrupts]:
    """The first signal is for the interrupts; what comes after it is answered as it was before.

    Only the main thread may do that; on another one signals are not heard, nor are those that the process ignores.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {number: answer for number, answer in before.items() if answer not in (signal.SIG_IGN, None)}

    def give_back() -> None:
        for number, answer in taken.items():
            signal.signal(number, answer)

    def answer(number: int, frame: object) -> None:
        give_back()
        interrupts.answer(number)

    try:
        for number in taken:
            signal.signal(number, answer)
        yield interrupts
    finally:
        give_back()


@contextmanager
def second_kills() -> Iterator[None]:
    """Of two Ctrl-C that come while nobody answers the second ends the process at once.

    Within a long call into TensorFlow Python answers no signal, so a thread is told of them too.
    """
    before, (told, tell) = signal.signal(signal.SIGINT, signal.SIG_DFL), os.pipe()
    os.set_blocking(tell, False)
    told_before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_end_at_second, args=[told], daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(told_before)
        os.close(tell)
        signal.signal(signal.SIGINT, before)


def _end_at_second(told: int) -> None:
    """Counts the Ctrl-C among the signals that are told, one byte each."""
    count = 0
    while byte := os.read(told, 1):
        count += byte[0] == signal.SIGINT
        if count == 2:
            os._exit(128 + signal.SIGINT)
    os.close(told)
