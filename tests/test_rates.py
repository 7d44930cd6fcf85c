import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Rate
from tftrain.rates import as_rate, constant, scheduled, warmup


def rates_of(rate, steps):
    @tf.function
    def at(state, step):
        return rate.update(state, step, tf.constant(1.0))

    state, found = rate.init(), []
    for step in range(steps):
        value, state = at(state, tf.constant(step, tf.int64))
        assert value.dtype == tf.float32
        found.append(float(value))
    return found


def test_constant():
    assert rates_of(constant(0.5), 3) == [0.5] * 3


def test_keras_schedule_counts_from_zero():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    assert rates_of(scheduled(schedule), 4) == [0.5, 0.5, 0.25, 0.25]


def test_numbers_and_schedules_become_rates():
    assert rates_of(as_rate(0.5), 2) == [0.5, 0.5]
    assert rates_of(as_rate(keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])), 2) == [0.5, 0.25]
    rate = constant(0.5)
    assert as_rate(rate) is rate


def test_cosine_against_its_formula():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    expected = [0.05 * (1 + np.cos(np.pi * step / 10)) for step in range(10)]
    np.testing.assert_allclose(rates_of(scheduled(schedule), 10), expected, rtol=1e-5)  # float32


def test_warmup_climbs_and_hands_over():
    then = scheduled(lambda step: 0.5 * 0.5 ** tf.cast(step, tf.float32))
    assert rates_of(warmup(4, then), 7) == [0.125, 0.25, 0.375, 0.5, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("steps", [0, 1])
def test_shortest_warmups(steps):
    assert rates_of(warmup(steps, constant(0.5)), 3) == [0.5] * 3


def test_warmup_keeps_the_state_of_what_it_wraps():
    counting = Rate(lambda: tf.constant(0.0), lambda state, step, grad_norm: (state + 1, state + grad_norm))
    assert rates_of(warmup(2, counting), 4) == [0.5, 2, 3, 4]
