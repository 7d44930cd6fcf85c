import numpy as np
import pytest

from tftrain.core.trouble import STEPS_KEPT, Recent


def rows(losses, applied=True, norms=(1.0, 2.0), **more):
    losses = np.array(losses, np.float32)
    finite = np.ones_like(losses)
    finite[-1] = applied
    found = {"loss": losses, "finite": finite, "grad_norms": np.tile(np.float32(norms), (len(losses), 1))}
    return found | {name: np.full_like(losses, value) for name, value in more.items()}


def test_the_rows_of_the_last_steps_come_with_what_went_wrong():
    recent = Recent(["a", "b"])
    for start in range(0, 350, 7):
        recent.add(rows(np.arange(start, start + 7)))
        assert recent.trouble(start + 7) is None
    recent.add(rows([350, np.nan], False))
    found = recent.trouble(352)
    assert (found.step, found.kind) == (352, "loss")
    assert found.message == "the loss or a gradient was not finite at step 352; that update was not applied (loss nan)"
    assert {name: len(values) for name, values in found.rows.items()} == dict.fromkeys(found.rows, STEPS_KEPT)
    np.testing.assert_array_equal(found.rows["loss"][:-1], np.arange(252, 351))  # the last is number 352, a NaN


def test_a_short_run_tells_of_all_its_steps():
    recent = Recent(["a", "b"])
    recent.add(rows([1.0, 2.0], False, [np.inf, 2.0]))
    found = recent.trouble(2)
    assert found.kind == "gradient" and found.message.endswith("(loss 2, gradients not finite in a)")
    np.testing.assert_array_equal(found.rows["loss"], [1, 2])


@pytest.mark.parametrize(("scale", "troubled"), [(2.0, False), (1.0, True)])
def test_an_overflow_that_a_smaller_scale_may_cure_is_no_trouble(scale, troubled):
    recent = Recent(["a", "b"])
    recent.add(rows([1.0], False, [np.inf, 2.0], loss_scale=scale))
    assert (recent.trouble(1) is not None) == troubled
