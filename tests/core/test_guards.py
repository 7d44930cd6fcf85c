import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.guards import LOOKS_EVERY, SpikeDetector


class Twin:
    """The same in a few lines: all norms are kept."""

    def __init__(self, factor):
        self.factor, self.applied, self.limit = factor, [], np.inf
        self.windows = [[]]
        self.spikes, self.until, self.limit_before = [], 0, None

    def step(self, step, norm):
        if self.until and step > self.until:
            self.end_tolerance()
        if step - 1 == 10 or (step - 1) % LOOKS_EVERY == 0:
            recent = [
                *self.windows[-1],
                *(self.windows[-2] if len(self.windows) > 1 else []),
            ]
            if recent:
                self.limit = max(
                    self.factor * max(recent), 2 * max(self.applied)
                )
                self.windows.append([])
                self.until, self.limit_before = 0, None
        if not norm < self.limit:
            self.spikes.append((step, norm))
            close = [
                norm for before, norm in self.spikes[-3:] if before > step - 10
            ]
            if len(close) == 3:
                self.until, self.limit_before = (
                    step + 10,
                    self.limit_before or self.limit,
                )
                self.limit = 2 * max(close)
            return False
        self.limit = max(self.limit, self.factor * norm)
        self.applied.append(norm)
        self.windows[-1].append(norm)
        return True

    def end_tolerance(self):
        peak = max(self.windows[-1], default=0)
        if peak < self.limit_before:
            self.limit = max(self.limit_before, self.factor * peak)
        self.until, self.limit_before = 0, None


def judge(norms, factor=1000.0):
    """Whether each of these norms is applied, by a NormRange and by its twin."""
    norms = np.asarray(norms, np.float32)
    norm_range, twin = SpikeDetector(factor), Twin(np.float32(factor))

    @tf.function
    def step_with(norm):
        holds = norm_range.holds(norm)
        if holds:
            norm_range.add(norm)
        return holds

    applied, expected, next_look = [], [], 0
    for step, norm in enumerate(norms):
        if step == next_look:
            next_look = step + norm_range.look(step)
            assert next_look == step + norm_range.look(
                step
            )  # to look twice changes nothing
        applied.append(bool(step_with(norm)))
        if not applied[-1]:
            assert norm_range.is_spike(norm)
            norm_range.add_spike(step + 1, norm)
            next_look = step + 1
        expected.append(twin.step(step + 1, norm))
    assert applied == expected
    return np.array(applied)


def test_norms_are_judged_by_the_recent_ones_and_by_the_largest():
    random = np.random.default_rng(3)
    norms = np.exp(random.normal(size=2500) - np.arange(2500) / 140).astype(
        np.float32
    )
    norms[[2, 40, 500, 1500, 2400]] *= np.float32([1e2, 3e4, 1e5, 1e3, 1e12])
    norms[995:1003] *= 1e6  # a new range, at a look
    applied = judge(norms, 50.0)
    assert (
        not applied.all() and applied[2]
    )  # before the first look there is no spike


STEPS = 140
ORDINARY = np.exp(np.random.default_rng(0).normal(size=STEPS) / 2)


@pytest.mark.parametrize(
    "spikes",
    [
        {50: 3e6},
        {50: 3e6, 61: 3e6},
        {50: 3e6, 51: 3e6, 52: 3e6},
        {50: 3e6, 51: 3e6, 52: 3e6, 72: 3e6},
        {50: 1e4, 70: 1e6, 90: 1e8, 110: 1e10},
        dict.fromkeys(range(20, STEPS, 5), 3e6),
    ],
    ids=[
        "one",
        "two",
        "a burst",
        "one behind a burst",
        "larger each time",
        "again and again",
    ],
)
def test_the_guard_stands_behind_a_spike(spikes):
    """Each of them is skipped and nothing else is: there is no step behind a spike at which anything goes."""
    norms = ORDINARY.copy()
    norms[list(spikes)] = list(spikes.values())
    assert set(np.flatnonzero(~judge(norms))) == set(spikes)


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_a_new_range_is_accepted_after_three_spikes(every):
    norms = ORDINARY.copy()
    norms[90::every] *= 1e7
    assert np.flatnonzero(~judge(norms)).tolist() == [
        90,
        90 + every,
        90 + 2 * every,
    ]


@pytest.mark.parametrize("kind", ["lognormal", "pareto", "decaying"])
def test_heavy_tails_are_no_spikes(kind):
    random = np.random.default_rng(1)
    norms = {
        "lognormal": np.exp(2 * random.normal(size=1100)),
        "pareto": random.pareto(1.0, size=1100) + 1,
        "decaying": np.exp(random.normal(size=1100) - np.arange(1100) / 40),
    }
    assert judge(norms[kind]).all()


def test_a_norm_like_the_largest_of_the_run_is_no_spike():
    norm_range = SpikeDetector(10.0)
    for step in range(2 * LOOKS_EVERY + 11):
        norm_range.look(step)
        norm = 1.0 if step < 10 else 1e-9
        assert norm_range.holds(tf.constant(norm))
        norm_range.add(tf.constant(norm))
    assert norm_range.limit() == 2
    assert norm_range.holds(tf.constant(1.5)) and not norm_range.holds(
        tf.constant(3.0)
    )
    assert (
        norm_range.is_spike(3.0)
        and not norm_range.is_spike(np.inf)
        and not norm_range.is_spike(1.5)
    )


@pytest.mark.parametrize("factor", [None, 1000.0])
def test_what_is_never_a_spike_and_what_never_holds(factor):
    norm_range = SpikeDetector(factor)
    for step in range(2 * LOOKS_EVERY):  # zeros tell nothing of a range
        assert norm_range.look(step) > 0
        if step % 500 == 0:
            norm_range.add(tf.constant(0.0))
    assert norm_range.holds(tf.constant(3e38)) and not norm_range.holds(
        tf.constant(np.inf)
    )
    assert not norm_range.holds(tf.constant(np.nan))
    norm_range.add(tf.constant(3e38))
    norm_range.look(3 * LOOKS_EVERY)
    assert norm_range.holds(tf.constant(3e38)) and not norm_range.holds(
        tf.constant(np.inf)
    )
