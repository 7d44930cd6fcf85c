import numpy as np
import tensorflow as tf

from tftrain.core.packing import TensorPacker

NAN = np.array([0x7FC12345, 0xFF800000], np.uint32).view(
    np.float32
)  # with a payload; minus infinity


def through(tree, rows=1):
    """The trees of some calls, packed in a graph and unpacked on the host."""
    packing = TensorPacker()

    @tf.function
    def pack(scale):
        return packing.packed(tree(scale))

    found = [pack(tf.constant(float(row))) for row in range(1, rows + 1)]
    numbers, texts = (
        np.stack([one[part].numpy() for one in found]) for part in (0, 1)
    )
    assert (
        packing.numbers == numbers.shape[1] and packing.texts == texts.shape[1]
    )
    return packing.unpacked(numbers, texts)


def test_every_type_comes_back_bit_for_bit():
    leaves = {
        "a": tf.constant(1.5),
        "b": [
            tf.constant(7, tf.int64),
            tf.constant([1 / 3, -2.0], tf.float64),
            tf.constant(-9),
        ],
        "c": {
            "flag": tf.constant(True),
            "nan": tf.constant(NAN),
            "empty": tf.zeros([0, 3]),
        },
        "d": (
            tf.constant([[1, 2], [3, 4]], tf.uint32),
            tf.constant(2**40 + 1, tf.int64),
        ),
        "e": [
            tf.constant(0.1, tf.float16),
            tf.constant([0.1], tf.bfloat16),
            tf.constant([-7], tf.int8),
        ],
        "f": [tf.constant([250, 3], tf.uint8), tf.constant([[True], [False]])],
    }
    found = through(lambda _: leaves)
    tf.nest.assert_same_structure(found, leaves)
    for mine, given in zip(
        tf.nest.flatten(found), tf.nest.flatten(leaves), strict=True
    ):
        assert mine.shape == (1, *given.shape)
        assert (
            mine.dtype == given.numpy().dtype
            and mine[0].tobytes() == given.numpy().tobytes()
        )


def test_rows_lie_in_order_and_what_has_no_fixed_shape_is_found_too():
    found = through(
        lambda scale: {
            "x": scale * [1.0, 2.0],
            "any": tf.range(tf.cast(scale, tf.int32)),
        },
        rows=3,
    )
    np.testing.assert_array_equal(found["x"], [[1, 2], [2, 4], [3, 6]])
    assert [list(one) for one in found["any"]] == [[0], [0, 1], [0, 1, 2]]


def test_trees_come_one_by_one_with_arrays_as_they_were():
    def tree(scale):
        some = tf.range(tf.cast(scale, tf.int32))
        shapeless = tf.numpy_function(lambda x: x, [some > 0], tf.bool)
        return {
            "some": some,
            "mask": some > 0,
            "any": shapeless,
            "none": some[:0],
            "complex": tf.complex(scale, -scale),
        }

    packing = TensorPacker()
    pack = tf.function(
        lambda scale: packing.packed(tree(scale)), [tf.TensorSpec([])]
    )
    found = [pack(tf.constant(float(row))) for row in (1, 2, 3)]
    trees = packing.each(
        *(np.stack([one[part].numpy() for one in found]) for part in (0, 1))
    )
    for size, one in enumerate(trees, 1):
        expected = {
            "some": np.arange(size, dtype=np.int32),
            "mask": np.arange(size) > 0,
            "any": np.arange(size) > 0,
        }
        for name, value in (
            expected
            | {
                "none": np.zeros(0, np.int32),
                "complex": np.complex64(size - size * 1j),
            }
        ).items():
            assert one[name].dtype == value.dtype, name
            np.testing.assert_array_equal(one[name], value)


def test_nothing_packs_into_nothing():
    assert through(lambda _: []) == []
