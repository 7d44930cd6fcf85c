import numpy as np
import pytest
import tensorflow as tf

from tftrain.transforms.clip import clip_global_norm, clip_norm, clip_value


def numpy_value(grads, limit):
    return [np.clip(grad, -limit, limit) for grad in grads]


def numpy_norm(grads, limit):
    return [grad * min(1, limit / max(np.linalg.norm(grad), 1e-30)) for grad in grads]


def numpy_global_norm(grads, limit):
    norm = np.sqrt(sum(np.sum(grad**2) for grad in grads))
    return [grad * min(1, limit / max(norm, 1e-30)) for grad in grads]


CLIPS = {
    "value": (clip_value, numpy_value, lambda grads, limit: [tf.clip_by_value(grad, -limit, limit) for grad in grads]),
    "norm": (clip_norm, numpy_norm, lambda grads, limit: [tf.clip_by_norm(grad, limit) for grad in grads]),
    "global_norm": (clip_global_norm, numpy_global_norm, lambda grads, limit: tf.clip_by_global_norm(grads, limit)[0]),
}


def random_grads(scale=1.0):
    random = np.random.default_rng(3)
    return [(scale * random.normal(size=shape)).astype(np.float32) for shape in [(4, 5), (5,), (), (0, 2)]]


def update(clip, limit, grads):
    transform = clip(limit)
    params = [tf.Variable(grad) for grad in grads]
    clipped, state, scalars = transform.update([tf.constant(grad) for grad in grads], transform.init(params), params)
    assert state == ()
    return clipped, {name: value.numpy() for name, value in scalars.items()}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("limit", [0.1, 0.9, 1000.0])
def test_equal_to_numpy_and_to_tensorflow(name, limit):
    clip, twin, tensorflow = CLIPS[name]
    grads = random_grads()
    clipped, scalars = update(clip, limit, grads)
    for mine, theirs in zip(clipped, tensorflow([tf.constant(grad) for grad in grads], limit), strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()
    for mine, expected in zip(clipped, twin([grad.astype(np.float64) for grad in grads], limit), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6)  # float32 against float64
    assert scalars["limit"] == np.float32(limit)
    assert scalars["clipped"] == (limit < 1000)


@pytest.mark.parametrize("name", CLIPS)
def test_zero_gradients_stay_zero(name):
    clipped, scalars = update(CLIPS[name][0], 1.0, [np.zeros((2, 2), np.float32)])
    np.testing.assert_array_equal(clipped[0], np.zeros((2, 2)))
    assert scalars["clipped"] == 0


def test_golden_numbers():
    grads = [np.array([3.0, -4.0], np.float32), np.array(12.0, np.float32)]
    clipped, scalars = update(clip_global_norm, 6.5, grads)
    assert scalars == {"factor": 0.5, "limit": 6.5, "clipped": 1}  # the norm is 13
    np.testing.assert_allclose(clipped[0], [1.5, -2], rtol=1e-6)  # TensorFlow multiplies by a rounded 1 / 13
    clipped, _ = update(clip_norm, 6.0, grads)
    np.testing.assert_array_equal(clipped[0], [3, -4])
    np.testing.assert_array_equal(clipped[1], 6)
    clipped, _ = update(clip_value, 3.5, grads)
    np.testing.assert_array_equal(clipped[0], [3, -3.5])


def test_factor_is_one_where_nothing_is_clipped():
    assert update(clip_global_norm, 100.0, random_grads())[1]["factor"] == 1
    assert update(clip_global_norm, 1.0, [np.zeros(3, np.float32)])[1]["factor"] == 1
