import numpy as np
import pytest
import tensorflow as tf
from sklearn.model_selection import train_test_split

from tftrain.core.types import Batch
from tftrain.data.bundled import digits, iris
from tftrain.data.errors import DataError
from tftrain.data.splits import Split, split


def whole(x, y, weight=None):
    return {"train": Split(Batch(x, y, weight), len(y))}


@pytest.mark.parametrize("builder, test, seed", [(iris, 0.2, 42), (digits, 0.2, 0), (digits, 0.33, 7)])
def test_test_share_is_that_of_scikit_learn(builder, test, seed):
    x, y = builder()
    ours = split(whole(x, y), 0.0, test, seed)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test, random_state=seed)
    np.testing.assert_array_equal(ours["test"].data.x, x_test)
    np.testing.assert_array_equal(ours["test"].data.y, y_test)
    np.testing.assert_array_equal(ours["train"].data.x, x_train)
    np.testing.assert_array_equal(ours["train"].data.y, y_train)


def test_validation_share_is_of_the_whole_and_nothing_is_lost():
    x = np.arange(100)[:, None]
    parts = split(whole(x, x[:, 0], x[:, 0] * 1.0), 0.1, 0.2, 3)
    assert {name: part.examples for name, part in parts.items()} == {"train": 70, "validation": 10, "test": 20}
    everything = np.concatenate([part.data.y for part in parts.values()])
    assert sorted(everything) == list(range(100))
    for part in parts.values():
        np.testing.assert_array_equal(part.data.x[:, 0], part.data.y)
        np.testing.assert_array_equal(part.data.weight, part.data.y)


def test_validation_is_drawn_from_the_rest_as_scikit_learn_draws():
    x, y = iris()
    parts = split(whole(x, y), 0.1, 0.2, 42)
    rest = train_test_split(x, test_size=0.2, random_state=42)[0]
    np.testing.assert_array_equal(parts["validation"].data.x, train_test_split(rest, test_size=15, random_state=42)[1])


def test_streams_are_cut_in_order_with_the_test_examples_last():
    data = tf.data.Dataset.range(10).map(lambda i: (i, i))
    parts = split({"train": Split(data, 10)}, 0.2, 0.3, 0)
    found = {name: [int(x) for x, _ in part.data.as_numpy_iterator()] for name, part in parts.items()}
    assert found == {"train": [0, 1, 2, 3, 4], "validation": [5, 6], "test": [7, 8, 9]}
    assert [part.examples for part in parts.values()] == [5, 2, 3]


def test_splits_of_the_source_are_kept():
    x, y = iris()
    own = {**whole(x, y), "test": Split(Batch(x[:3], y[:3]), 3)}
    parts = split(own, 0.1, 0.0, 0)
    assert list(parts) == ["train", "validation", "test"] and parts["test"] is own["test"]
    with pytest.raises(DataError, match="test: 0.2 of the examples is asked for, but the data has its own test split"):
        split(own, 0.0, 0.2, 0)


def test_shares_must_leave_training_examples():
    with pytest.raises(DataError, match="0.5 for test and 0.5 for validation of 4 examples leaves none for training"):
        split(whole(np.zeros((4, 1)), np.zeros(4)), 0.5, 0.5, 0)
