import keras
import numpy as np
import tensorflow as tf

from tftrain.core.numerics import (
    concat_sparse,
    global_norm,
    square_sums,
    stored_values,
    sum_duplicate_rows,
    with_values,
)
from tftrain.core.objective import KerasObjective
from tftrain.core.types import Batch, StepOutputs
from tftrain.diagnostics.probes.histograms import histograms
from tftrain.optim.gradients.backprop import backprop


def rows(values, indices, height=5):
    return tf.IndexedSlices(
        tf.constant(values),
        tf.constant(indices),
        tf.constant([height, len(values[0])]),
    )


def test_repeated_rows_are_summed():
    found = sum_duplicate_rows(
        rows([[1.0, 2.0], [10.0, 20.0], [3.0, -2.0]], [4, 0, 4])
    )
    assert found.indices.numpy().tolist() == [4, 0]
    np.testing.assert_array_equal(found.values, [[4, 0], [10, 20]])
    assert float(global_norm(square_sums([found]))) == np.float32(
        np.sqrt(16 + 500)
    )


def test_the_sum_of_sparse_gradients():
    found = concat_sparse(
        [rows([[1.0], [2.0]], [1, 3]), rows([[5.0], [7.0]], [3, 0])]
    )
    np.testing.assert_array_equal(
        tf.convert_to_tensor(found), [[7], [1], [0], [7], [0]]
    )


def test_numbers_in_the_same_places():
    sparse, dense = rows([[1.0], [2.0]], [1, 3]), tf.constant([1.0, 2.0])
    np.testing.assert_array_equal(
        tf.convert_to_tensor(with_values(sparse, 2 * stored_values(sparse)))[
            :, 0
        ],
        [0, 2, 0, 4, 0],
    )
    np.testing.assert_array_equal(
        with_values(dense, 2 * stored_values(dense)), [2, 4]
    )


def test_norms_and_histograms_are_those_of_the_dense_gradient():
    """An embedding against a product with ones and zeros; words come many times."""
    keras.utils.set_random_seed(0)
    words = np.random.default_rng(0).integers(0, 4, (6, 3))
    sparse = keras.Sequential(
        [keras.Input((3,), dtype="int64"), keras.layers.Embedding(9, 4)]
    )
    dense = keras.Sequential(
        [keras.Input((3, 9)), keras.layers.Dense(4, use_bias=False)]
    )
    dense.set_weights(sparse.get_weights())
    loss, y = (
        keras.losses.MeanSquaredError(),
        tf.random.stateless_normal([6, 3, 4], [1, 2]),
    )
    found = backprop()(
        KerasObjective(sparse, loss), Batch(tf.constant(words), y), ()
    ).grads
    twin = backprop()(
        KerasObjective(dense, loss), Batch(tf.one_hot(words, 9), y), ()
    ).grads
    np.testing.assert_allclose(
        tf.convert_to_tensor(found[0]), twin[0], atol=1e-7
    )  # float32 sums in another order
    np.testing.assert_allclose(square_sums(found), square_sums(twin), rtol=1e-6)
    shown = []
    for grads in (found, twin):
        probe = histograms("gradients", "log10")
        step_outputs = StepOutputs(
            None, None, [], grads, grads, [], ("000.words/table",)
        )
        shown.append(
            probe.read(
                tf.nest.map_structure(np.asarray, probe.measure(step_outputs))
            ).histograms
        )
    np.testing.assert_array_equal(
        shown[0]["gradients/000.words/table"],
        shown[1]["gradients/000.words/table"],
    )


def test_memory_grows_with_the_batch_and_not_with_the_vocabulary():
    """Of a million words no tensor of the gradient has more rows than the batch."""
    net = keras.Sequential(
        [keras.Input((3,), dtype="int64"), keras.layers.Embedding(1_000_000, 2)]
    )
    objective = KerasObjective(net, keras.losses.MeanSquaredError())

    @tf.function
    def norm(words):
        grads = backprop()(
            objective, Batch(words, tf.zeros([2, 3, 2])), ()
        ).grads
        return stored_values(grads[0]), global_norm(square_sums(grads))

    values, _ = norm(tf.constant([[1, 2, 999_999], [1, 2, 3]], tf.int64))
    assert values.shape == (4, 2)
    graph = norm.get_concrete_function(tf.TensorSpec([2, 3], tf.int64)).graph
    large = {
        op.type
        for op in graph.get_operations()
        for tensor in op.outputs
        if tensor.shape.rank is not None
        and (tensor.shape.num_elements() or 0) > 1000
    }
    assert large == {
        "ReadVariableOp"
    }  # which is the variable itself, and no copy
