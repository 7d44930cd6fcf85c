import math

import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Transform
from tftrain.optim.clipping import clip_global_norm
from tftrain.optim.transforms import with_norms


def told(update, grads):
    _, _, found = with_norms(Transform(lambda params: (), update)).update(
        [tf.constant(one) for one in grads], (), []
    )
    return {name: float(value) for name, value in found.items()}


def scaling(by, **more):
    return lambda grads, state, params: (
        [grad * by for grad in grads],
        state,
        more,
    )


@pytest.mark.parametrize(("by", "clipped"), [(0.5, 1), (1.0, 0), (2.0, 0)])
def test_norms_and_their_ratio(by, clipped):
    expected = {
        "norm_before": 5,
        "norm_after": 5 * by,
        "factor": by,
        "clipped": clipped,
    }
    assert told(scaling(by), [[3.0], [4.0]]) == expected


def test_the_factor_of_nothing_is_one():
    assert told(scaling(0.5), [[0.0, 0.0]]) == {
        "norm_before": 0,
        "norm_after": 0,
        "factor": 1,
        "clipped": 0,
    }


def test_what_a_transform_tells_itself_stands():
    found = told(
        scaling(0.5, clipped=tf.constant(False), limit=tf.constant(7)),
        [[3.0], [4.0]],
    )
    assert found == {
        "norm_before": 5,
        "norm_after": 2.5,
        "factor": 0.5,
        "clipped": 0,
        "limit": 7,
    }


def test_all_that_is_told_is_float32():
    _, _, found = with_norms(clip_global_norm(1.0)).update([tf.ones(3)], (), [])
    assert {value.dtype for value in found.values()} == {tf.float32}


def test_a_norm_that_is_not_finite_is_shown_as_it_is():
    found = told(scaling(1.0), [[math.inf]])
    assert found["norm_before"] == found["norm_after"] == math.inf
    assert np.isnan(found["factor"]) and found["clipped"] == 0
