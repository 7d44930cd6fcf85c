import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.norm_range import LOOKS_EVERY, NormRange


class Twin:
    """The same in a few lines: all norms are kept."""

    def __init__(self, factor):
        self.factor, self.applied, self.limit = factor, [], np.inf
        self.windows = [[]]

    def step(self, step, norm):
        if step - 1 == 10 or (step - 1) % LOOKS_EVERY == 0:
            recent = [*self.windows[-1], *(self.windows[-2] if len(self.windows) > 1 else [])]
            if recent:
                self.limit = max(self.factor * max(recent), 2 * max(self.applied))
                self.windows.append([])
        if not norm < self.limit:
            return False
        self.limit = max(self.limit, self.factor * norm)
        self.applied.append(norm)
        self.windows[-1].append(norm)
        return True


def test_norms_are_judged_by_the_recent_ones_and_by_the_largest():
    random = np.random.default_rng(3)
    norms = np.exp(random.normal(size=3500) - np.arange(3500) / 200).astype(np.float32)
    norms[[2, 40, 500, 1500, 3400]] *= np.float32([1e2, 3e4, 1e5, 1e3, 1e12])
    norm_range, twin = NormRange(50.0), Twin(np.float32(50))
    judge = tf.function(norm_range.holds)
    add = tf.function(norm_range.add)
    held, expected, step = [], [], 0
    while step < len(norms):
        assert norm_range.look(step) == norm_range.look(step)  # to look twice changes nothing
        held.append(bool(judge(norms[step])))
        if held[-1]:
            add(norms[step])
        expected.append(twin.step(step + 1, norms[step]))
        step += 1
    assert held == expected
    assert [index for index, one in enumerate(held) if not one] and held[2]  # before the first look there is no spike


def test_a_norm_like_the_largest_of_the_run_is_no_spike():
    norm_range = NormRange(10.0)
    for step in range(2 * LOOKS_EVERY + 11):
        norm_range.look(step)
        norm = 1.0 if step < 10 else 1e-9
        assert norm_range.holds(tf.constant(norm))
        norm_range.add(tf.constant(norm))
    assert norm_range.limit() == 2
    assert norm_range.holds(tf.constant(1.5)) and not norm_range.holds(tf.constant(3.0))
    assert norm_range.is_spike(3.0) and not norm_range.is_spike(np.inf) and not norm_range.is_spike(1.5)
    norm_range.bear(3.0)
    assert norm_range.holds(tf.constant(29.0)) and not norm_range.holds(tf.constant(30.0))


@pytest.mark.parametrize("factor", [None, 1000.0])
def test_what_is_never_a_spike_and_what_never_holds(factor):
    norm_range = NormRange(factor)
    for step in range(2 * LOOKS_EVERY):  # zeros tell nothing of a range
        assert norm_range.look(step) > 0
        if step % 500 == 0:
            norm_range.add(tf.constant(0.0))
    assert norm_range.holds(tf.constant(3e38)) and not norm_range.holds(tf.constant(np.inf))
    assert not norm_range.holds(tf.constant(np.nan))
    norm_range.add(tf.constant(3e38))
    norm_range.look(3 * LOOKS_EVERY)
    assert norm_range.holds(tf.constant(3e38)) and not norm_range.holds(tf.constant(np.inf))
