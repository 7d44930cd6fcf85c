"""Ctrl-C, SIGTERM and a terminal that is closed: put off while a run could not be stopped in good order.

The first signal stops a run after the call of the graph that it is in. A second one ends the process at once, whatever
hangs; so does the first where nothing is computed any more, as when a data source waits for ever.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tftrain.core.types import Stop
from tftrain.runtime.atomic_files import is_writing
from tftrain.trainer.once import Once

SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []),
)  # not on Windows
INTERRUPTED = "interrupted by"
IDLE_SECONDS = 20.0  # after a signal, without any work of the processor or writing of a file: the run hangs
BUSY_SECONDS = 600.0  # after a signal, whatever the processor does
NOTICE_SECONDS = 3.0  # after a signal that Python has not answered
TICK_SECONDS = 0.5
BUSY_SHARE = 0.02  # of one processor


class Interrupted(KeyboardInterrupt):
    """A signal ended the run.

    Args:
        number: that of the signal.
        where: at which step, and how to go on.
    """

    def __init__(self, number: int, where: str = ""):
        super().__init__(number, where)
        self.number = number
        self.where = where

    @property
    def status(self) -> int:
        """The exit status of the process: what a shell reports for one that the signal has ended."""
        return 128 + self.number

    def __str__(self) -> str:
        return " ".join([signal_message(self.number), self.where]).rstrip()


class StopRequested(Stop):
    """The reason that ends training where a signal asked for it."""

    def __init__(self, number: int):
        super().__init__(signal_message(number))
        self.number = number


def signal_message(number: int) -> str:
    """Return a text such as `interrupted by SIGTERM`."""
    return f"{INTERRUPTED} {signal.Signals(number).name}"


class SignalState:
    """The signal that came while signals were deferred; its `number` is 0 where none came."""

    def __init__(self):
        self.number = 0
        self._waits = False

    def answer(self, number: int) -> None:
        """Take in a signal.

        Raises:
            Interrupted: signals are not deferred.
        """
        if not self._waits:
            raise Interrupted(number)
        self.number = number

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise a signal that comes while the block runs at its end, unless the block raises itself."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self.number:
            raise Interrupted(self.number)


@contextmanager
def handling_signals() -> Iterator[SignalState]:
    """Take in the first signal during the block; later ones are handled as they were before the block.

    Only the main thread may do that: on another one nothing changes. Signals that the process ignores, as it does under
    `nohup`, stay ignored. A signal that would have ended the process still does when it comes twice, or when the run
    hangs.
    """
    interrupts = SignalState()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {
        number: answer
        for number, answer in handlers.items()
        if answer not in (signal.SIG_IGN, None)
    }
    fatal = {
        number for number, answer in taken.items() if answer is signal.SIG_DFL
    }

    def give_back() -> None:
        for number, answer in taken.items():
            signal.signal(number, answer)

    try:
        with watched(fatal) as watch:

            def answer(number: int, frame: object) -> None:
                give_back()
                watch.is_answered = True
                interrupts.answer(number)

            for number in taken:
                signal.signal(number, answer)
            watch.arm()
            yield interrupts
    finally:
        give_back()


class Watch:
    """A thread that learns of signals while the main one is in a call, in which Python handles none.

    It ends the process at the second fatal signal, and some time after the first where the process hangs.

    Args:
        fatal: the numbers of signals that end the process by default.
    """

    def __init__(self, fatal: Collection[int]):
        self.fatal = frozenset(fatal)
        self.is_answered = False  # whether a handler in Python has been called
        self._once = Once()
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._thread = threading.Thread(
            target=self._run, daemon=True, name="tftrain-signals"
        )

    @property
    def descriptor(self) -> int:
        """Where Python writes the number of each signal, as one byte."""
        return self._writing.fileno()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def arm(self) -> None:
        """Let the system end the process at the second signal, where the interpreter hangs and no thread runs."""
        for number in self.fatal:
            self._once.answer(number)

    def close(self) -> None:
        """End the thread."""
        self._writing.setblocking(True)
        self._writing.send(b"\0")
        self._thread.join()
        self._reading.close()
        self._writing.close()

    def _run(self) -> None:
        number = self._next_signal(None)
        while number and number not in self.fatal:
            number = self._next_signal(None)
        if number:
            self._follow_up(number)

    def _follow_up(self, first: int) -> None:
        """Wait for the second signal, or until the process hangs, and end it."""
        # This thread runs, so it can also answer the second signal.
        self._once.answer(first)
        start = time.monotonic()
        last_busy = start
        used = time.process_time()
        is_noticed = False
        while True:
            number = self._next_signal(TICK_SECONDS)
            if number == 0:
                return
            if number in self.fatal:
                os._exit(128 + number)
            now = time.monotonic()
            used_before = used
            used = time.process_time()
            if used - used_before > BUSY_SHARE * TICK_SECONDS or is_writing():
                last_busy = now
            if (
                not is_noticed
                and not self.is_answered
                and now - start > NOTICE_SECONDS
            ):
                is_noticed = True
                _print_line(
                    f"{signal_message(first)}; the run stops after the call that it is in, "
                    "a second signal ends it at once"
                )
            if now - last_busy > IDLE_SECONDS or now - start > BUSY_SECONDS:
                _print_line(
                    f"{signal_message(first)}; the run hangs, perhaps in its data, and is ended without saving"
                )
                os._exit(128 + first)

    def _next_signal(self, seconds: float | None) -> int | None:
        """Return the next signal within so many seconds; 0 where the watch is over, None where none came."""
        self._reading.settimeout(seconds)
        try:
            return self._reading.recv(1)[0]
        except TimeoutError:
            return None


def _print_line(line: str) -> None:
    os.write(
        sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{line}\n".encode()
    )


_watch: Watch | None = None


@contextmanager
def watched(fatal: Collection[int] | None = None) -> Iterator[Watch]:
    """End the process at once at the second signal during the block, whatever hangs.

    Where a watch runs already it goes on, and where the process has another wakeup descriptor nothing is done.

    Args:
        fatal: the numbers of the signals; by default all that are not ignored.
    """
    global _watch
    if fatal is None:
        fatal = {
            number
            for number in SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    is_main = threading.current_thread() is threading.main_thread()
    if _watch is not None or not is_main or not fatal:
        yield _watch or Watch(())
        return
    watch = Watch(fatal)
    old_descriptor = signal.set_wakeup_fd(
        watch.descriptor, warn_on_full_buffer=False
    )
    if old_descriptor != -1:
        signal.set_wakeup_fd(old_descriptor)
        yield watch
        return
    _watch = watch
    watch.start()
    watch.arm()
    try:
        yield watch
    finally:
        _watch = None
        signal.set_wakeup_fd(-1)
        watch.close()
