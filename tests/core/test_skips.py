import json

import numpy as np
import pytest

from tftrain.core.skips import Skips, overflowed


def row(loss=1.0, finite=0.0, **more):
    return {name: np.float32(value) for name, value in {"loss": loss, "finite": finite, **more}.items()}


@pytest.mark.parametrize(
    ("found", "curable"),
    [
        (row(loss_scale=2.0), True),
        (row(loss_scale=1.0), False),  # nothing is left to halve
        (row(np.nan, loss_scale=2.0), False),
        (row(np.inf, loss_scale=2.0), False),
        (row(finite=1, loss_scale=2.0), False),
        (row(), False),  # there is no scale
    ],
)
def test_what_a_smaller_scale_may_cure(found, curable):
    assert bool(overflowed(found)) is curable


def counted(rows):
    found = Skips()
    for step, one in enumerate(rows, 1):
        found.add(step, one)
    return found


GOOD, LOST, OVERFLOW = row(finite=1), row(np.nan), row(loss_scale=8.0)


def test_whatever_was_lost_is_told():
    assert counted([GOOD] * 4).remark(4) is None
    assert (
        counted([GOOD, LOST, GOOD, LOST])
        .remark(4)
        .startswith("2 of 4 updates were skipped where the loss or a gradient was not finite, first at step 2; look at")
    )


def test_overflows_are_told_only_where_they_are_most_of_the_run():
    assert counted([OVERFLOW, OVERFLOW, GOOD, GOOD]).remark(4) is None
    assert (
        counted([OVERFLOW, OVERFLOW, GOOD])
        .remark(3)
        .startswith("2 of 3 updates were skipped where gradients overflowed in float16; look at loss_scale")
    )
    both = counted([OVERFLOW, OVERFLOW, LOST]).remark(3)
    assert "1 of 3 updates" in both and "TensorBoard; and 2 of 3 updates" in both


def test_the_count_goes_on_from_its_state():
    first, second = counted([GOOD, LOST, OVERFLOW]), Skips()
    second.restore(json.loads(json.dumps(first.state())))
    second.add(4, LOST)
    assert second.remark(4).startswith("2 of 4 updates were skipped") and "first at step 2" in second.remark(4)
