"""Trains small models on a number of logical CPU devices; run as a process of its own.

    on_devices.py REPLICAS ANSWER < CASES

TensorFlow fixes its devices once for a process. CASES is a JSON list of `task`, the name
of a function here, with its keyword arguments; ANSWER is the .npz file that gets what it returns, as `<case>/<name>`.
"""

from __future__ import annotations

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.guards import LossScale
from tftrain.core.objective import KerasObjective
from tftrain.core.penalties import ask_penalties
from tftrain.core.remat import RematSpec, rematerialized
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch
from tftrain.core.update import ParamOptions
from tftrain.core.variables import parameter_names
from tftrain.optim.clipping import (
    clip_adaptive,
    clip_global_norm,
    clip_layer_norm,
    clip_norm,
    clip_percentile,
    clip_value,
)
from tftrain.optim.gradients.accumulation import accumulated, loss_scaled
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain
from tftrain.runtime.distribution import make_strategy

LIMIT, RATIO, EPSILON, PERCENT, WINDOW = 0.05, 0.05, 0.1, 30.0, 3
CLIPS = {
    "none": None,
    "value": lambda names: clip_value(LIMIT / 5),
    "norm": lambda names: clip_norm(LIMIT),
    "global_norm": lambda names: clip_global_norm(LIMIT),
    "layer_norm": lambda names: clip_layer_norm(LIMIT, names=names),
    "adaptive": lambda names: clip_adaptive(RATIO, EPSILON),
    "percentile": lambda names: clip_percentile(PERCENT, WINDOW),
}
SIZES = (
    16,
    13,
    16,
    3,
)  # of the batches; 13 does not divide, and of 3 examples one of four replicas gets none
WORDS, LENGTH = 9, 4


def dense():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, "tanh"),
            layers.Dense(3, dtype="float32"),
        ]
    )


def embedding():
    layers = keras.layers
    stack = [
        keras.Input((LENGTH,), dtype="int64"),
        layers.Embedding(WORDS, 5),
        layers.GlobalAveragePooling1D(),
    ]
    return keras.Sequential([*stack, layers.Dense(3)])


def masked():
    layers = keras.layers
    stack = [
        keras.Input((LENGTH,), dtype="int64"),
        layers.Embedding(WORDS, 5, mask_zero=True),
    ]
    return keras.Sequential(
        [
            *stack,
            layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l2"),
        ]
    )


class SumPenalty(keras.layers.Layer):
    """Adds a sum over the batch to the loss."""

    def call(self, x):
        self.add_loss(0.01 * keras.ops.sum(x**2))
        return x


def void():
    """A number for each of three classes at each step, with what is a mean and what is a sum added to the loss."""
    layers = keras.layers
    stack = [
        keras.Input((LENGTH,), dtype="int64"),
        layers.Embedding(WORDS, 5, mask_zero=True),
    ]
    return keras.Sequential(
        [
            *stack,
            layers.Dense(4, "tanh", activity_regularizer="l2"),
            SumPenalty(),
            layers.Dense(3),
        ]
    )


class Called(keras.layers.Layer):
    """Keeps whether and how often it was called in training."""

    def build(self, shape):
        self.ever = self.add_weight(
            shape=(), dtype="bool", initializer="zeros", trainable=False
        )
        self.times = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.ever.assign(True)
            self.times.assign(self.times + 1)
        return x


def batch_norm(synchronized=False):
    layers = keras.layers
    stack = [
        keras.Input((5,)),
        layers.Dense(6),
        layers.BatchNormalization(synchronized=synchronized, momentum=0.5),
    ]
    return keras.Sequential(
        [*stack, layers.Activation("tanh"), layers.Dense(3), Called()]
    )


def synchronized():
    return batch_norm(True)


def dropping():
    layers = keras.layers
    block = keras.Sequential(
        [layers.Dense(6, "tanh"), layers.Dropout(0.5), layers.Dense(6)]
    )
    return keras.Sequential([keras.Input((5,)), block, layers.Dense(3)])


class OneHot(keras.layers.Layer):
    def call(self, words):
        return keras.ops.one_hot(words, WORDS)


def embedding_twin():
    """The same function as `embedding`, by a product with ones and zeros: its gradient is dense."""
    layers = keras.layers
    stack = [
        keras.Input((LENGTH,), dtype="int64"),
        OneHot(),
        layers.Dense(5, use_bias=False),
    ]
    net = keras.Sequential(
        [*stack, layers.GlobalAveragePooling1D(), layers.Dense(3)]
    )
    keras.utils.set_random_seed(7)
    net.set_weights(embedding().get_weights())
    return net


MODELS = {
    one.__name__: one
    for one in (
        dense,
        embedding,
        embedding_twin,
        masked,
        void,
        batch_norm,
        synchronized,
        dropping,
    )
}


def batches(model, weighted):
    random = np.random.default_rng(5)
    for size in SIZES:
        if model in ("embedding", "embedding_twin", "masked", "void"):
            x = random.integers(
                0, 5, (size, LENGTH)
            )  # few words, many times each
        else:
            x = random.normal(size=(size, 5)).astype("float32")
        steps = (LENGTH,) if model == "masked" else ()
        y = 3 * random.normal(size=(size, *steps, 3)).astype("float32")
        if model == "void":
            y = random.integers(-1, 3, (size, LENGTH)) * (
                np.arange(size)[:, None] > 2
            ) - (np.arange(size)[:, None] <= 2)
        weight = random.uniform(0, 2, (size, *[1] * len(steps))).astype(
            "float32"
        )
        yield Batch(
            tf.constant(x),
            tf.constant(y),
            tf.constant(weight) if weighted else None,
        )


def trained(
    model="dense",
    clip="none",
    pieces=1,
    precision="float32",
    reduction="sum_over_batch_size",
    weighted=True,
    optimizer="sgd",
    again=False,
    multiples=(),
):
    """The weights after each step, those before the first among them, and the rows.

    `again` is whether every layer computes its activations again in the backward pass, `multiples` are those of
    the rate that the parameters have.
    """
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy(precision)
    net = MODELS[model]()
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    data = list(batches(model, weighted))
    options = {"masks": model in ("masked", "void")}
    if model == "void":
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=-1, reduction=reduction
        )
        options |= {"loss_rank": 2, "penalties": ask_penalties(net, data[0].x)}
    objective = KerasObjective(net, loss, **options)
    metrics = {
        "masked": [keras.metrics.MeanSquaredError()],
        "void": [keras.metrics.SparseCategoricalAccuracy()],
    }
    metrics = metrics.get(model, [])
    scale = LossScale() if precision == "mixed_float16" else None
    method = (
        backprop() if scale is None else loss_scaled(backprop(), scale.value)
    )
    method = accumulated(method, pieces) if pieces > 1 else method
    transform = chain(
        [(clip, CLIPS[clip](parameter_names(net)))] if CLIPS[clip] else []
    )
    rate, shares = (
        constant(1.0 if optimizer == "sgd" else 0.1),
        [ParamOptions(multiple) for multiple in multiples],
    )
    step_spec = StepSpec(objective, method, transform, rate, metrics, shares)
    state = TrainState(
        net,
        keras.optimizers.get(optimizer),
        transform,
        step_spec.rate,
        metrics=metrics,
        loss_scale=scale,
    )
    step = make_step(state, step_spec)
    signature = [
        tf.TensorSpec([None, *part.shape[1:]], part.dtype)
        for part in data[0]
        if part is not None
    ]
    program = tf.function(
        lambda *parts: replication.run(step, Batch(*parts))[0],
        input_signature=signature,
    )
    with rematerialized(RematSpec(net.layers if again else ())):
        program.get_concrete_function()
    found = {
        f"weight/0/{index}": value
        for index, value in enumerate(net.get_weights())
    }
    for number, batch in enumerate(data, 1):
        row = program(*[part for part in batch if part is not None])
        found |= {
            f"weight/{number}/{index}": value
            for index, value in enumerate(net.get_weights())
        }
        found |= {
            f"row/{number}/{name}": value.numpy() for name, value in row.items()
        }
    return found | {
        metric.name: np.array(metric.result()) for metric in metrics
    }


def looped(optimizer="sgd", steps=20, calls=3):
    """The weights after calls of many steps each, whose batches touch more and fewer rows of an embedding."""
    keras.utils.set_random_seed(7)
    layers = keras.layers
    stack = [
        keras.Input((LENGTH,), dtype="int64"),
        layers.Embedding(1000, 5),
        layers.GlobalAveragePooling1D(),
    ]
    net = keras.Sequential([*stack, layers.Dense(3)])
    step_spec = StepSpec(
        KerasObjective(net, keras.losses.MeanSquaredError()),
        backprop(),
        chain([]),
        constant(0.1),
    )
    step = make_step(
        TrainState(
            net,
            keras.optimizers.get(optimizer),
            step_spec.transform,
            step_spec.rate,
        ),
        step_spec,
    )
    random = np.random.default_rng(5)
    x = random.integers(
        0, random.integers(1, 1000, (steps, 1, 1)), (steps, 13, LENGTH)
    )
    x, y = (
        tf.constant(x),
        tf.constant(random.normal(size=(steps, 13, 3)).astype("float32")),
    )

    @tf.function
    def call():
        def body(index, total):
            return index + 1, total + replication.run(
                step, Batch(x[index], y[index])
            )[0]["loss"]

        return tf.while_loop(
            lambda index, _: index < steps,
            body,
            (0, 0.0),
            parallel_iterations=1,
        )[1]

    losses = [call().numpy() for _ in range(calls)]
    return {"losses": np.array(losses)} | {
        f"weight/{index}": value
        for index, value in enumerate(net.get_weights())
    }


def masks():
    """What a model that drops and adds noise makes of ones on each replica, [calls, replicas, 20]."""
    inner = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(20),
        ]
    )
    net = keras.Sequential(
        [keras.Input((20,)), inner, keras.layers.GaussianNoise(1.0, seed=2)]
    )
    net.layers[0].layers[1].set_weights([np.eye(20), np.zeros(20)])
    KerasObjective(net, keras.losses.MeanSquaredError())
    strategy = tf.distribute.get_strategy()

    @tf.function
    def once():
        return strategy.run(lambda: net(tf.ones([1, 20]), training=True)[0])

    return {
        "outputs": np.stack(
            [
                np.stack(strategy.experimental_local_results(once()))
                for _ in range(3)
            ]
        )
    }


def far():
    """How far one step of SGD goes at rate 1, of Keras with `global_clipnorm=1` and of ours with the same clip."""
    batch = Batch(tf.fill([4, 1], 30.0), tf.zeros([4, 1]))

    def line(optimizer):
        net = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(
                    1, use_bias=False, kernel_initializer="ones"
                ),
            ]
        )
        loss = keras.losses.MeanSquaredError()
        return net, KerasObjective(net, loss), optimizer

    net, objective, optimizer = line(
        keras.optimizers.SGD(1.0, global_clipnorm=1.0)
    )

    def by_keras(batch):
        own, _ = replication.local_batch(batch)
        with tf.GradientTape() as tape:
            loss = objective(own)[0] / replication.count()
        optimizer.apply(
            tape.gradient(loss, net.trainable_variables),
            net.trainable_variables,
        )

    optimizer.build(net.trainable_variables)
    tf.function(lambda: replication.run(by_keras, batch))()
    ours, objective, optimizer = line(keras.optimizers.SGD())
    step_spec = StepSpec(
        objective,
        backprop(),
        chain([("global_norm", clip_global_norm(1.0))]),
        constant(1.0),
    )
    step = make_step(
        TrainState(ours, optimizer, step_spec.transform, step_spec.rate),
        step_spec,
    )
    tf.function(lambda: replication.run(step, batch))()
    return {
        "keras": np.abs(1 - net.get_weights()[0].item()),
        "ours": np.abs(1 - ours.get_weights()[0].item()),
    }


def main():
    # Graphs as they stand: making them fast takes longer than running them a few times.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )
    count, file = int(sys.argv[1]), sys.argv[2]
    strategy = make_strategy("mirrored", count) if count > 1 else None
    found = {}
    for place, case in enumerate(json.load(sys.stdin)):
        with strategy.scope() if strategy else contextlib.nullcontext():
            answer = TASKS[case.pop("task")](**case)
            found |= {
                f"{place}/{name}": value for name, value in answer.items()
            }
    np.savez(file, **found)


TASKS = {one.__name__: one for one in (trained, looped, masks, far)}


if __name__ == "__main__":
    main()
