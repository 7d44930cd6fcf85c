import numpy as np
import pytest
import tensorflow as tf

from tftrain.diagnostics.probes.bucket_counts import (
    chunked_fold,
    group_by_shape,
    is_small,
    stack_small,
)


def test_small_tensors_of_one_shape_are_taken_together():
    shapes = [
        (3, 4),
        (4,),
        (3, 4),
        (128, 128),
        (128, 128),
        (4,),
        (0, 2),
        (),
        (4, 3),
    ]
    assert group_by_shape([tf.zeros(shape) for shape in shapes]) == [
        [0, 2],
        [1, 5],
        [3],
        [4],
        [6],
        [7],
        [8],
    ]


def test_no_group_is_too_large_for_one_thread():
    tensors = [tf.zeros([100, 60])] * 5
    assert group_by_shape(tensors) == [[0, 1], [2, 3], [4]]
    assert all(
        is_small(stack_small([tensors[place] for place in places]))
        for places in group_by_shape(tensors)
    )


def test_what_has_no_fixed_shape_or_another_type_stays_alone():
    found = []

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def trace(x):
        found.append(
            group_by_shape(
                [x, tf.zeros([2]), x, tf.zeros([2], tf.float16), tf.zeros([2])]
            )
        )

    trace.get_concrete_function()
    assert sorted(found[0]) == [[0], [1, 4], [2], [3]]


def test_a_table_has_a_row_for_each():
    table = stack_small(
        [
            tf.constant([[1, 2], [3, 4]], tf.float16),
            tf.constant([[5, 6], [7, 8]], tf.float16),
        ]
    )
    np.testing.assert_array_equal(table, [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert table.dtype == tf.float32 and stack_small(
        [tf.constant(2.0)]
    ).shape == (1, 1)


@pytest.mark.parametrize("shape", [[10], [None]])
@pytest.mark.parametrize("piece", [3, 5, 10, 11])
def test_each_value_is_in_one_piece(shape, piece):
    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def total(values):
        def fold(found, values):
            return found[0] + tf.reduce_sum(values), tf.maximum(
                found[1], tf.size(values)
            )

        return chunked_fold(
            fold, (tf.constant(0.0), tf.constant(0)), values, piece
        )

    found, most = total(tf.range(10.0))
    assert found == 45 and most <= piece
