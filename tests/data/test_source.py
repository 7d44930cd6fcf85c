import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tftrain.data.source import column_names, read_source
from tftrain.runtime.errors import DataError

X, Y = np.zeros((6, 2)), np.arange(6)


class Parts(NamedTuple):
    train: Any
    validation: Any = None
    test: Any = None


@pytest.mark.parametrize(
    "source, names",
    [
        ((X, Y), ["train"]),
        ((X, Y, np.ones(6)), ["train"]),
        (((X, Y), (X[:2], Y[:2])), ["train", "test"]),
        (
            {"test": (X, Y), "train": (X, Y), "validation": None},
            ["train", "test"],
        ),
        (Parts((X, Y), (X, Y)), ["train", "validation"]),
        (tf.data.Dataset.from_tensor_slices((X, Y)), ["train"]),
        (
            {
                "train": tf.data.Dataset.from_tensor_slices((X, Y)),
                "test": (X, Y),
            },
            ["train", "test"],
        ),
    ],
)
def test_every_form_of_a_source_is_read(source, names):
    assert list(read_source(source)) == names


def test_targets_become_labels_or_stay_floats_and_weights_become_floats():
    batch = read_source(({"a": X, "b": Y}, Y.astype(np.uint8), [1] * 6))[
        "train"
    ]
    assert (
        batch.y.dtype == np.int64
        and batch.weight.dtype == np.float32
        and set(batch.x) == {"a", "b"}
    )
    assert (
        read_source((X, Y * 0.5))["train"].y.dtype == np.float64
    )  # until preprocessing is through


@pytest.mark.parametrize(
    "source, message",
    [
        (
            np.zeros(3),
            "data: found a value of type ndarray; a data builder returns arrays",
        ),
        ({"trian": (X, Y)}, "unknown split 'trian'; did you mean 'train'?"),
        ({"test": (X, Y)}, "there is no split 'train' among test"),
        ((X, Y[:5]), "data: the numbers of examples differ: x has 6, y has 5"),
        (({"a": X, "b": X[:1]}, Y), "x['a'] has 6, x['b'] has 1, y has 6"),
        (
            {"train": (X, Y), "test": (X, Y[:3])},
            "test: the numbers of examples differ",
        ),
        (
            (X, ["cat"] * 6),
            "data: y has dtype <U3, for example 'cat'; numbers are expected",
        ),
        (
            (np.array([[1, None]] * 6), Y),
            "data: x has dtype object, for example 1; numbers are expected",
        ),
        (([[1, 2], [3]], [0, 1]), "data: x is no regular array"),
        ((X, 3), "data: y is the single value 3"),
        (
            (X[:, :0], Y),
            "data: x of an example has the shape [0], so there is nothing in it",
        ),
        (
            tf.data.Dataset.from_tensor_slices((X[:, :0], Y)),
            "data: x of an example has the shape [0]",
        ),
        ((X, Y, np.ones((6, 2))), "data: weight has the shape [6, 2]"),
        (
            tf.data.Dataset.from_tensor_slices({"x": X, "y": Y}),
            "data: the tf.data.Dataset gives a value of type dict",
        ),
        (
            tf.data.Dataset.from_tensor_slices((X, ["a"] * 6)),
            "data: y has dtype string; numbers are expected",
        ),
        (
            tf.data.Dataset.from_tensor_slices((X, Y)).repeat(),
            "data: the tf.data.Dataset never ends",
        ),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(source, message):
    with pytest.raises(DataError) as caught:
        read_source(source)
    assert message in str(caught.value) and "\n" not in str(caught.value)


class Table:
    """As much of a pandas DataFrame as is looked at."""

    columns = ("length", 7)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(X, dtype)


def test_the_names_of_columns():
    assert column_names((Table(), Y)) == {"train": ["length", "7"]}
    assert column_names({"train": (X, Y), "test": (Table(), Y)}) == {
        "test": ["length", "7"]
    }
    assert column_names(tf.data.Dataset.from_tensor_slices((X, Y))) == {}
    assert read_source((Table(), Y))["train"].x.shape == (6, 2)


def test_a_dataset_that_shuffles_itself_is_told_of():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    with pytest.warns(
        UserWarning,
        match=r"train: shuffle\(\) of the tf.data.Dataset gives another order each time",
    ):
        read_source(
            {"train": dataset.shuffle(6, seed=0).map(lambda x, y: (x, y))}
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_source(dataset.shuffle(6, seed=0, reshuffle_each_iteration=False))


@pytest.mark.parametrize(
    ("y", "weight", "shape"),
    [
        ((6,), (6,), (6,)),
        ((6,), (6, 1), (6,)),
        ((6, 4), (6, 4), (6, 4)),
        ((6, 4, 1), (6, 4), (6, 4)),
        ((6, 4), (6,), (6,)),
    ],
)
def test_weights_are_of_examples_or_of_positions(y, weight, shape):
    splits = read_source((X, np.zeros(y), np.ones(weight)))
    assert splits["train"].weight.shape == shape
    stream = tf.data.Dataset.from_tensor_slices(
        (X, np.zeros(y), np.ones(shape))
    )
    assert read_source(stream)["train"].element_spec[2].shape == shape[1:]


def test_weights_of_other_positions_are_refused():
    stream = tf.data.Dataset.from_tensor_slices(
        (X, np.zeros((6, 4)), np.ones((6, 3)))
    )
    with pytest.raises(
        DataError,
        match=r"data: weight of an example has the shape \[3\], and y \[4\]; expected one",
    ):
        read_source(stream)
