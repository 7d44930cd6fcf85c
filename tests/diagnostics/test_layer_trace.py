import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch
from tftrain.diagnostics.layer_stats import length, spread, summarize
from tftrain.diagnostics.layer_trace import passes

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 2, 1, 0])


def seen_in(model, x=X, y=Y, **how):
    model(x)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=how.pop("from_logits", False)
    )
    return passes(KerasObjective(model, loss), Batch(x, y), **how)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def two_layers():
    keras.utils.set_random_seed(3)
    stack = [
        layers.Dense(5, "sigmoid", name="hidden"),
        layers.Dense(3, "softmax", name="output"),
    ]
    return keras.Sequential([keras.Input((4,)), *stack])


@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_both_passes_are_the_textbook_s_against_numpy(scale):
    model = two_layers()
    w1, b1, w2, b2 = (
        weight.astype(np.float64) for weight in model.get_weights()
    )
    z1 = X @ w1 + b1
    a1 = sigmoid(z1)
    z2 = a1 @ w2 + b2
    a2 = np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True)
    delta2 = (a2 - np.eye(3)[Y]) / len(X)
    delta1 = (delta2 @ w2.T) * a1 * (1 - a1)
    found = seen_in(model, scale=scale)
    hidden, output = found.layers
    assert [(one.name, one.function) for one in found.layers] == [
        ("000.hidden", "sigmoid"),
        ("001.output", "softmax"),
    ]
    near = {"rtol": 1e-5, "atol": 1e-7}  # float32 against float64
    for array, twin in (
        (hidden.z, z1),
        (hidden.a, a1),
        (output.z, z2),
        (output.a, a2),
    ):
        np.testing.assert_allclose(array, twin, **near)
    np.testing.assert_allclose(output.delta, delta2, **near)
    np.testing.assert_allclose(hidden.delta, delta1, **near)
    twins = [X.T @ delta1, delta1.sum(0), a1.T @ delta2, delta2.sum(0)]
    for grad, twin in zip(found.grads, twins, strict=True):
        np.testing.assert_allclose(grad, twin, **near)
    assert found.loss == pytest.approx(
        -np.log(a2[np.arange(6), Y]).mean(), rel=1e-5
    )
    table = summarize(found)
    assert table.grad_norm == pytest.approx(
        np.sqrt(sum((twin**2).sum() for twin in twins)), rel=1e-5
    )
    assert table.layers[0].saturated == np.mean((a1 < 0.05) | (a1 > 0.95))
    assert table.parameters[2].share == pytest.approx(
        (twins[2] ** 2).sum() / table.grad_norm**2, rel=1e-4
    )
    assert [table.layer_of(name).name for name in found.names[::2]] == [
        "000.hidden",
        "001.output",
    ]


def test_nothing_is_changed_and_dropout_draws_as_the_next_step_would(house):
    run = house.small_run()
    before = house.everything(run.state)
    first = passes(run.objective, Batch(X, Y))
    second = passes(run.objective, Batch(X, Y))
    house.assert_same(before, house.everything(run.state))
    assert (
        first.loss
        == second.loss
        != float(run.objective(Batch(X, Y), training=False)[0])
    )
    loss, _, _ = run.objective(Batch(tf.constant(X), Y))
    assert first.loss == pytest.approx(float(loss), rel=1e-6)


class Inner(layers.Layer):
    """A layer that does something of its own behind the one within."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(5, "relu", name="dense")

    def call(self, x):
        return tf.math.log(self.dense(x))


class Outer(keras.Model):
    """Calls functions on the outputs of layers."""

    def __init__(self):
        super().__init__(name="outer")
        self.first, self.inner, self.last = (
            layers.Dense(4, name="first"),
            Inner(name="inner"),
            layers.Dense(3),
        )

    def call(self, x):
        return tf.nn.relu(self.last(self.inner(tf.nn.tanh(self.first(x)))))


def test_custom_layers_and_functions_of_the_model_are_seen():
    rows = seen_in(Outer(), from_logits=True).layers
    assert [one.name for one in rows[:3]] == [
        "000.first",
        "001.inner.dense",
        "001.inner",
    ]
    first, dense, inner, last, outer = rows
    np.testing.assert_allclose(first.a, np.tanh(first.z), rtol=1e-5)
    assert first.function == "tanh" and outer.name == "002.outer"
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(inner.a, np.log(dense.a), rtol=1e-5)
    np.testing.assert_array_equal(outer.a, np.maximum(last.a, 0))
    table = summarize(seen_in(Outer(), from_logits=True))
    by_name = {row.name: row for row in table.layers}
    assert by_name["001.inner.dense"].a.bad == 0 < by_name["001.inner"].a.infs
    assert table.layer_of("001.inner.dense/kernel").name == "001.inner.dense"


def test_branches_shared_layers_and_layers_without_parameters():
    shared, start = layers.Dense(4, "tanh", name="shared"), keras.Input((4,))
    both = layers.Add(name="sum")([shared(start), shared(shared(start))])
    end = layers.Dense(3, name="output")(
        layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(both))
    )
    found = seen_in(keras.Model(start, end), from_logits=True)
    calls = ["000.shared", "000.shared (call 2)", "000.shared (call 3)"]
    assert (
        sorted(
            one.name for one in found.layers if one.name.startswith("000.sh")
        )
        == calls
    )
    by_name = {one.name: one for one in found.layers}
    np.testing.assert_array_equal(
        by_name["001.relu"].a, np.maximum(by_name["001.norm"].a, 0)
    )
    np.testing.assert_array_equal(by_name["001.relu"].z, by_name["001.norm"].a)
    assert (
        by_name["002.output"].z is by_name["002.output"].a
        and by_name["000.sum"].z is None
    )
    assert summarize(found).layers[-1].z is None


def test_sequences_and_embeddings():
    start = keras.Input((5,), dtype="int32")
    inner = layers.Embedding(9, 4, mask_zero=True, name="words")(start)
    inner = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True, name="lstm"), name="both"
    )(inner)
    inner = layers.SimpleRNN(
        3, return_sequences=True, unroll=True, name="unrolled"
    )(inner)
    model = keras.Model(
        start, layers.Dense(3, name="output")(layers.GRU(4, name="gru")(inner))
    )
    words = np.random.default_rng(1).integers(0, 9, (6, 5))
    table = summarize(seen_in(model, words, from_logits=True))
    names = [
        "words",
        "both.forward_lstm",
        "both.backward_lstm",
        "both",
        "unrolled",
        "gru",
        "output",
    ]
    assert [row.name.partition(".")[2] for row in table.layers] == names
    assert all(
        row.delta.norm > 0 and row.delta.bad == 0 for row in table.layers
    )
    owners = [
        table.layer_of(one.name).name.partition(".")[2]
        for one in table.parameters
    ]
    assert list(dict.fromkeys(owners)) == [
        name for name in names if name != "both"
    ]
    touched = len(np.unique(words))
    assert table.parameters[0].grad.size == touched * 4


def test_an_overflow_of_the_scaled_gradient_is_seen_as_the_step_sees_it():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = two_layers()
    finally:
        keras.config.set_dtype_policy("float32")
    assert summarize(seen_in(model)).parameters[0].grad.bad == 0
    table = summarize(seen_in(model, scale=2.0**40))
    assert table.layers[0].a.bad == 0 < table.layers[0].delta.bad


def test_numbers_that_are_not_finite_are_counted_apart():
    values = np.array([0, 1, 3, np.nan, np.inf, -np.inf], np.float32)
    found = spread(values)
    assert (found.nans, found.infs, found.bad, found.least, found.most) == (
        1,
        2,
        3,
        0,
        3,
    )
    assert found.mean == pytest.approx(4 / 3) and found.zeros == pytest.approx(
        1 / 6
    )
    assert length(np.array([3e30, -4e30], np.float32)).norm == pytest.approx(
        5e30
    )
    assert np.isnan(spread(np.array([np.nan])).mean)


def test_a_pass_changes_no_weights_that_a_layer_sets_itself():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.SpectralNormalization(layers.Dense(5)),
            layers.Dense(3),
        ]
    )
    before = [np.asarray(variable).tobytes() for variable in model.variables]
    seen_in(model, from_logits=True)
    assert [
        np.asarray(variable).tobytes() for variable in model.variables
    ] == before
