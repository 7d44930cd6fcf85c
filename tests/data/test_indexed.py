import keras
import numpy as np
import pytest

from tftrain.data.source import read_source
from tftrain.runtime.errors import DataError


class Items:
    """Examples as a list has them."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


def test_examples_come_by_their_numbers_with_the_sizes_they_share():
    found = read_source(
        Items([(np.full((2, i), i, np.uint8), i, 0.5) for i in range(4)])
    )["train"]
    assert [part.shape.as_list() for part in found.element_spec] == [
        [2, None],
        [],
        [],
    ]
    for number, (x, y, weight) in enumerate(
        found.dataset().as_numpy_iterator()
    ):
        assert (x.shape, x.dtype, y, weight) == (
            (2, number),
            np.uint8,
            number,
            0.5,
        )


def test_features_may_have_names():
    found = read_source(
        {"train": Items([({"a": 1.0, "b": [i, i]}, i) for i in range(3)])}
    )["train"]
    x, y = list(found.select(np.array([2])).dataset().as_numpy_iterator())[0]
    assert set(x) == {"a", "b"} and x["b"].tolist() == [2, 2] and y == 2


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        return np.zeros((4, 1)), np.zeros(4)


@pytest.mark.parametrize(
    "source, message",
    [
        (Items([]), "data: there are no examples"),
        (
            Items([3]),
            r"data: example 0 is a int; a tuple \(x, y\) or \(x, y, weight\) is expected",
        ),
        (
            Items([(np.zeros(2), 0), (0.0, 0)]),
            r"shapes of differing rank, \(\) and \(2,\)",
        ),
        (Items([("cat", 0)]), "data: x has dtype string; numbers are expected"),
        (
            Batches(),
            "data: a keras.utils.PyDataset gives batches; single examples are expected",
        ),
    ],
)
def test_what_gives_no_examples_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        read_source(source)
