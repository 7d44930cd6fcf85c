import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.bad_steps import HISTORY_STEPS, StepHistory
from tftrain.core.guards import SpikeDetector


def rows(losses, applied=True, norms=(1.0, 2.0), **more):
    losses = np.array(losses, np.float32)
    finite = np.ones_like(losses)
    finite[-1] = applied
    found = {
        "loss": losses,
        "finite": finite,
        "grad_norms": np.tile(np.float32(norms), (len(losses), 1)),
    }
    more = {
        "grad_norm": np.linalg.norm(norms),
        "clipped_grad_norm": 1,
        "learning_rate": 0.1,
        **more,
    }
    return found | {
        name: np.full_like(losses, value) for name, value in more.items()
    }


def test_the_rows_of_the_last_steps_come_with_what_went_wrong():
    recent = StepHistory(["a", "b"])
    for start in range(0, 350, 7):
        recent.add(rows(np.arange(start, start + 7)))
        assert recent.check_last_step(start + 7) is None
    recent.add(rows([350, np.nan], False))
    found = recent.check_last_step(352)
    assert (found.step, found.kind) == (352, "loss")
    assert (
        found.message
        == "the loss or a gradient was not finite at step 352; that update was not applied (loss nan)"
    )
    assert {
        name: len(values) for name, values in found.rows.items()
    } == dict.fromkeys(found.rows, HISTORY_STEPS)
    np.testing.assert_array_equal(
        found.rows["loss"][:-1], np.arange(252, 351)
    )  # the last is number 352, a NaN


def test_a_short_run_tells_of_all_its_steps():
    recent = StepHistory(["a", "b"])
    recent.add(rows([1.0, 2.0], False, [np.inf, 2.0]))
    found = recent.check_last_step(2)
    assert found.kind == "gradient" and found.message.endswith(
        "(loss 2, gradients not finite in a)"
    )
    np.testing.assert_array_equal(found.rows["loss"], [1, 2])


@pytest.mark.parametrize(("scale", "troubled"), [(2.0, False), (1.0, True)])
def test_an_overflow_that_a_smaller_scale_may_cure_is_no_trouble(
    scale, troubled
):
    recent = StepHistory(["a", "b"])
    recent.add(rows([1.0], False, [np.inf, 2.0], loss_scale=scale))
    assert (recent.check_last_step(1) is not None) == troubled


def test_a_spike_and_a_bad_update_have_a_line_of_their_own():
    norm_range = SpikeDetector(100.0)
    norm_range.add(tf.constant(2.0))
    assert norm_range.look(10) == 990
    recent = StepHistory(["a", "b"], norm_range)
    recent.add(rows([1.0], False, [300.0, 400.0]))
    found = recent.check_last_step(11)
    assert found.kind == "spike"
    assert found.message.startswith(
        "the gradient norm 500 at step 11 is far beyond those before, of which none came"
    )
    recent.add(rows([1.0], False, learning_rate=np.inf))
    found = recent.check_last_step(12)
    assert found.kind == "update"
    assert found.message == (
        "the update was not finite at step 12, though the gradient was; it was not applied (learning rate inf, clipped "
        "gradient norm 1)"
    )
