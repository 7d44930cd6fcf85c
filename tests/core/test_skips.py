import json

import numpy as np
import pytest

from tftrain.core.bad_steps import SkippedSteps, overflowed
from tftrain.core.types import BadStep


def row(loss=1.0, finite=0.0, **more):
    given = {
        "loss": loss,
        "finite": finite,
        "grad_norm": 1.0 if finite else np.inf,
        **more,
    }
    return {name: np.float32(value) for name, value in given.items()}


@pytest.mark.parametrize(
    ("found", "curable"),
    [
        (row(loss_scale=2.0), True),
        (row(loss_scale=1.0), False),  # nothing is left to halve
        (row(np.nan, loss_scale=2.0), False),
        (row(np.inf, loss_scale=2.0), False),
        (row(finite=1, loss_scale=2.0), False),
        (row(), False),  # there is no scale
        (row(grad_norm=1e9, loss_scale=2.0), False),  # a spike
    ],
)
def test_what_a_smaller_scale_may_cure(found, curable):
    assert bool(overflowed(found)) is curable


def bad_step(step, kind):
    return BadStep(step, kind, "it went wrong", {})


def counted(rows):
    found = SkippedSteps()
    for step, one in enumerate(rows, 1):
        found.on_call_end(step, one)
        if one is LOST or one is SPIKE:
            found.on_bad_step(
                bad_step(step, "spike" if one is SPIKE else "loss")
            )
    return found


GOOD, LOST, OVERFLOW, SPIKE = (
    row(finite=1),
    row(np.nan),
    row(loss_scale=8.0),
    row(grad_norm=1e9),
)


def test_whatever_was_lost_is_told():
    assert counted([GOOD] * 4).summary(4) is None
    lost = "where the loss, a gradient or the update was not finite"
    spikes = "where the gradient norm was far beyond those before"
    for rows, where in [
        ([GOOD, LOST, GOOD, LOST], lost),
        ([GOOD, SPIKE, SPIKE, GOOD], spikes),
        ([GOOD, SPIKE, LOST, GOOD], f"{lost} or {spikes}"),
    ]:
        found = counted(rows)
        assert found.summary(4).startswith(
            f"2 of 4 updates were skipped {where}, first at step 2; look at"
        )
        assert found.count == 2


def test_overflows_are_told_only_where_they_are_most_of_the_run():
    assert counted([OVERFLOW, OVERFLOW, GOOD, GOOD]).summary(4) is None
    assert (
        counted([OVERFLOW, OVERFLOW, GOOD])
        .summary(3)
        .startswith(
            "2 of 3 updates were skipped where gradients overflowed in float16; look at loss_scale"
        )
    )
    both = counted([OVERFLOW, OVERFLOW, LOST]).summary(3)
    assert (
        "1 of 3 updates" in both and "TensorBoard; and 2 of 3 updates" in both
    )


def test_the_count_goes_on_from_its_state():
    first, second = counted([GOOD, LOST, OVERFLOW]), SkippedSteps()
    second.restore(json.loads(json.dumps(first.state())))
    second.on_bad_step(bad_step(4, "gradient"))
    assert second.summary(4).startswith(
        "2 of 4 updates were skipped"
    ) and "first at step 2" in second.summary(4)
