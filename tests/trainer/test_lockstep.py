"""Back-propagation written out in NumPy, side by side with tftrain for 100 steps: the same weights at the end.

The twin computes in float64 from the weights that tftrain starts with. The rounding of float32, 6e-8, in 100 updates
of a rate of at most 0.5 leaves the weights, of size 1, within 1e-5.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from sklearn.datasets import load_iris

import tftrain

NEAR = {"rtol": 0, "atol": 1e-5}
SERIES = '''
import numpy as np


def waves():
    """Sequences of 12 numbers, and the one that comes next."""
    phase = np.random.default_rng(3).uniform(0, 6, 40)
    values = np.sin(phase[:, np.newaxis] + 0.5 * np.arange(13))
    return values[:, :12, np.newaxis].astype("float32"), values[:, 12].astype("float32")
'''

# f(z) and its derivative by a = f(z)
ACTIVATIONS = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
}


def softmax(z):
    powers = np.exp(z - z.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def dense_gradients(weights, activation, x, labels):
    """dL/dw and dL/db of each layer, L down to 1, for the mean cross-entropy of a softmax (Rumelhart et al., 1986)."""
    f, derivative = ACTIVATIONS[activation]
    *hidden, (w_last, b_last) = weights
    a = [x]
    for w, b in hidden:
        a.append(f(a[-1] @ w + b))
    delta = (
        softmax(a[-1] @ w_last + b_last) - np.eye(b_last.size)[labels]
    ) / len(x)
    grads = [(a[-1].T @ delta, delta.sum(0))]
    for layer in reversed(range(len(hidden))):
        delta = (delta @ weights[layer + 1][0].T) * derivative(a[layer + 1])
        grads.insert(0, (a[layer].T @ delta, delta.sum(0)))
    return grads


def recurrent_gradients(weights, x, y):
    """Back-propagation through time (Werbos, 1990); h_t = tanh(x_t W + h_(t-1) U + b), h_T V + c, mean square."""
    w, u, b, v, c = weights
    h = [np.zeros((len(x), u.shape[0]))]
    for step in range(x.shape[1]):
        h.append(np.tanh(x[:, step] @ w + h[-1] @ u + b))
    error = 2 * (h[-1] @ v + c - y[:, np.newaxis]) / len(x)
    grads = [np.zeros_like(one) for one in (w, u, b)]
    arrived = error @ v.T
    for step in reversed(range(x.shape[1])):
        delta = arrived * (1 - h[step + 1] ** 2)
        for grad, more in zip(
            grads,
            (x[:, step].T @ delta, h[step].T @ delta, delta.sum(0)),
            strict=True,
        ):
            grad += more
        arrived = delta @ u.T
    return [*grads, h[-1].T @ error, error.sum(0)]


def both(desk, tmp_path, text):
    """The weights that training starts with, and those after 100 steps, from a config."""
    found = []
    for flags in (
        ["training.steps=1", "optimizer.learning_rate=0"],
        ["training.steps=100"],
    ):
        model = tftrain.train(
            desk.load(text, *flags), tmp_path / flags[0]
        ).model
        found.append(
            [weight.astype("float64") for weight in model.get_weights()]
        )
    return found


@pytest.mark.parametrize(
    "activation, rate", [("sigmoid", 0.5), ("tanh", 0.5), ("relu", 0.1)]
)
def test_dense_layers(desk, tmp_path, activation, rate):
    """Full batches of the 150 irises. At a rate of 0.5 ReLUs leap about, and each rounding error doubles."""
    data = (
        "{name: iris, batch_size: full, preprocess: {name: scale, by: 0.125}}"
    )
    model = f"{{name: mlp, hidden: [8, 6], activation: {activation}, output_activation: softmax}}"
    text = f"model: {model}\ndata: {data}\noptimizer: {{name: sgd, learning_rate: {rate}}}\n"
    start, end = both(desk, tmp_path, text)
    x, labels = load_iris(return_X_y=True)
    weights = list(zip(start[::2], start[1::2], strict=True))
    for _ in range(100):
        grads = dense_gradients(weights, activation, x * 0.125, labels)
        weights = [
            (w - rate * dw, b - rate * db)
            for (w, b), (dw, db) in zip(weights, grads, strict=True)
        ]
    mine = [one for pair in weights for one in pair]
    assert (
        max(
            np.abs(before - after).max()
            for before, after in zip(start, mine, strict=True)
        )
        > 0.1
    )
    for theirs, own in zip(end, mine, strict=True):
        np.testing.assert_allclose(theirs, own, **NEAR)


def test_a_recurrent_layer(desk, tmp_path, monkeypatch):
    """Many to one, over 12 time steps."""
    (tmp_path / "lockstep_waves.py").write_text(SERIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = "{name: rnn, cell: simple, units: [6]}"
    data = "{name: 'lockstep_waves:waves', batch_size: full}"
    text = f"model: {model}\ndata: {data}\noptimizer: {{name: sgd, learning_rate: 0.05}}\n"
    start, end = both(desk, tmp_path, text)
    x, y = (
        one.astype("float64")
        for one in importlib.import_module("lockstep_waves").waves()
    )
    weights = start
    for _ in range(100):
        weights = [
            one - 0.05 * grad
            for one, grad in zip(
                weights, recurrent_gradients(weights, x, y), strict=True
            )
        ]
    assert (
        max(
            np.abs(before - after).max()
            for before, after in zip(start, weights, strict=True)
        )
        > 0.1
    )
    for theirs, own in zip(end, weights, strict=True):
        np.testing.assert_allclose(theirs, own, **NEAR)
