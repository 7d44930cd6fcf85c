"""What a batch is put together from: losses that hide some of it, sums and means, in pieces and in many batches.

The twin is plain Keras: the loss and the model's losses of the whole batch at once.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.ahead import is_mask_known_ahead
from tftrain.core.evaluate import make_eval_fn
from tftrain.core.masks import mask_of, with_mask
from tftrain.core.objective import KerasObjective
from tftrain.core.penalties import ask_penalties
from tftrain.core.types import Batch
from tftrain.optim.gradients.accumulation import accumulated
from tftrain.optim.gradients.backprop import backprop

EXAMPLES, STEPS, VOID = 7, 5, 9
ROUNDING = {
    "rtol": 1e-5,
    "atol": 1e-7,
}  # float32 sums over at most 35 numbers in another order


class Known(keras.losses.Loss):
    """Squared errors of targets that are there; the others, below 0, are hidden by a mask."""

    def call(self, y_true, y_pred):
        errors = (keras.ops.cast(y_true, "float32") - y_pred) ** 2
        return with_mask(tf.where(y_true >= 0, errors, 0.0), y_true >= 0)


class Sure(Known):
    """Leaves out what the model says of itself."""

    def call(self, y_true, y_pred):
        errors = (keras.ops.cast(y_true, "float32") - y_pred) ** 2
        return with_mask(errors, y_pred < 0.1)


@keras.saving.register_keras_serializable(package="tests")
class Adding(keras.layers.Layer):
    """Adds a function of its inputs to the loss."""

    def __init__(self, function):
        super().__init__()
        self.function, self.seed, self.supports_masking = (
            function,
            keras.random.SeedGenerator(3),
            True,
        )

    def call(self, x, training=False):
        value = self.function(x, self.seed, training)
        if value is not None:
            self.add_loss(value)
        return x


ADDED = {
    "sum": lambda x, *_: 0.1 * keras.ops.sum(x**2),
    "mean": lambda x, *_: keras.ops.mean(x**2),
    "constant": lambda *_: keras.ops.convert_to_tensor(3.0),
    "noisy sum": lambda x, seed, _: keras.ops.sum(
        (x + keras.random.normal(keras.ops.shape(x), seed=seed)) ** 2
    ),
    "noisy mean": lambda x, seed, _: keras.ops.mean(
        (x + keras.random.normal(keras.ops.shape(x), seed=seed)) ** 2
    ),
    "sum of training": lambda x, _, training: (
        keras.ops.sum(x**2) if training else None
    ),
    "root": lambda x, *_: keras.ops.sqrt(keras.ops.sum(x**2)),
    "variance": lambda x, *_: keras.ops.mean(keras.ops.var(x, 0)),
    "largest": lambda x, *_: keras.ops.max(x**2),
}
KINDS = dict.fromkeys(ADDED, "neither") | {
    **dict.fromkeys(("mean", "constant", "noisy mean"), "mean"),
    **dict.fromkeys(("sum", "noisy sum", "sum of training"), "sum"),
}


def tagger(outputs=VOID + 1, masking=False, added=None):
    """A number for each of the classes at each step; of sequences that end in zeros, which `masking` hides."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    stack = [keras.Input((STEPS, 2)), *[layers.Masking()] * masking]
    stack += [
        layers.Dense(
            4, "tanh", activity_regularizer="l2", kernel_regularizer="l2"
        )
    ]
    stack += [Adding(ADDED[added])] if added else []
    return keras.Sequential([*stack, layers.Dense(outputs)])


def sequences(weighted=False):
    random = np.random.default_rng(0)
    lengths = np.array([5, 1, 3, 2, 5, 4, 1])
    x = (
        random.normal(size=(EXAMPLES, STEPS, 2))
        * (np.arange(STEPS) < lengths[:, None])[..., None]
    )
    y = random.integers(0, 3, (EXAMPLES, STEPS))
    y[random.uniform(size=y.shape) < np.linspace(0, 0.9, EXAMPLES)[:, None]] = (
        VOID
    )
    weight = (
        tf.constant(random.uniform(0, 2, EXAMPLES).astype("float32"))
        if weighted
        else None
    )
    return Batch(tf.constant(x.astype("float32")), tf.constant(y), weight)


def by_keras(model, loss, batch, training=True):
    """The loss, its gradients and the outputs; a weight of an example is that of each of its steps."""
    weight = (
        None
        if batch.weight is None
        else tf.repeat(batch.weight[:, tf.newaxis], batch.y.shape[1], 1)
    )
    with tf.GradientTape() as tape:
        outputs = model(batch.x, training=training)
        value = loss(batch.y, outputs, sample_weight=weight) + tf.add_n(
            model.losses
        )
    return (
        value,
        tape.gradient(
            value, [variable.value for variable in model.trainable_variables]
        ),
        outputs,
    )


CASES = [
    {"reduction": reduction, "weighted": weighted, "masking": masking}
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "sum")
    for weighted in (False, True)
    for masking in (False, True)
]


def objective_of(model, loss, batch, rank=2):
    return KerasObjective(
        model,
        loss,
        masks=True,
        loss_rank=rank,
        penalties=ask_penalties(model, batch.x),
    )


@pytest.mark.parametrize("case", CASES)
def test_pieces_and_batches_equal_the_whole(case):
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=VOID, reduction=case["reduction"]
    )
    model, batch = (
        tagger(masking=case["masking"], added="sum"),
        sequences(case["weighted"]),
    )
    objective = objective_of(model, loss, batch)
    value, grads, _ = by_keras(model, loss, batch)
    for pieces in (1, 3):  # 7 examples as 1, 3 and 3
        method = accumulated(backprop(), pieces) if pieces > 1 else backprop()
        result = tf.function(
            lambda method=method: method(objective, batch, ())
        )()
        np.testing.assert_allclose(result.loss, value, rtol=1e-6)
        for mine, theirs in zip(result.grads, grads, strict=True):
            np.testing.assert_allclose(mine, theirs, **ROUNDING)
    found = make_eval_fn(objective, [], Rows(batch, 3))()
    np.testing.assert_allclose(
        found["loss"],
        by_keras(model, loss, batch, training=False)[0],
        rtol=1e-6,
    )


@pytest.mark.parametrize("pieces", [2, 3])
def test_a_mask_of_a_loss_of_ones_own(pieces):
    keras.utils.set_random_seed(0)
    model, random = (
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]),
        np.random.default_rng(0),
    )
    x, y = random.normal(size=(8, 3)), random.uniform(0, 1, (8, 4))
    y[random.uniform(size=y.shape) < np.linspace(0, 0.9, 8)[:, None]] = -1
    batch = Batch(*(tf.constant(part.astype("float32")) for part in (x, y)))
    known = y >= 0
    with tf.GradientTape() as tape:
        expected = tf.reduce_mean((batch.y[known] - model(batch.x)[known]) ** 2)
    kernel = model.trainable_variables[0].value
    result = accumulated(backprop(), pieces)(
        objective_of(model, Known(), batch), batch, ()
    )
    np.testing.assert_allclose(result.loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        result.grads[0], tape.gradient(expected, kernel), **ROUNDING
    )


class Rows:
    """The examples of a batch, so many at a time; the last batch may be smaller, and is a call of its own."""

    signature = tf.TensorSpec([None, None], tf.int32)

    def __init__(self, batch, size):
        self.examples, self._batch = len(batch.y), batch
        self._rows = [
            list(range(at, min(at + size, self.examples)))
            for at in range(0, self.examples, size)
        ]
        self.steps_per_epoch = len(self._rows)

    def run_length(self, step):
        return 1

    def serve(self, step, count):
        return tf.constant(self._rows[step : step + count])

    def batch(self, handle, index):
        return Batch(
            *(
                part if part is None else tf.gather(part, handle[index])
                for part in self._batch
            )
        )


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_sum_is_that_of_a_training_batch_whatever_the_batches_of_validation(
    size,
):
    batch = sequences()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=VOID, reduction="sum"
    )
    model = tagger(added="sum")
    found = make_eval_fn(
        objective_of(model, loss, batch), [], Rows(batch, size), batch_size=4
    )()
    outputs = model(batch.x, training=False)
    regularizer, penalty, summed = (
        model.losses[-1],
        model.losses[0],
        model.losses[1],
    )
    expected = (
        (loss(batch.y, outputs) + summed) * 4 / EXAMPLES + penalty + regularizer
    )
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("masking", [False, True])
def test_metrics_leave_out_what_the_loss_does(masking):
    batch, model = sequences(), tagger(3, masking)
    batch = batch._replace(y=tf.where(batch.y == VOID, 0, batch.y))
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=0
    )
    objective = KerasObjective(
        model, loss, tf.nn.softmax, masks=True, loss_rank=2
    )
    outputs, counts = model(batch.x).numpy(), batch.y.numpy() != 0
    counts &= (batch.x.numpy() != 0).any(-1) | (not masking)
    y, best = batch.y.numpy()[counts], outputs.argmax(-1)[counts]
    overlaps = [
        np.sum((y == k) & (best == k)) / max(np.sum((y == k) | (best == k)), 1)
        for k in range(3)
    ]
    seen = [np.any((y == k) | (best == k)) for k in range(3)]
    entropy = keras.losses.sparse_categorical_crossentropy(
        y, outputs[counts], from_logits=True
    )
    metrics = {
        keras.metrics.SparseCategoricalAccuracy(): np.mean(y == best),
        keras.metrics.SparseCategoricalCrossentropy(): np.mean(entropy),
        keras.metrics.MeanIoU(3, sparse_y_pred=False): np.sum(overlaps)
        / np.sum(seen),
    }
    found = make_eval_fn(objective, list(metrics), Rows(batch, 3))()
    np.testing.assert_allclose(
        list(found.values())[1:], list(metrics.values()), rtol=1e-5
    )


def test_metrics_of_outputs_by_themselves_leave_out_single_ones():
    random = np.random.default_rng(0)
    y, outputs = (
        random.integers(0, 2, (9, 3)).astype("float32"),
        random.uniform(size=(9, 3)).astype("float32"),
    )
    known = random.uniform(size=y.shape) < 0.5
    known[0] = False
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Activation("linear")]
    )
    objective = KerasObjective(model, Known())
    batch = Batch(tf.constant(outputs), tf.constant(np.where(known, y, -1)))
    ones = known & (outputs > 0.5)
    expected = {
        keras.metrics.BinaryAccuracy(): np.mean(
            (outputs > 0.5)[known] == y[known]
        ),
        keras.metrics.MeanSquaredError(): np.mean((outputs - y)[known] ** 2),
        keras.metrics.Precision(): y[ones].mean(),
        keras.metrics.CategoricalAccuracy(): np.mean(
            (outputs.argmax(-1) == np.where(known, y, -1).argmax(-1))[1:]
        ),
    }
    for metric, value in expected.items():
        objective.score(metric, batch, objective.terms(batch).outputs)
        assert float(metric.result()) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_go_by_the_weights_only_where_they_are_asked_to(weighted):
    batch, model = sequences(weighted=True), tagger(10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    objective = KerasObjective(model, loss, tf.nn.softmax, loss_rank=2)
    metric = keras.metrics.SparseCategoricalAccuracy()
    metric.weighted = weighted
    hits = model(batch.x).numpy().argmax(-1) == batch.y.numpy()
    weight = batch.weight.numpy() if weighted else None
    found = make_eval_fn(objective, [metric], Rows(batch, 3))()
    assert list(found.values())[1] == pytest.approx(
        np.average(hits.mean(1), weights=weight), rel=1e-5
    )


@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize("kernel", ["glorot_uniform", "zeros"])
def test_layers_are_asked_how_what_they_add_goes_with_the_batch(added, kernel):
    layers = keras.layers
    dense = layers.Dense(
        5,
        kernel_initializer=kernel,
        kernel_regularizer="l2",
        activity_regularizer="l2",
    )
    model = keras.Sequential(
        [keras.Input((4,)), dense, layers.Dropout(0.5), Adding(ADDED[added])]
    )
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    before = [variable.numpy() for variable in model.variables]
    told = ask_penalties(model, x)
    assert {owner.layer: kind for owner, kind in told.items()} == {
        dense: "mean",
        model.layers[-1]: KINDS[added],
    }
    assert all(
        np.array_equal(old, now.numpy())
        for old, now in zip(before, model.variables, strict=True)
    )


def test_what_is_known_ahead_costs_no_pass_of_the_model():
    batch, model = sequences(), tagger(masking=True)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=VOID
    )
    objective = KerasObjective(model, loss, masks=True, loss_rank=2)
    assert is_mask_known_ahead(objective, batch)
    signature = Batch(
        *(
            None
            if part is None
            else tf.TensorSpec([None, *part.shape[1:]], part.dtype)
            for part in batch
        )
    )
    graph = tf.function(objective.masses).get_concrete_function(signature).graph
    needed, ahead = set(), [graph.outputs[0].op]
    while ahead:
        op = ahead.pop()
        needed.add(op.type)
        ahead.extend(tensor.op for tensor in op.inputs)
    assert {"LogicalAnd", "NotEqual"} <= needed
    assert {"MatMul", "BatchMatMulV2", "ReadVariableOp"}.isdisjoint(needed)
    np.testing.assert_array_equal(
        objective.masses(batch),
        objective.masses(batch, objective.terms(batch).outputs),
    )


def test_a_mask_of_what_the_model_computes_is_not_known_ahead():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    batch = Batch(tf.ones([4, 3]), tf.ones([4, 1]))
    assert is_mask_known_ahead(
        KerasObjective(model, Known(), masks=True), batch
    )
    assert not is_mask_known_ahead(
        KerasObjective(model, Sure(), masks=True), batch
    )
    late = keras.Sequential(
        [
            x,
            keras.layers.Dense(2),
            keras.layers.Reshape((2, 1)),
            keras.layers.Masking(),
        ]
    )
    assert mask_of(late(batch.x)) is not None
    loss = keras.losses.MeanSquaredError()
    assert not is_mask_known_ahead(
        KerasObjective(late, loss, masks=True),
        batch._replace(y=tf.ones([4, 2, 1])),
    )
