import io
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.evaluate import make_eval_fn, metric_values
from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch


class ShortLast:
    """Seven examples in batches of 3, 3 and 1, where the last is a call of its own."""

    signature = tf.TensorSpec([None, None], tf.int32)
    steps_per_epoch, examples = 3, 7

    def __init__(self, x, y, weight=None):
        self.all = Batch(
            *(
                part if part is None else tf.constant(part)
                for part in (x, y, weight)
            )
        )

    def run_length(self, step):
        return 2 if step == 0 else 1

    def serve(self, step, count):
        return tf.constant([[0, 1, 2], [3, 4, 5]] if step == 0 else [[6]])

    def batch(self, handle, index):
        rows = handle[index]
        return Batch(
            *(
                part if part is None else tf.gather(part, rows)
                for part in self.all
            )
        )


@pytest.fixture
def digits():
    random = np.random.default_rng(0)
    return random.normal(size=(7, 4)).astype(np.float32), random.integers(
        0, 3, 7
    )


def test_equal_to_keras_and_to_one_big_batch(digits):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    before = [variable.numpy() for variable in model.variables]
    evaluate = make_eval_fn(
        KerasObjective(model, loss, tf.nn.softmax), [metric], ShortLast(*digits)
    )
    first, second = evaluate(), evaluate()
    assert first == second
    model.compile(loss=loss, metrics=["accuracy"])
    expected = model.evaluate(
        *digits, batch_size=7, verbose=0, return_dict=True
    )
    assert first.keys() == expected.keys()
    np.testing.assert_allclose(
        [first[name] for name in expected], list(expected.values()), rtol=1e-6
    )  # float32
    assert all(
        np.array_equal(old, variable.numpy())
        for old, variable in zip(before, model.variables, strict=True)
    )


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean_with_sample_weight"]
)
@pytest.mark.parametrize("weights", ["none", "some", "zeros"])
def test_the_loss_is_that_of_one_big_batch(reduction, weights):
    keras.utils.set_random_seed(0)
    random, layers = np.random.default_rng(0), keras.layers
    stack = [
        keras.Input((4,), dtype="int64"),
        layers.Embedding(5, 3, mask_zero=True),
    ]
    model = keras.Sequential(
        [
            *stack,
            layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2"),
        ]
    )
    objective = KerasObjective(
        model, keras.losses.MeanSquaredError(reduction=reduction)
    )
    x = random.integers(1, 5, (7, 4)) * (
        np.arange(4) < np.array([4, 1, 1, 2, 4, 3, 4])[:, None]
    )
    weight = {
        "none": None,
        "some": random.uniform(0, 3, (7, 1)).astype("float32"),
        "zeros": np.zeros([7, 1], "float32"),
    }
    feed = ShortLast(
        x, random.normal(size=(7, 4, 3)).astype("float32"), weight[weights]
    )
    found = make_eval_fn(objective, [], feed)()
    np.testing.assert_allclose(
        found["loss"], objective(feed.all, training=False)[0], rtol=1e-6
    )


def test_one_trace_whatever_the_calls(digits):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    traced = []

    def loss(y, outputs, sample_weight):
        traced.append(1)
        return tf.reduce_mean(outputs)

    evaluate = make_eval_fn(KerasObjective(model, loss), [], ShortLast(*digits))
    for _ in range(2):
        evaluate()
    assert traced == [1]


def test_a_metric_with_a_value_for_each_class():
    metric = keras.metrics.F1Score(name="f1")
    metric.update_state(
        tf.constant([[1.0, 0.0], [0.0, 1.0]]),
        tf.constant([[0.9, 0.1], [0.8, 0.2]]),
    )
    np.testing.assert_allclose(
        list(metric_values([metric]).values()), [2 / 3, 0], rtol=1e-6
    )
    assert list(metric_values([metric])) == ["f1/0", "f1/1"]


def test_many_runs_in_a_process_are_no_reason_to_warn(digits):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    objective = KerasObjective(
        model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    tf.get_logger().addHandler(handler)
    try:
        found = [
            make_eval_fn(objective, [], ShortLast(*digits))() for _ in range(6)
        ]
    finally:
        tf.get_logger().removeHandler(handler)
    assert found == found[:1] * 6 and "retracing" not in said.getvalue()
