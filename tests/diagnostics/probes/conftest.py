from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Activation, StepOutputs


def sparse(rows, values, shape):
    return tf.IndexedSlices(
        tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape)
    )


def signals_of(probe, raw=None, params=None, updates=None, activations=None):
    """What a probe reads from a step_outputs, measured in a graph; parameters are given by name."""
    names = tuple(raw or params or updates or ())

    def tensors(named):
        found = (
            [named[name] for name in names]
            if named
            else [np.zeros(2)] * len(names)
        )
        return [
            one
            if isinstance(one, tf.IndexedSlices)
            else tf.constant(one, tf.float32)
            for one in found
        ]

    @tf.function
    def measure(params, raw, updates, values):
        layers = {
            name: Activation(activations[name][0], values[name])
            for name in values
        }
        return probe.measure(
            StepOutputs(0.0, (), params, raw, raw, updates, names, layers)
        )

    values = {
        name: tf.constant(value)
        for name, (_, value) in (activations or {}).items()
    }
    measured = measure(
        tensors(params or raw), tensors(raw), tensors(updates), values
    )
    return probe.read(
        tf.nest.map_structure(lambda tensor: tensor.numpy(), measured)
    )


@pytest.fixture(scope="session")
def shelf():
    return SimpleNamespace(signals_of=signals_of, sparse=sparse)
