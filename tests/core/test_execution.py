import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.execution import (
    DEFAULT,
    SERIAL,
    SMALL,
    choose_executor,
    using_executor,
)
from tftrain.core.schedule import MEASURED, Segment


def dense(*sizes):
    return keras.Sequential(
        [
            keras.Input((sizes[0],)),
            *(keras.layers.Dense(size) for size in sizes[1:]),
        ]
    )


def test_small_operations_run_in_series_and_large_ones_do_not():
    assert (
        choose_executor(dense(4, 32, 3), np.zeros((1, 4), np.float32), 32)
        == SERIAL
    )
    wide = dense(2048, 1024, 10)
    assert choose_executor(wide, np.zeros((1, 2048), np.float32), 64) == DEFAULT
    side = (
        int((SMALL / 9) ** 0.5) + 3
    )  # one filter of 3 x 3, used at more than SMALL / 9 places
    image = keras.Sequential(
        [keras.Input((side, side, 1)), keras.layers.Conv2D(1, 3)]
    )
    assert (
        choose_executor(image, np.zeros((1, side, side, 1), np.float32), 1)
        == DEFAULT
    )
    assert (
        choose_executor(image, np.zeros((1, side, side, 1), np.float32), 0)
        == SERIAL
    )


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(1024)

    def call(self, x):
        return self.inner(tf.nn.relu(x))


def test_a_models_own_call_is_seen_through_and_left_as_it_was():
    model = Own()
    x = np.ones((1, 1024), np.float32)
    model(x)
    assert (
        choose_executor(model, x, 1) == DEFAULT
        and choose_executor(model, x, 0) == SERIAL
    )
    assert "call" not in vars(model.inner)


def test_a_table_of_embeddings_is_not_multiplied():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Embedding(100_000, 32),
            keras.layers.Dense(1),
        ]
    )
    assert choose_executor(model, np.zeros((1, 3), np.float32), 16) == SERIAL


@pytest.mark.parametrize("poisoned", [(), (7,)])
def test_both_do_the_same_whatever_is_due(house, poisoned):
    ends, rows = [], []
    for executor in (DEFAULT, SERIAL):
        run, feed = house.small_run(), house.classes_feed(poisoned=poisoned)
        compiled_steps = CompiledSteps(
            run.state, run.step_spec, feed, executor=executor
        )
        found = compiled_steps.run(
            feed.serve(0, 9),
            [Segment(3, MEASURED), Segment(4), Segment(9, MEASURED)],
        )
        ends.append(house.everything(run.state))
        rows.append(found.rows)
        assert len(found.rows["finite"]) == (7 if poisoned else 9)
        assert (
            len(found.metrics) == len(found.signals) == (1 if poisoned else 2)
        )
    for name in ends[0]:
        # Kernels may sum in another order: a few roundings of float32 in values around 1.
        np.testing.assert_allclose(
            ends[0][name], ends[1][name], rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(
        rows[0]["grad_norms"], rows[1]["grad_norms"], rtol=1e-4
    )


def test_the_executor_and_its_settings_last_as_long_as_the_block():
    def told():
        options = context.context().function_call_options
        config = tf.compat.v1.ConfigProto.FromString(
            options.config_proto_serialized
        )
        return (
            options.executor_type or DEFAULT,
            config.graph_options.rewrite_options.disable_meta_optimizer,
        )

    assert told() == (DEFAULT, False)
    with using_executor(SERIAL):
        assert told() == (SERIAL, True)
        with using_executor(DEFAULT):
            assert told() == (SERIAL, True)
    assert told() == (DEFAULT, False)
