import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Transform
from tftrain.optim.clipping import clip_global_norm, clip_value
from tftrain.optim.transforms import chain


def running_sum():
    """Replaces the gradients by their sum so far: order and state can be seen in the result."""

    def update(grads, state, params):
        total = [grad + seen for grad, seen in zip(grads, state, strict=True)]
        return total, total, {"total": total[0][0]}

    return Transform(
        lambda params: [tf.zeros(param.shape) for param in params], update
    )


def test_no_stages_are_the_identity():
    grads = [tf.ones(2)]
    empty = chain([])
    after, state, scalars = empty.update(grads, empty.init(grads), grads)
    assert after is grads
    assert (state, scalars) == ((), {})


def test_order_state_and_names():
    both = chain(
        [
            ("sum", running_sum()),
            ("value", clip_value(3.0)),
            ("sum", running_sum()),
        ]
    )
    params = [tf.zeros(2)]
    state, grads = both.init(params), [tf.constant([2.0, 1.0])]
    grads_1, state, scalars_1 = both.update(grads, state, params)
    grads_2, state, scalars_2 = both.update(grads, state, params)
    np.testing.assert_array_equal(grads_1[0], [2, 1])
    np.testing.assert_array_equal(
        grads_2[0], [2 + 3, 1 + 2]
    )  # the second sum of 4, clipped to 3, added to the first
    told = {name: float(value) for name, value in scalars_2.items()}
    assert {name: told[name] for name in told if "value" in name} == {
        "clip/value/norm_before": pytest.approx(
            20**0.5
        ),  # of (4, 2), the sum so far
        "clip/value/norm_after": pytest.approx(13**0.5),
        "clip/value/factor": pytest.approx((13 / 20) ** 0.5),
        "clip/value/limit": 3,
        "clip/value/clipped": 1,
    }
    assert (
        told["clip/sum/total"],
        told["clip/sum_2/total"],
        told["clip_rate"],
    ) == (
        4,
        5,
        1,
    )
    assert told["clip/sum_2/norm_before"] == told["clip/value/norm_after"]
    assert scalars_1["clip_rate"] == 0


def test_two_clips_of_one_name():
    twice = chain(
        [
            ("global_norm", clip_global_norm(100.0)),
            ("global_norm", clip_global_norm(1.0)),
        ]
    )
    _, _, scalars = twice.update([tf.constant([3.0, 4.0])], twice.init([]), [])
    assert scalars["clip/global_norm/clipped"] == 0
    assert scalars["clip/global_norm_2/clipped"] == 1
    assert scalars["clip_rate"] == 1
