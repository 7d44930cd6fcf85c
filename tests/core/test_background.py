import subprocess
import sys
import threading
import time
import traceback

import pytest

from tftrain.core.background import BackgroundWriter
from tftrain.core.types import LogData


class Recorder:
    """Notes what it is told, in order; waits for `gate` at each point, and fails at step `failing`."""

    def __init__(self, failing=None):
        self.told, self.failing, self.gate, self.threads = (
            [],
            failing,
            threading.Event(),
            set(),
        )
        self.gate.set()

    def __call__(self, step, signals):
        self.gate.wait(10)
        self.threads.add(threading.current_thread())
        if step == self.failing:
            raise OSError(28, "No space left on device")
        self.told.append(step)

    def flush(self):
        self.told.append("flush")

    def close(self):
        self.told.append("close")


def points(*steps):
    return [(step, LogData({"loss": 1.0})) for step in steps]


def test_all_points_are_told_in_order_flushed_and_closed_on_one_other_thread():
    first, second = Recorder(), Recorder()
    writer = BackgroundWriter(
        [first, second, lambda step, signals: None]
    )  # the last has neither flush nor close
    writer.on_points(points(1, 2))
    writer.on_points([])
    writer.on_points(points(3))
    writer.drain()
    assert first.told == second.told == [1, 2, "flush", 3, "flush"]
    writer.on_points(points(4))
    writer.close()
    assert (
        first.told
        == second.told
        == [1, 2, "flush", 3, "flush", 4, "flush", "close"]
    )
    [thread] = first.threads | second.threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_it_waits_only_where_writing_falls_behind():
    slow = Recorder()
    slow.gate.clear()
    writer = BackgroundWriter([slow])
    for step in range(4):
        writer.on_points(points(step))
    assert slow.told == []
    blocked = threading.Thread(target=writer.on_points, args=[points(4)])
    blocked.start()
    blocked.join(0.1)
    assert blocked.is_alive()
    slow.gate.set()
    blocked.join(10)
    assert not blocked.is_alive()
    writer.close()
    assert [step for step in slow.told if isinstance(step, int)] == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("ask", ["call", "drain", "close"])
def test_what_fails_is_raised_once_by_what_is_called_next(ask):
    broken = Recorder(failing=2)
    writer = BackgroundWriter([broken])
    writer.on_points(points(1, 2, 3))
    writer._waiting[0].exception(10)
    with pytest.raises(OSError, match="No space left") as raised:
        {
            "call": lambda: writer.on_points(points(4)),
            "drain": writer.drain,
            "close": writer.close,
        }[ask]()
    assert (
        traceback.extract_tb(raised.tb)[-1].name == "__call__"
    )  # where it happened
    if ask != "close":
        writer.on_points(points(5))
        writer.close()
    assert broken.told == [1, "close"]


def test_one_that_cannot_be_closed_keeps_no_other_open():
    class Unclosable(Recorder):
        def close(self):
            raise OSError("cannot close")

    other = Recorder()
    writer = BackgroundWriter([Unclosable(), other, Unclosable()])
    with pytest.raises(OSError, match="cannot close"):
        writer.close()
    assert other.told == ["close"]


def test_the_thread_that_trains_gets_the_interpreter_between_two_points():
    seen = threading.Event()

    def busy(step, signals):
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until and not seen.is_set():
            pass

    writer = BackgroundWriter([busy])
    before = sys.getswitchinterval()
    sys.setswitchinterval(100)  # so long that nobody is made to let go
    try:
        writer.on_points(points(*range(1000)))
        time.sleep(0.01)
        written = writer._waiting[0].done()
    finally:
        sys.setswitchinterval(before)
        seen.set()
    writer.close()
    assert not written


@pytest.mark.parametrize(
    "end",
    ["", "raise ValueError('stop')", "raise KeyboardInterrupt", "sys.exit(3)"],
)
def test_nothing_is_lost_or_hangs_where_the_interpreter_ends_without_a_close(
    tmp_path, end
):
    program = f"""
import sys, time
from tftrain.core.background import BackgroundWriter
file = open({str(tmp_path / "written")!r}, "w")
class Slow:
    def __call__(self, step, signals):
        time.sleep(0.02)
        file.write(f"{{step}} ")
    def flush(self):
        file.flush()
writer = BackgroundWriter([Slow()])
for step in range(3):
    writer.on_points([(step, None)])
{end}
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60
    )
    assert (ended.returncode == 0) == (end == "")
    assert (tmp_path / "written").read_text() == "0 1 2 "
