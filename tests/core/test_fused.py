"""One kernel for each variable, beside Keras' own update."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.update import fused_kernels

KERNELS = {
    "SGD": "ResourceApplyGradientDescent",
    "Momentum": "ResourceApplyKerasMomentum",
    "Adam": "ResourceApplyAdam",
}
SIZES = [(3,), (), (64, 4), (300,), (2**15,)]
RATE = 0.05
OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, {}, KERNELS["SGD"]),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9}, KERNELS["Momentum"]),
    "nesterov": (
        keras.optimizers.SGD,
        {"momentum": 0.9, "nesterov": True},
        KERNELS["Momentum"],
    ),
    "adam": (
        keras.optimizers.Adam,
        {"beta_1": 0.8, "epsilon": 1e-5},
        KERNELS["Adam"],
    ),
    "adamw": (keras.optimizers.AdamW, {"weight_decay": 0.1}, KERNELS["Adam"]),
}


def variables(sizes=SIZES):
    random = np.random.default_rng(0)
    return [
        keras.Variable(random.normal(size=size).astype(np.float32))
        for size in sizes
    ]


def updates(optimizer, found, grads, inside):
    """A compiled update, with our kernels or without."""
    optimizer.build(found)

    @tf.function
    def update(*grads):
        if inside:
            with fused_kernels(optimizer, tf.constant(RATE)):
                optimizer.apply(grads, found)
        else:
            optimizer.apply(grads, found)

    concrete = update.get_concrete_function(*grads)
    return concrete, [op.type for op in concrete.graph.get_operations()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_formulas_are_those_of_keras(name):
    kind, arguments, kernel = OPTIMIZERS[name]
    ours, theirs, random = variables(), variables(), np.random.default_rng(1)
    grads = [
        tf.constant(random.normal(size=size), tf.float32) for size in SIZES
    ]
    mine, own = kind(RATE, **arguments), kind(RATE, **arguments)
    update, ops = updates(mine, ours, grads, inside=True)
    plain, plain_ops = updates(own, theirs, grads, inside=False)
    # Adam's kernel is slow for a variable of middle size.
    assert (
        ops.count(kernel) == (4 if "adam" in name else 5)
        and plain_ops.count(kernel) == 0
    )
    assert len(ops) < len(plain_ops)
    for step in range(10):
        found = [grad * (step - 4.5) for grad in grads]
        update(*found)
        plain(*found)
    for mine_now, own_now in zip(
        [*ours, *mine.variables], [*theirs, *own.variables], strict=True
    ):
        # A kernel may join a product and a sum into one rounding. That of Adam has beta_2 in float32, where 1 - 0.999
        # is off by 5e-5, so a step by half of that; ten steps of 0.05 are 0.5 long.
        rtol, atol = (5e-5, 1.5e-5) if "adam" in name else (2e-6, 1e-7)
        np.testing.assert_allclose(mine_now, own_now, rtol=rtol, atol=atol)


class Halved(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient / 2, variable, learning_rate)


@pytest.mark.parametrize(
    "optimizer",
    [
        Halved(RATE),
        keras.optimizers.Adam(RATE, amsgrad=True),
        keras.optimizers.RMSprop(RATE),
    ],
)
def test_any_other_optimizer_updates_by_itself(optimizer):
    found, grads = variables([(2,)]), [tf.constant([1.0, -2.0])]
    _, ops = updates(optimizer, found, grads, inside=True)
    assert not set(ops) & set(KERNELS.values())


def test_sparse_gradients_are_left_to_keras():
    found = variables([(5, 2)])
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(found)
    before = found[0].numpy()
    with fused_kernels(optimizer, tf.constant(RATE)):
        optimizer.apply(
            [
                tf.IndexedSlices(
                    tf.ones([1, 2]), tf.constant([3]), tf.constant([5, 2])
                )
            ],
            found,
        )
    np.testing.assert_array_equal(
        found[0].numpy()[[0, 1, 2, 4]], before[[0, 1, 2, 4]]
    )
    np.testing.assert_allclose(found[0][3], before[3] - RATE, rtol=1e-6)
    assert "update_step" not in vars(optimizer)
