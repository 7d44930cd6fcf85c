import numpy as np
import pytest
import tensorflow as tf

from tftrain.optim.clipping import (
    clip_global_norm,
    clip_layer_norm,
    clip_norm,
    clip_value,
)

GRADS = [
    np.array([3.0, -4.0], np.float32),
    np.array(12.0, np.float32),
]  # of norms 5 and 12, together 13


def update(transform, grads):
    clipped, state, told = transform.update(
        [tf.constant(grad) for grad in grads], transform.init([]), []
    )
    assert state == ()
    return [np.asarray(one) for one in clipped], {
        name: float(value) for name, value in told.items()
    }


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (clip_value(3.5), [[3, -3.5], 3.5]),
        (clip_norm(6.0), [[3, -4], 6]),
        (clip_global_norm(6.5), [[1.5, -2], 6]),
        (
            clip_layer_norm(6.5, names=["000.a/kernel", "000.a/bias"]),
            [[1.5, -2], 6],
        ),
        (
            clip_layer_norm(6.0, names=["000.a/kernel", "001.a/kernel"]),
            [[3, -4], 6],
        ),
    ],
)
def test_golden_numbers(transform, expected):
    clipped, told = update(transform, GRADS)
    for mine, theirs in zip(clipped, expected, strict=True):
        np.testing.assert_array_equal(mine, np.float32(theirs))
    assert told == {"limit": pytest.approx(told["limit"]), "clipped": 1}


@pytest.mark.parametrize("limit", [0.1, 0.9, 49.0, 1000.0])
@pytest.mark.parametrize(
    ("make", "theirs"),
    [
        (
            clip_value,
            lambda grads, limit: [
                tf.clip_by_value(grad, -limit, limit) for grad in grads
            ],
        ),
        (
            clip_norm,
            lambda grads, limit: [
                tf.clip_by_norm(grad, limit) for grad in grads
            ],
        ),
        (
            clip_global_norm,
            lambda grads, limit: tf.clip_by_global_norm(grads, limit)[0],
        ),
    ],
    ids=["value", "norm", "global_norm"],
)
def test_the_words_mean_what_they_mean_in_tensorflow(make, theirs, limit):
    random = np.random.default_rng(3)
    grads = [
        random.normal(size=shape).astype(np.float32)
        for shape in [(4, 5), (5,), (0, 2)]
    ]
    clipped, told = update(make(limit), grads)
    for mine, other in zip(
        clipped,
        theirs([tf.constant(grad) for grad in grads], limit),
        strict=True,
    ):
        np.testing.assert_allclose(
            mine, other, rtol=1e-6
        )  # which rounds 49 * (1 / 49) to less than 1
    assert told == {"limit": np.float32(limit), "clipped": limit < 1}


def test_layers_are_told_by_all_that_stands_before_the_last_slash():
    names = [
        "000.inner.dense/kernel",
        "000.inner.dense/bias",
        "001.inner.dense/kernel",
    ]
    clipped, _ = update(
        clip_layer_norm(5.0, names=names), [[30.0], [40.0], [4.0]]
    )
    assert [one.item() for one in clipped] == [3, 4, 4]


def test_a_limit_past_all_numbers_is_none():
    for make in (clip_value, clip_norm, clip_global_norm):
        clipped, told = update(make(1e300), GRADS)
        np.testing.assert_array_equal(clipped[0], GRADS[0])
        assert not told["clipped"]
