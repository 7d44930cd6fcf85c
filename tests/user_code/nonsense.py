"""Parts of a user's own that return what they should not."""

import keras
import tensorflow as tf

from tftrain.core.types import LossAndGrads, Rate, Transform
from tftrain.optim.gradients.method_traits import method_traits

VECTOR = tf.zeros([3])


def what(give):
    """Any kind of part: what its table says."""
    return {"none": None, "five": 5, "vector": VECTOR}[give]


def clip(gives: str):
    """A transform whose update returns nonsense, each of its own kind."""
    updates = {
        "number": lambda grads, state, params: 5,
        "grads": lambda grads, state, params: (5, state, {}),
        "words": lambda grads, state, params: (["a"] * len(grads), state, {}),
        "state": lambda grads, state, params: (grads, (state, 1), {}),
        "scalars": lambda grads, state, params: (grads, state, 5),
        "scalar": lambda grads, state, params: (grads, state, {"size": VECTOR}),
        "rate": lambda grads, state, params: (grads, state, {"rate": 7.0}),
        "init": lambda grads, state, params: (grads, state, {}),
    }
    return Transform(
        lambda params: object() if gives == "init" else tf.constant(0),
        updates.get(gives, 6),
    )


def method(gives: str):
    def evaluate(objective, batch, carry):
        if gives == "none":
            return None
        if gives == "raises":
            return len(gives) / 0
        with tf.GradientTape() as tape:
            loss, outputs, carry = objective(batch, carry)
        grads = tape.gradient(loss, objective.params)
        if gives == "vector":
            return LossAndGrads(VECTOR, grads, outputs, carry)
        return LossAndGrads(
            loss,
            {"few": grads[:1], "missing": [None] * len(grads), "good": grads}[
                gives
            ],
            outputs,
        )

    return evaluate


@method_traits(compares_passes=True, has_backward_pass=False)
def comparing(gives: str = "good"):
    """A method that says what the built-in `numeric` says."""
    return method(gives)


def score(y_true, y_pred, gives: str):
    """A loss, or a metric."""
    return {"text": "good", "none": None}[gives]


def text(step):
    return "fast"


def vector(step):
    return VECTOR


def raising(step):
    return 1 / 0


def rate(gives: str):
    """A rate with a state of its own."""
    updates = {
        "number": lambda state, step, norm: 0.1,
        "vector": lambda state, step, norm: (VECTOR, state),
        "state": lambda state, step, norm: (0.1, 1.0 * VECTOR),
    }
    return Rate(lambda: tf.constant(0.0), updates[gives])


class Choosing(keras.Model):
    """Runs eagerly, but not in a graph."""

    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(3)

    def call(self, x):
        return self.last(x if tf.reduce_sum(x) > 0 else -x)


class FailingOptimizer(keras.optimizers.SGD):
    """An optimizer that cannot update."""

    def update_step(self, gradient, variable, learning_rate):
        raise RuntimeError("this update fails")
