"""Rates with a state of their own, in the step, in the loop and in a checkpoint."""

import numpy as np
import pytest

from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.schedule import Segment
from tftrain.core.variables import assign_values, read_values
from tftrain.optim.schedules import backoff, inverse_norm, plateau, warmup


@pytest.fixture
def nested(house):
    """A small run whose rate holds every state there is, deep within each other."""

    def make(poisoned=(), seed=1):
        rate = warmup(
            2,
            backoff(
                4, inverse_norm(plateau(0.01, "loss", 0.5, 1)), 1.02, 0.1, 0.5
            ),
        )
        run, run.feed = (
            house.small_run(rate=rate, seed=seed),
            house.classes_feed(poisoned=poisoned),
        )
        compiled_steps = CompiledSteps(run.state, run.step_spec, run.feed)
        run.go = lambda step, count: compiled_steps.run(
            run.feed.serve(step, count), [Segment(count)]
        ).rows["learning_rate"]
        run.heed = lambda loss: assign_values(
            run.state.rate,
            rate.heed(read_values(run.state.rate), {"loss": loss}),
        )
        run.rate = lambda: {
            k: v
            for k, v in house.everything(run.state).items()
            if k.startswith("rate/")
        }
        return run

    return make


def test_any_number_of_steps_per_call_gives_the_same_bits(house, nested):
    ends, rates = [], []
    for pieces in ([10], [1] * 10, [3, 4, 1, 2]):
        run, step, seen = nested(), 0, []
        for piece in pieces:
            seen.extend(run.go(step, piece))
            step += piece
        ends.append(house.everything(run.state))
        rates.append(np.array(seen))
    assert (
        len(set(rates[0])) == 10
        and np.diff(rates[0]).min() < 0 < np.diff(rates[0]).max()
    )
    for end, rate in zip(ends[1:], rates[1:], strict=True):
        house.assert_same(ends[0], end)
        assert rate.tobytes() == rates[0].tobytes()


def test_a_step_that_is_not_finite_leaves_no_trace_in_the_rate(house, nested):
    run = nested(poisoned=[4])
    run.go(0, 3)
    before = run.rate()
    (shown,) = run.go(3, 1)
    assert np.isfinite(shown)
    house.assert_same(before, run.rate())
    run.go(4, 1)
    assert before != run.rate()


def test_the_state_of_a_rate_is_in_the_checkpoint(house, nested, tmp_path):
    whole, other = nested(), nested(seed=2)
    whole.go(0, 4)
    for loss in (2.0, 3.0, 4.0):
        whole.heed(loss)
    assert len(whole.rate()) == 2 + 1 + 2 + 4
    CheckpointManager(tmp_path, whole.state).save(4)
    CheckpointManager(tmp_path, other.state).restore_latest()
    for run in (whole, other):
        run.heed(2.5)
        run.go(4, 3)
    house.assert_same(
        house.everything(whole.state), house.everything(other.state)
    )
    assert 0.125 in [float(value) for value in other.rate().values()]
