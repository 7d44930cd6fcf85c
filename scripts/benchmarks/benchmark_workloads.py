"""What is trained in a benchmark: small models on data that comes with scikit-learn, or on noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

CLIP_NORM = 1.0  # of the observed peers
LEARNING_RATE = 1e-3  # of Adam, for every peer
NEVER = 10**9  # steps


class Workload(NamedTuple):
    """A stack of Keras layers, as a config names them, the batch size, and what makes the arrays (x, y)."""

    layers: list[dict[str, Any]]
    batch: int
    arrays: Callable[[], tuple[np.ndarray, np.ndarray]]


def workload(name: str) -> Workload:
    """The workload of that name; `dense_N` is N dense layers."""
    if name.startswith("dense_"):
        hidden = int(name.removeprefix("dense_")) - 1
        return Workload(dense([64] * hidden + [10]), 64, flat_digits)
    return WORKLOADS[name]


def arrays(workload_name: str):
    """The arrays of a workload, as a config asks for them."""
    return workload(workload_name).arrays()


def dense(widths: list[int]) -> list[dict[str, Any]]:
    """Dense layers with ReLU between them."""
    hidden = [
        {"name": "dense", "units": width, "activation": "relu"}
        for width in widths[:-1]
    ]
    return [*hidden, {"name": "dense", "units": widths[-1]}]


def iris():
    x, y = datasets.load_iris(return_X_y=True)
    return x.astype(np.float32), y.astype(np.int32)


def flat_digits():
    x, y = datasets.load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int32)


def large_digits():
    """Digits as images [28, 28, 1]: each pixel four times as wide and high, less a margin of 2."""
    x, y = flat_digits()
    images = x.reshape(-1, 8, 8).repeat(4, axis=1).repeat(4, axis=2)
    return images[:, 2:30, 2:30, None], y


def noise(examples: int, *shape: int):
    random = np.random.default_rng(0)
    x = random.normal(size=(examples, *shape)).astype(np.float32)
    return x, random.integers(0, 10, examples).astype(np.int32)


def noise_lines():
    return noise(4096, 512)


def noise_images():
    return noise(128, 28, 28, 1)


def noise_series():
    return noise(128, 100, 1)


_CNN = [
    {"name": "conv2d", "filters": 32, "kernel_size": 3, "activation": "relu"},
    {"name": "max_pooling2d"},
    {"name": "flatten"},
    *dense([128, 10]),
]
_LSTM = [
    {"name": "lstm", "units": 128, "return_sequences": True},
    {"name": "lstm", "units": 64},
    *dense([10]),
]
WORKLOADS = {
    "iris_mlp": Workload(dense([32, 3]), 32, iris),
    "digits_mlp": Workload(dense([128, 64, 10]), 32, flat_digits),
    "deep_mlp": Workload(dense([64] * 40 + [10]), 64, flat_digits),
    "mnist_cnn": Workload(_CNN, 32, large_digits),
    "lstm": Workload(_LSTM, 32, lambda: noise(512, 100, 1)),
    "wide_mlp": Workload(
        dense([2048, 2048, 10]), 256, lambda: noise(4096, 784)
    ),
}


def write_config(path: Path, name: str, log_every: int | None) -> Path:
    """A config that trains a workload without an end; with `log_every` it is observed, else nothing is written."""
    chosen = workload(name)
    log = {
        "scalars": log_every or NEVER,
        "histograms_every": log_every or "never",
        "histograms": "gradients",
    }
    config = {
        "model": {"name": "sequential", "layers": chosen.layers},
        "data": {
            **{"name": "benchmark_workloads:arrays", "workload_name": name},
            **{"batch_size": chosen.batch, "drop_remainder": True},
        },
        "optimizer": {"name": "adam", "learning_rate": LEARNING_RATE},
        "gradients": {"clip": {"name": "global_norm", "limit": CLIP_NORM}},
        "training": {"steps": NEVER},
        "log": log,
        "checkpoint": {"every": "never"},
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
