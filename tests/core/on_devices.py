"""Trains small models on a number of logical CPU devices; run as a process of its own.

    on_devices.py REPLICAS ANSWER < CASES

TensorFlow fixes its devices once, and two strategies of one process collide. CASES is a JSON list of keyword arguments
of `trained`; ANSWER is the .npz file that gets what it returns, as `<case>/<name>`.
"""

from __future__ import annotations

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replicas
from tftrain.core.objective import KerasObjective
from tftrain.core.scale import LossScale
from tftrain.core.state import TrainState
from tftrain.core.step import Recipe, make_step, parameter_names
from tftrain.core.types import Batch
from tftrain.gradients.backprop import backprop
from tftrain.gradients.microbatched import microbatched
from tftrain.gradients.scaled import loss_scaled
from tftrain.rates import constant
from tftrain.strategy import open_strategy
from tftrain.transforms.adaptive import clip_adaptive
from tftrain.transforms.chain import chain
from tftrain.transforms.clip import clip_global_norm, clip_layer_norm, clip_norm, clip_value
from tftrain.transforms.percentile import clip_percentile

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
SIZES = (16, 13, 16, 3)  # of the batches; 13 does not divide, and of 3 examples one of four replicas gets none
WORDS, LENGTH = 9, 4


def dense():
    layers = keras.layers
    return keras.Sequential([keras.Input((5,)), layers.Dense(6, "tanh"), layers.Dense(3, dtype="float32")])


def embedding():
    layers = keras.layers
    stack = [keras.Input((LENGTH,), dtype="int64"), layers.Embedding(WORDS, 5), layers.GlobalAveragePooling1D()]
    return keras.Sequential([*stack, layers.Dense(3)])


def batch_norm(synchronized=False):
    layers = keras.layers
    stack = [keras.Input((5,)), layers.Dense(6), layers.BatchNormalization(synchronized=synchronized, momentum=0.5)]
    return keras.Sequential([*stack, layers.Activation("tanh"), layers.Dense(3)])


def synchronized():
    return batch_norm(True)


MODELS = {one.__name__: one for one in (dense, embedding, batch_norm, synchronized)}


def batches(model, weighted):
    random = np.random.default_rng(5)
    for size in SIZES:
        if model == "embedding":
            x = random.integers(0, 5, (size, LENGTH))  # few words, many times each
        else:
            x = random.normal(size=(size, 5)).astype("float32")
        y = 3 * random.normal(size=(size, 3)).astype("float32")
        weight = random.uniform(0, 2, size).astype("float32")
        yield Batch(tf.constant(x), tf.constant(y), tf.constant(weight) if weighted else None)


def trained(
    model="dense", clip="global_norm", pieces=1, precision="float32", reduction="sum_over_batch_size", weighted=True
):
    """The weights after each step, those before the first among them, and the rows."""
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy(precision)
    net = MODELS[model]()
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    objective = KerasObjective(net, loss)
    scale = LossScale() if precision == "mixed_float16" else None
    method = backprop() if scale is None else loss_scaled(backprop(), scale.value)
    method = microbatched(method, pieces) if pieces > 1 else method
    transform = chain([(clip, CLIPS[clip](parameter_names(net)))] if CLIPS[clip] else [])
    recipe = Recipe(objective, method, transform, constant(1.0))
    state = TrainState(net, keras.optimizers.SGD(), transform, recipe.rate, loss_scale=scale)
    step = make_step(state, recipe)
    data = list(batches(model, weighted))
    program = tf.function(lambda batch: replicas.run(step, batch)[0], input_signature=[_signature(data[0])])
    found = {f"weight/0/{index}": value for index, value in enumerate(net.get_weights())}
    for number, batch in enumerate(data, 1):
        row = program(batch)
        found |= {f"weight/{number}/{index}": value for index, value in enumerate(net.get_weights())}
        found |= {f"row/{number}/{name}": value.numpy() for name, value in row.items()}
    return found


def _signature(batch):
    return tf.nest.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), batch)


def main():
    count, answer = int(sys.argv[1]), sys.argv[2]
    strategy = open_strategy("mirrored", count) if count > 1 else None
    found = {}
    for place, case in enumerate(json.load(sys.stdin)):
        with strategy.scope() if strategy else contextlib.nullcontext():
            found |= {f"{place}/{name}": value for name, value in trained(**case).items()}
    np.savez(answer, **found)


if __name__ == "__main__":
    main()
