"""Updates with rates, decays and averages of their own, by numbers that a pencil can check."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.update import ParamEMA, ParamOptions, apply_gradients


def variables(*values):
    return [keras.Variable(np.array(value, np.float32)) for value in values]


def optimizer(found, kind=keras.optimizers.SGD, **arguments):
    made = kind(**arguments)
    made.build(found)
    return made


def test_plain():
    found = variables([1.0, 2.0], [3.0])
    apply_gradients(
        optimizer(found),
        [tf.constant([1.0, -1.0]), tf.constant([2.0])],
        found,
        tf.constant(0.5),
        [ParamOptions()] * 2,
    )
    np.testing.assert_array_equal(found[0], [0.5, 2.5])
    np.testing.assert_array_equal(found[1], [2.0])


def test_own_rate_and_decay():
    found = variables([1.0, 2.0], [3.0])
    grads = [tf.constant([1.0, -1.0]), tf.constant([2.0])]
    apply_gradients(
        optimizer(found),
        grads,
        found,
        tf.constant(0.5),
        [ParamOptions(0.5), ParamOptions(2.0, 0.1)],
    )
    np.testing.assert_array_equal(found[0], [0.75, 2.25])
    # the decay takes 0.5 * 0.1 * 3, the gradient 0.5 * 2, and both count twice
    np.testing.assert_allclose(found[1], [3.0 + 2 * (-0.15 - 1.0)], rtol=1e-6)


def test_no_rate_at_all_changes_nothing():
    found = variables([1.0, 2.0])
    apply_gradients(
        optimizer(found),
        [tf.constant([1.0, -1.0])],
        found,
        tf.constant(0.5),
        [ParamOptions(0.0, 0.1)],
    )
    np.testing.assert_array_equal(found[0], [1.0, 2.0])


@pytest.mark.parametrize(
    "kind",
    [keras.optimizers.AdamW, keras.optimizers.Lion, keras.optimizers.SGD],
)
def test_our_decay_is_that_of_keras(kind):
    ours, theirs = variables([1.0, -2.0, 0.5]), variables([1.0, -2.0, 0.5])
    mine, keras_own = (
        optimizer(ours, kind, weight_decay=0.0),
        optimizer(theirs, kind, weight_decay=0.04),
    )
    for step in range(5):
        grad = tf.constant([0.3, -0.2, 0.1]) * (step + 1)
        apply_gradients(
            mine, [grad], ours, tf.constant(0.05), [ParamOptions(1.0, 0.04)]
        )
        apply_gradients(
            keras_own, [grad], theirs, tf.constant(0.05), [ParamOptions()]
        )
    np.testing.assert_allclose(
        ours[0], theirs[0], rtol=1e-6
    )  # the same products, in another order


VARIANTS = {
    "SGD": ({}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "RMSprop": ({"momentum": 0.9, "centered": True},),
    "Adam": ({}, {"amsgrad": True, "weight_decay": 0.1}),
    "Ftrl": ({}, {"l1_regularization_strength": 0.1, "beta": 1.0}),
    "Adafactor": ({}, {"relative_step": False}),
    "Muon": ({}, {"adam_weight_decay": 0.2, "exclude_layers": ["first"]}),
    "ScheduleFreeAdamW": ({}, {"warmup_steps": 3, "weight_decay": 0.1}),
}
SEVERAL = (keras.optimizers.LossScaleOptimizer, keras.optimizers.MultiOptimizer)
KINDS = {
    name: kind
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    if kind is not keras.optimizers.Optimizer and kind not in SEVERAL
}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (name, arguments)
        for name in KINDS
        for arguments in VARIANTS.get(name, ({},))
    ],
)
def test_a_multiple_of_the_rate_is_that_of_an_optimizer_of_its_own(
    name, arguments
):
    """Of every Keras optimizer, beside a twin for each of two parameters; the second has the plain rate."""
    random = np.random.default_rng(0)
    starts = [
        random.normal(size=(3, 2)).astype(np.float32),
        random.normal(size=(2, 3)).astype(np.float32),
    ]
    grads = random.normal(size=(4, 2, 6)).astype(np.float32) / 2

    def trained(*members, rate=0.05, multiple=1.0):
        ours = [
            keras.Variable(starts[member], name=("first", "second")[member])
            for member in members
        ]
        made = optimizer(ours, KINDS[name], **arguments)
        for step in grads:
            of_step = [
                tf.reshape(step[member], starts[member].shape)
                for member in members
            ]
            apply_gradients(
                made,
                of_step,
                ours,
                tf.constant(rate),
                [ParamOptions(multiple), ParamOptions()][: len(ours)],
            )
        assert int(made.iterations) == len(grads) and float(
            made.learning_rate
        ) == np.float32(rate)
        return [one.numpy() for one in ours]

    grouped = trained(0, 1, multiple=0.3)
    # float32; Adam's kernel for small variables has 1 - beta_2 in float32
    np.testing.assert_allclose(
        grouped[0], *trained(0, rate=0.05 * 0.3), rtol=2e-5, atol=2e-6
    )
    np.testing.assert_allclose(grouped[1], *trained(1), rtol=2e-5, atol=2e-6)
    assert not np.allclose(grouped[0], *trained(0), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (keras.constraints.NonNeg(), [4.0, 0.0]),
        (keras.constraints.UnitNorm(), [0.8, -0.6]),
    ],
)
@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_a_constraint_comes_after_the_multiple(constraint, expected, rate):
    (found,) = variables([1.0, 1.0])
    found.constraint = constraint
    grad = tf.constant([-3.0, 4.0]) / rate
    apply_gradients(
        optimizer([found]),
        [grad],
        [found],
        tf.constant(1.0),
        [ParamOptions(rate)],
    )  # to (4, -3)
    np.testing.assert_allclose(
        found, expected, rtol=1e-6
    )  # UnitNorm adds 1e-7 to the norm
    assert found.constraint is constraint


def test_averages():
    param = tf.Variable([1.0, 0.0])
    averages = ParamEMA([param], 0.75)
    for value in ([2.0, 4.0], [2.0, 8.0]):
        param.assign(value)
        averages.advance()
    np.testing.assert_array_equal(
        averages.variables[0], [1.4375, 2.75]
    )  # 1 -> 1.25 -> 1.4375, 0 -> 1 -> 2.75
    averages.swap()
    np.testing.assert_array_equal(param, [1.4375, 2.75])
    averages.swap()
    np.testing.assert_array_equal(param, [2.0, 8.0])
    np.testing.assert_array_equal(averages.variables[0], [1.4375, 2.75])


def test_a_graph_with_an_update_is_let_go_with_its_variables():
    def updated():
        found = variables([1.0, 2.0])
        made = optimizer(found)
        step = tf.function(
            lambda: apply_gradients(
                made,
                [tf.constant([1.0, -1.0])],
                found,
                tf.constant(0.5),
                [ParamOptions()],
            )
        )
        step()
        return weakref.ref(step.get_concrete_function().graph), weakref.ref(
            found[0].value
        )

    graph, variable = updated()
    gc.collect()
    assert graph() is None and variable() is None
