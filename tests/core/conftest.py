from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec
from tftrain.core.types import Batch
from tftrain.optim.clipping import clip_global_norm
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


class ListFeed:
    """Batches [steps, batch, ...] in order, over and over; remembers what it was asked for."""

    signature = tf.TensorSpec([], tf.int64)
    prepared = True

    def __init__(self, x, y, longest=1000):
        self.x, self.y, self.longest = tf.constant(x), tf.constant(y), longest
        self.steps_per_epoch = len(x)
        self.examples = len(x) * len(x[0])
        self.served = []

    def run_length(self, step):
        return self.longest

    def serve(self, step, count):
        self.served.append((step, count))
        return tf.constant(step, tf.int64)

    def batch(self, handle, index):
        at = (handle + tf.cast(index, tf.int64)) % self.steps_per_epoch
        return Batch(self.x[at], self.y[at])


def classes_feed(steps=10, longest=1000, poisoned=()):
    """Random batches of 6 examples with 4 numbers and one of 3 classes; the poisoned steps hold a NaN."""
    random = np.random.default_rng(0)
    x = random.normal(size=(steps, 6, 4)).astype(np.float32)
    for step in poisoned:
        x[step - 1, 2, 1] = np.nan
    return ListFeed(x, random.integers(0, 3, (steps, 6)), longest)


def small_run(transform=None, rate=None, metrics=None, seed=1):
    """A small classifier with everything that changes: moving averages, dropout seeds, optimizer slots, metrics."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, "elu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    objective = KerasObjective(model, loss, tf.nn.softmax)
    transform = transform or chain([("global_norm", clip_global_norm(0.5))])
    rate = rate or constant(0.01)
    metrics = (
        [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if metrics is None
        else metrics
    )
    state = TrainState(
        model, keras.optimizers.Adam(), transform, rate, metrics=metrics
    )
    step_spec = StepSpec(objective, backprop(), transform, rate, metrics)
    return SimpleNamespace(
        model=model,
        objective=objective,
        state=state,
        step_spec=step_spec,
        metrics=metrics,
    )


def everything(state):
    """The bytes of all that changes."""
    return {
        name: variable.numpy()
        for name, variable in state.variables_by_name().items()
    }


@pytest.fixture(scope="session")
def house():
    def assert_same(left, right):
        assert left.keys() == right.keys()
        different = [
            name
            for name in left
            if np.asarray(left[name]).tobytes()
            != np.asarray(right[name]).tobytes()
        ]
        assert not different

    return SimpleNamespace(
        ListFeed=ListFeed,
        classes_feed=classes_feed,
        small_run=small_run,
        everything=everything,
        assert_same=assert_same,
    )
