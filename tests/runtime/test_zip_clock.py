"""Event files when the system's clock is set back, set forward, or was never set."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator,
)
from tensorboard.compat.proto.event_pb2 import Event

from tftrain.reporting.tensorboard.event_file import (
    Clock,
    EventFile,
    ScalarValues,
)

DAY = 86400.0
SESSIONS = {
    "set back by a day": (0.0, -DAY),
    "set back again and again": (0.0, -DAY, -2 * DAY, -3 * DAY),
    "far ahead at first": (20 * 365 * DAY, 0.0, 1.0),
    "never set": (-time.time(), -time.time() + 5.0, 0.0),
    "not moving": (0.0, 0.0, 0.0),
}


@pytest.fixture
def shift_clock(monkeypatch):
    """Sets the system's clock off by some seconds; one that stands still shows the same time again and again."""
    start, real = time.time(), time.time

    def shift(seconds, stands=False):
        monkeypatch.setattr(
            time, "time", lambda: seconds + (start if stands else real())
        )

    return shift


def read(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator.Tensors("a")


def session(folder, start_step, steps):
    file = EventFile(folder, start_step)
    values = ScalarValues(["a"])
    for step in range(start_step + 1, start_step + steps + 1):
        file.write(
            step, values.encode(np.array([float(step)]), np.array([True]))
        )
    file.close()


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("offsets", SESSIONS.values(), ids=SESSIONS)
def test_tensorboard_shows_all_points_in_their_order(
    tmp_path, shift_clock, offsets, stands
):
    for number, offset in enumerate(offsets):
        shift_clock(offset, stands)
        session(
            tmp_path, 10 * number, 15
        )  # of which the last five count no more once the run is resumed
    events = read(tmp_path)
    assert [event.step for event in events] == list(
        range(1, 10 * len(offsets) + 6)
    )
    times = [event.wall_time for event in events]
    assert times == sorted(times)


def test_a_file_comes_after_those_of_a_session_whose_clock_was_ahead_and_of_other_names(
    tmp_path,
):
    names = [
        "events.out.tfevents.1796095398.041867.host.1",
        "events.out.tfevents.9000000000.999999.host.1.hparams",
        "events.out.tfevents.nonsense",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"no event at all, " * 9)
    os.symlink("/nowhere", tmp_path / "events.out.tfevents.link")
    session(tmp_path, 0, 1)
    (new,) = {path.name for path in tmp_path.iterdir()} - {
        *names,
        "events.out.tfevents.link",
    }
    assert (
        new.startswith("events.out.tfevents.9000000001.00000")
        and new > names[1]
    )


def test_time_never_goes_back_while_a_file_is_written(tmp_path, monkeypatch):
    readings = iter([100.0, 101.0, 50.0, 51.0, 51.0, 60.0])
    monkeypatch.setattr(time, "time", lambda: next(readings))
    clock = Clock()
    assert [clock.seconds() for _ in range(5)] == [
        101.0,
        101.0,
        102.0,
        102.0,
        111.0,
    ]


def test_the_first_event_has_the_time_of_the_name(tmp_path, shift_clock):
    shift_clock(-time.time() + 7.0)
    session(tmp_path, 0, 0)
    (path,) = tmp_path.iterdir()
    first = Event.FromString(
        next(iter(event_file_loader.RawEventFileLoader(str(path)).Load()))
    )
    assert path.name.startswith("events.out.tfevents.0000000007.")
    assert first.wall_time == pytest.approx(7.0, abs=5.0)
