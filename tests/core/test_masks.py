"""Sequences of unequal length: what a mask hides counts nowhere, however the batch is cut."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.masks import leaves_and_masks, mask_of, packed_like, with_mask
from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch
from tftrain.optim.gradients.accumulation import accumulated
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain

LENGTHS = np.array([5, 1, 3, 2, 5, 4, 1])
MASK = np.arange(5) < LENGTHS[:, None]


def objective(reduction="sum_over_batch_size", precision="float32"):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int64"),
            layers.Embedding(6, 4, mask_zero=True, dtype=precision),
            layers.LSTM(4, return_sequences=True, dtype=precision),
            layers.Dense(
                3,
                kernel_regularizer="l2",
                activity_regularizer="l2",
                dtype=precision,
            ),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction=reduction
    )
    return KerasObjective(model, loss, tf.nn.softmax, masks=True)


def batch(weighted=False):
    random = np.random.default_rng(0)
    x, y = (
        random.integers(1, 6, MASK.shape) * MASK,
        random.integers(0, 3, MASK.shape),
    )
    weight = random.uniform(0, 2, (len(x), 1)).astype("float32")
    return Batch(
        tf.constant(x),
        tf.constant(y),
        tf.constant(weight) if weighted else None,
    )


def cross_entropies(outputs, y):
    logits = np.asarray(outputs, np.float64)
    return (
        np.log(np.exp(logits).sum(-1))
        - np.take_along_axis(logits, np.asarray(y)[..., None], -1)[..., 0]
    )


def test_a_tree_keeps_its_masks_through_a_flat_list():
    outputs = {
        "a": with_mask(tf.zeros([2, 3]), tf.constant([True, False])),
        "b": tf.ones([2]),
    }
    found = packed_like(
        outputs, [tf.identity(leaf) for leaf in leaves_and_masks(outputs)]
    )
    np.testing.assert_array_equal(mask_of(found["a"]), [True, False])
    assert mask_of(found["b"]) is None and mask_of(found) is None


@pytest.mark.parametrize(
    "precision", ["float32", "mixed_bfloat16", "mixed_float16"]
)
def test_the_loss_is_a_mean_over_what_is_not_masked(precision):
    terms = objective(precision=precision).terms(batch())
    assert terms.outputs.dtype == tf.float32
    expected = cross_entropies(terms.outputs, batch().y)[MASK].mean()
    np.testing.assert_allclose(
        terms.loss, expected, rtol=1e-6
    )  # a sum of 21 float32


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean_with_sample_weight"]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_masses_are_what_keras_divides_by(reduction, weighted):
    of, given = objective(reduction), batch(weighted)
    terms, masses = of.terms(given), of.masses(given)
    np.testing.assert_array_equal(masses, of.masses(given, terms.outputs))
    weight = given.weight.numpy() if weighted else 1
    total = (cross_entropies(terms.outputs, given.y) * MASK * weight).sum()
    np.testing.assert_allclose(
        terms.loss, total / np.sum(masses, dtype=np.float64), rtol=1e-6
    )


@pytest.mark.parametrize("pieces", [2, 7])
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean_with_sample_weight"]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_pieces_equal_the_whole(pieces, reduction, weighted):
    of, given = objective(reduction), batch(weighted)
    whole = backprop()(of, given, ())
    found = tf.function(
        lambda: accumulated(backprop(), pieces)(of, given, ())
    )()
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-6)
    for mine, theirs in zip(found.grads, whole.grads, strict=True):
        # Float32 sums over the examples in another order.
        np.testing.assert_allclose(
            tf.convert_to_tensor(mine),
            tf.convert_to_tensor(theirs),
            rtol=1e-5,
            atol=1e-7,
        )


@pytest.mark.parametrize("pieces", [1, 3])
def test_metrics_count_what_is_not_masked(pieces):
    of, given, metric = (
        objective(),
        batch(),
        keras.metrics.SparseCategoricalAccuracy(),
    )
    method = accumulated(backprop(), pieces) if pieces > 1 else backprop()
    step_spec = StepSpec(of, method, chain([]), constant(0.1), [metric])
    outputs = of(given)[1].numpy()
    step = make_step(
        TrainState(
            of.model,
            keras.optimizers.SGD(),
            step_spec.transform,
            step_spec.rate,
            metrics=[metric],
        ),
        step_spec,
    )
    tf.function(lambda: step(given)[0])()
    expected = (outputs.argmax(-1) == given.y.numpy())[MASK].mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
