"""Data sets, models and generators of a user's own, each with a fault."""

import sys

import numpy as np
import tensorflow as tf

X = np.linspace(0, 1, 120, dtype=np.float32).reshape(40, 3)
Y = np.arange(40) % 3


class Table(np.ndarray):
    """As much of a pandas DataFrame as is looked at."""

    columns = ("length", "height", "width")


def spoiled(value, table=False):
    x = X.copy()
    x[7, 2] = x[9, 0] = value
    return x.view(Table) if table else x


def data(fault: str):
    """What the name of the fault says."""
    few = Y.copy()
    few[:20] = 0
    made = {
        "held_out_nan": lambda: {
            "train": (X, Y),
            "validation": (spoiled(np.nan), Y),
        },
        "named_nan": lambda: (spoiled(np.inf, table=True), Y),
        "streamed_nan": lambda: tf.data.Dataset.from_tensor_slices(
            (spoiled(np.nan), Y)
        ),
        "target_nan": lambda: (X, spoiled(np.nan)[:, 2]),
        "weight_nan": lambda: (X, Y, spoiled(np.nan)[:, 2]),
        "huge": lambda: (X * 1e38, Y * 0.5),
        "negative": lambda: (X, Y - 1),
        "real_labels": lambda: (X, Y.astype(np.float32)),
        "unseen": lambda: {"train": (X, Y), "validation": (X, Y + 2)},
        "nothing": lambda: (X[:0], Y[:0]),
        "one_class": lambda: (X, Y * 0 + 5),
        "single": lambda: (X[:1], Y[:1]),
        "hollow": lambda: (X[:, :0], Y),
        "several": lambda: ({"../up": X, "down": X}, Y),
        "images": lambda: (np.zeros((40, 8, 8, 1), np.float32), Y),
        "evil_split": lambda: {"train": (X, Y), "../../evil": (X, Y)},
        "leaves": lambda: sys.exit(0),
        "breaks": _breaking,
    }
    return made[fault]()


def _breaking():
    def examples():
        yield X[0], Y[0]
        raise RuntimeError("no more cats")

    spec = (tf.TensorSpec([3]), tf.TensorSpec([], tf.int64))
    return tf.data.Dataset.from_generator(examples, output_signature=spec)


def leaving(*, outputs: int):
    sys.exit(0)
