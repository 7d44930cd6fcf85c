import pytest

from tftrain.core.timing import PhaseTimer


class Clock:
    """Goes on when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def spend(ledger, clock, kind, seconds):
    with ledger.phase(kind):
        clock.now += seconds


def test_seconds_of_a_kind_add_up(clock):
    ledger = PhaseTimer(clock)
    for kind, seconds in [("step", 2), ("input", 1), ("step", 3)]:
        spend(ledger, clock, kind, seconds)
    clock.now += 10  # which nobody counts
    assert ledger.seconds_by_phase() == {"step": 5, "input": 1}


def test_work_within_other_work_counts_once(clock):
    ledger = PhaseTimer(clock)
    with ledger.phase("checkpoints"):
        clock.now += 1
        spend(ledger, clock, "writing", 2)
        with ledger.phase("validation"):
            clock.now += 4
            spend(ledger, clock, "writing", 8)
        clock.now += 16
    assert ledger.seconds_by_phase() == {
        "checkpoints": 17,
        "writing": 10,
        "validation": 4,
    }


def test_what_fails_is_counted_too(clock):
    ledger = PhaseTimer(clock)
    with pytest.raises(KeyboardInterrupt), ledger.phase("step"):
        clock.now += 2
        raise KeyboardInterrupt
    assert ledger.seconds_by_phase() == {"step": 2}


def test_what_is_done_later_is_timed_each_time(clock):
    ledger = PhaseTimer(clock)

    def wait(seconds):
        clock.now += seconds

    patient = ledger.timed("profile", wait)
    patient(1)
    patient(2)
    assert ledger.seconds_by_phase() == {"profile": 3}


def test_measuring_is_what_measured_steps_take_more_than_others(clock):
    ledger = PhaseTimer(clock)
    spend(ledger, clock, "step", 15)
    ledger.split("step", "measuring", 5)
    ledger.split("step", "input", 2)
    ledger.count(
        16, 4
    )  # 8 s for 16 steps, 5 s for 4 measured ones, of which 2 s are usual
    assert ledger.seconds_by_phase() == {"step": 10, "measuring": 3, "input": 2}


@pytest.mark.parametrize(
    ("plain", "measured"),
    [(0, 4), (1, 4)],
    ids=["nothing to compare with", "no slower"],
)
def test_measuring_that_takes_nothing(clock, plain, measured):
    ledger = PhaseTimer(clock)
    spend(ledger, clock, "step", 10)
    ledger.split("step", "measuring", 6)
    ledger.count(plain, measured)
    assert ledger.seconds_by_phase() == {"step": 10}
