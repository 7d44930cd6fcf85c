import pytest
import tensorflow as tf

from tftrain.core.execution import DEFAULT, SERIAL, using_executor
from tftrain.core.numerics import while_cond


@pytest.mark.parametrize("executor", [DEFAULT, SERIAL])
def test_values_change_and_deeds_are_done_where_the_flag_is_set(executor):
    done = tf.Variable(0)

    @tf.function
    def run(flag):
        while_cond(flag, lambda: done.assign_add(1))
        return while_cond(
            flag,
            lambda number, text: (number * 2, text + "!"),
            tf.constant(3),
            tf.constant("a"),
        )

    with using_executor(executor):
        assert [value.numpy() for value in run(tf.constant(False))] == [
            3,
            b"a",
        ] and done.numpy() == 0
        assert [value.numpy() for value in run(tf.constant(True))] == [
            6,
            b"a!",
        ] and done.numpy() == 1


@pytest.mark.parametrize("executor", [DEFAULT, SERIAL])
def test_what_the_deed_reads_is_as_it_was_left_before(executor):
    held = tf.Variable(1.0)

    @tf.function
    def run():
        held.assign(5.0)
        while_cond(tf.constant(True), lambda: held.assign(held * 2))
        return held.read_value()

    with using_executor(executor):
        assert run().numpy() == 10.0
