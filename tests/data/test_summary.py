import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data.summary import DataSummary, record_of, validate_split
from tftrain.runtime.errors import DataError


def stream(batch):
    return tf.data.Dataset.from_tensor_slices(
        tuple(part for part in batch if part is not None)
    )


FORMS = pytest.mark.parametrize(
    "form", [lambda batch: batch, stream], ids=["arrays", "stream"]
)
X = np.zeros((6, 3), np.float32)


def with_bad(values):
    x = X.copy()
    for place, value in values.items():
        x[place] = value
    return x


@FORMS
@pytest.mark.parametrize(
    "y, labels, others",
    [
        (np.array([2, 0, 1, 0, 4, 1]), (0, 4), None),
        (np.array([[1], [1], [1], [2], [2], [2]]), (1, 2), None),
        (np.zeros(6, np.float32), None, None),
        (np.arange(24).reshape(6, 4) - 3, None, (-3, 20)),
        (np.ones((6, 4), bool), None, (1, 1)),
    ],
)
def test_examples_and_labels_are_found(form, y, labels, others):
    assert (
        validate_split("train", form(Batch(X, y)))[:3]
        == DataSummary(6, labels, others)[:3]
    )


@FORMS
@pytest.mark.parametrize(
    "batch, message",
    [
        (Batch(X[:0], np.zeros(0, np.int64)), "train: there are no examples"),
        (
            Batch(X, np.array([0, 1, -2, 0, 0, 0])),
            "train: integer targets are labels, counted from 0, but the lowest is -2 (first in record 2, counted",
        ),
        (
            Batch(X, np.array([0, 1, 0, 0, 2**24, 0])),
            "train: integer targets are labels, and 16777216 (first in record 4, counted from 0) makes more than",
        ),
        (
            Batch(
                with_bad({(4, 0): np.inf, (2, 1): np.nan, (4, 2): np.nan}),
                np.zeros(6),
            ),
            "train: 3 values are NaN or Inf, the first in record 2 (counted from 0), x column 1",
        ),
        (
            Batch({"a": X, "b": with_bad({(5, 2): -np.inf})}, np.zeros(6)),
            "train: 1 value is NaN or Inf, the first in record 5 (counted from 0), x['b'] column 2",
        ),
        (
            Batch(np.full((6, 2, 2, 1), np.nan), np.zeros(6)),
            "24 values are NaN or Inf, the first in record 0 (counted from 0), x at [0, 0, 0]",
        ),
        (
            Batch(X, np.array([0, 1, np.nan, 0, 0, 0])),
            "in record 2 (counted from 0), y",
        ),
        (
            Batch(X.astype(np.float64) + 1e300, np.zeros(6)),
            "18 values are NaN or Inf",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_its_place(
    form, batch, message
):
    with pytest.raises(DataError) as caught:
        validate_split("train", form(batch))
    assert message in str(caught.value)


def test_a_column_is_told_by_its_name():
    batch = Batch(with_bad({(4, 2): np.nan}), np.zeros(6))
    with pytest.raises(
        DataError,
        match=r"in record 4 \(counted from 0\), x column 2 \('width'\)$",
    ):
        validate_split("train", batch, ["length", "height", "width"])


@FORMS
@pytest.mark.parametrize(
    "y",
    [np.array([0, 3, 2, 3, 0, 1]), np.array([[0], [3], [2], [3], [0], [1]])],
)
def test_the_record_of_a_label(form, y):
    assert [record_of(form(Batch(X, y)), label) for label in (0, 1, 2, 3)] == [
        0,
        5,
        2,
        1,
    ]


def test_what_takes_long_is_told_with_a_way_out_of_what_never_ends(
    monkeypatch, capsys
):
    monkeypatch.setattr("tftrain.data.summary.PATIENCE_SECONDS", 0)
    numbers = tf.data.Dataset.range(300).map(
        lambda i: (tf.cast(i, tf.float32), i)
    )
    assert validate_split("train", numbers).labels == (0, 299)
    validate_split("train", numbers.filter(lambda x, y: y >= 0))
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "train: looked at 256 examples of 300"
    assert (
        last
        == "train: looked at 300 examples; a tf.data.Dataset that never ends needs take(n), as an epoch has an end"
    )
