import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.numerics import global_norm, norms, square_sums


def test_parts_and_whole():
    tensors = [tf.constant([[3.0, 4.0]]), tf.constant(12.0), tf.zeros([0, 7])]
    np.testing.assert_array_equal(square_sums(tensors), [25, 144, 0])
    np.testing.assert_array_equal(norms(tensors), [5, 12, 0])
    assert global_norm(square_sums(tensors)) == 13


def test_no_tensors():
    assert square_sums([]).shape == (0,)
    assert global_norm(square_sums([])) == 0


def test_same_as_tensorflow():
    random = np.random.default_rng(0)
    tensors = [
        tf.constant(random.normal(size=shape), tf.float32)
        for shape in [(30, 40), (7,), ()]
    ]
    # The order of summation differs, which float32 shows in its last digit.
    np.testing.assert_allclose(
        global_norm(square_sums(tensors)),
        tf.linalg.global_norm(tensors),
        rtol=1e-6,
    )


def test_half_precision_is_summed_in_float32():
    assert (
        norms([tf.fill([4], tf.constant(300.0, tf.float16))])[0] == 600
    )  # its square is past float16's 65504


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("elements", [100, 3000, 2**18])
def test_no_size_is_lost(jit_compile, elements):
    random = np.random.default_rng(0)
    sizes = [1e-36, 1e-23, 1e-15, 1e-8, 1.0, 1e12, 1e25, 1e37]
    tensors = [
        (size * (1 + random.random(elements))).astype(np.float32)
        for size in sizes
    ]
    found = tf.function(square_sums, jit_compile=jit_compile)(
        [*map(tf.constant, tensors), tf.zeros([elements])]
    )
    # Squares in float32, summed in float32 in several parts.
    expected = [
        np.sum(np.square(tensor, dtype=np.float64)) for tensor in tensors
    ]
    np.testing.assert_allclose(found, [*expected, 0], rtol=1e-6)


def test_what_is_not_finite_stays_so():
    wrong = (
        tf.constant([1.0, np.inf]),
        tf.constant([np.nan, 1e25]),
        tf.constant([3.0]),
    )
    np.testing.assert_array_equal(square_sums(wrong), [np.inf, np.nan, 9])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: tf.IndexedSlices(x, tf.range(3), tf.constant([9, 2])),
    ],
)
def test_shapes_may_be_unknown(wrap):
    sums = tf.function(
        lambda x: square_sums([wrap(x)]),
        input_signature=[tf.TensorSpec([None, 2], tf.float32)],
    )
    for size in (1.0, 1e-30):
        np.testing.assert_allclose(
            sums(tf.fill([3, 2], size)), [6 * size**2], rtol=1e-6
        )


def test_the_same_tensors_are_read_once_in_a_graph():
    def twice(x, y):
        return (
            square_sums([x, y]),
            norms([x, tf.IndexedSlices(y, tf.range(2), tf.constant([9]))]),
            square_sums([y]),
        )

    graph = (
        tf.function(twice)
        .get_concrete_function(*[tf.TensorSpec([2], tf.float32)] * 2)
        .graph
    )
    assert (
        sum(operation.type == "L2Loss" for operation in graph.get_operations())
        == 3
    )


def test_what_an_inner_graph_has_read_stays_there():
    @tf.function
    def both(x):
        _, inside = tf.while_loop(
            lambda go, _: go,
            lambda *_: (False, norms([x])),
            (True, tf.zeros([1])),
        )
        return inside, norms([x])

    assert [float(found[0]) for found in both(tf.constant([3.0, 4.0]))] == [
        5,
        5,
    ]
