import numpy as np
import pytest
import tensorflow as tf

from tftrain.data.records import record_addresses, tfrecords
from tftrain.runtime.errors import DataError


@pytest.fixture
def files(tmp_path):
    """Two files of 5 and 3 records, whose lengths differ; record i is i times the letter of its file."""
    for letter, count in (("a", 5), ("b", 3)):
        with tf.io.TFRecordWriter(str(tmp_path / letter)) as file:
            for i in range(count):
                file.write(letter.encode() * i)
    return str(tmp_path / "a"), str(tmp_path / "b")


def texts(addressed):
    return [
        text.decode() for (text,) in addressed.dataset().as_numpy_iterator()
    ]


def opened(*ranges):
    return tfrecords(ranges, lambda record: (record,), together=2)


def test_addresses_are_those_of_the_format(files):
    np.testing.assert_array_equal(
        record_addresses(files[0]), np.cumsum([0, *(16 + i for i in range(5))])
    )


def test_ranges_of_files_are_read_in_order_and_selected_from(files):
    whole = opened((files[0], 1, 5), (files[1], 0, 3), (files[0], 0, 2))
    expected = ["a", "aa", "aaa", "aaaa", "", "b", "bb", "", "a"]
    assert whole.examples == 9 and texts(whole) == expected
    for numbers in (range(4), range(3, 6), [4], range(2, 9), [0, 2, 3, 7]):
        assert texts(whole.select(np.array(numbers, int))) == [
            expected[number] for number in numbers
        ]


def test_chunks_end_with_their_file_and_are_read_alone(files):
    whole = opened((files[0], 0, 5), (files[1], 1, 3))
    chunks = whole.chunks(2)
    assert chunks[:, 3].tolist() == [2, 2, 1, 2] and chunks[:, 0].tolist() == [
        0,
        0,
        0,
        1,
    ]
    for chunk, expected in (
        (chunks[3], [b"b", b"bb"]),
        (chunks[1], [b"aa", b"aaa"]),
    ):
        assert (
            list(
                tf.data.Dataset.from_tensors(chunk)
                .flat_map(whole.raw)
                .as_numpy_iterator()
            )
            == expected
        )


def test_a_file_that_is_cut_short_is_named(files):
    with open(files[0], "r+b") as file:
        file.truncate(60)
    with pytest.raises(
        DataError, match=r"a holds 3 whole records; 5 are expected"
    ):
        opened((files[0], 0, 5))
