import pytest
import tensorflow as tf

from tftrain.core.execution import DEFAULT, SERIAL, executed
from tftrain.core.numerics import once


@pytest.mark.parametrize("executor", [DEFAULT, SERIAL])
def test_values_change_and_deeds_are_done_where_the_flag_is_set(executor):
    done = tf.Variable(0)

    @tf.function
    def run(flag):
        once(flag, lambda: done.assign_add(1))
        return once(flag, lambda number, text: (number * 2, text + "!"), tf.constant(3), tf.constant("a"))

    with executed(executor):
        assert [value.numpy() for value in run(tf.constant(False))] == [3, b"a"] and done.numpy() == 0
        assert [value.numpy() for value in run(tf.constant(True))] == [6, b"a!"] and done.numpy() == 1


@pytest.mark.parametrize("executor", [DEFAULT, SERIAL])
def test_what_the_deed_reads_is_as_it_was_left_before(executor):
    held = tf.Variable(1.0)

    @tf.function
    def run():
        held.assign(5.0)
        once(tf.constant(True), lambda: held.assign(held * 2))
        return held.read_value()

    with executed(executor):
        assert run().numpy() == 10.0
