"""The state of the activations of each layer: their spread, dead units, and saturation."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Activation, Moment, Probe, Signals, Tensor

ZERO_BELOW = ("relu", "relu6")  # with no gradient there either: a unit that is never above 0 has stopped learning
BOUNDED = {  # the range in which an activation is not saturated
    "sigmoid": (0.05, 0.95),
    "hard_sigmoid": (0.05, 0.95),
    "tanh": (-0.95, 0.95),
    "hard_tanh": (-0.95, 0.95),
    "softsign": (-0.95, 0.95),
}


def activation_signals() -> Probe:
    """Of each layer that has an activation: `activation_mean/<layer>`, `activation_std/<layer>`.

    Of ReLUs also `zero_activations/<layer>`, the share of values that are 0, and `dead_units/<layer>`, the share of
    units that are 0 for the whole batch; a unit is an index of the last axis, such as a neuron or a channel. Of bounded
    functions also `saturated/<layer>`, the share of values within 0.05 of a bound. From the step's own forward pass.
    """

    def measure(moment: Moment) -> dict:
        return {name: _measure(activation) for name, activation in moment.activations.items()}

    def read(measured: dict) -> Signals:
        return Signals(
            {f"{kind}/{name}": float(value) for name, found in measured.items() for kind, value in found.items()}
        )

    return Probe(measure, read)


def _measure(activation: Activation) -> dict[str, Tensor]:
    values = tf.cast(activation.values, tf.float32)
    found = {"activation_mean": tf.reduce_mean(values), "activation_std": tf.math.reduce_std(values)}
    if activation.function in ZERO_BELOW:
        zero = values == 0
        units = tf.reshape(zero, [-1, tf.shape(values)[-1]])
        found |= {"zero_activations": _share(zero), "dead_units": _share(tf.reduce_all(units, axis=0))}
    if activation.function in BOUNDED:
        low, high = BOUNDED[activation.function]
        found["saturated"] = _share((values < low) | (values > high))
    return found


def _share(flags: Tensor) -> Tensor:
    return tf.reduce_mean(tf.cast(flags, tf.float32))
