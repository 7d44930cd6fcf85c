"""Half precision in whole steps: what overflows is skipped, counted and tried again with a smaller scale."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core import guards
from tftrain.core.callback import LambdaCallback
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.guards import LossScale
from tftrain.core.loop import train
from tftrain.core.objective import KerasObjective
from tftrain.core.schedule import Schedule, Segment, every
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec
from tftrain.core.types import NotFinite
from tftrain.core.update import ParamEMA
from tftrain.optim.clipping import clip_percentile
from tftrain.optim.gradients.accumulation import loss_scaled
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


def sizes(found, finite, loss=1.0):
    seen = []
    for good in finite:
        found.update(tf.constant(loss), tf.constant(good))
        seen.append(float(found.value))
    return seen


def test_halves_on_overflow_and_doubles_after_a_run_of_good_steps():
    found = LossScale(growth_steps=3)
    assert float(found.value) == 2**15
    steps = [True, True, False, True, True, True, True, False, False]
    expected = [2**15, 2**15, 2**14, 2**14, 2**14, 2**15, 2**15, 2**14, 2**13]
    assert (
        sizes(found, steps) == expected
    )  # an overflow starts the count anew, and so does growth
    assert int(found.good_steps) == 0


def test_stays_between_its_bounds():
    found = LossScale(growth_steps=1)
    assert sizes(found, [False] * 20)[-2:] == [guards.LEAST] * 2
    assert sizes(found, [True] * 50)[-2:] == [guards.MOST] * 2
    assert np.log2(guards.MOST) == 40


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_says_nothing_of_the_scale(loss):
    found = LossScale(growth_steps=2)
    sizes(found, [True])
    assert sizes(found, [False] * 3, loss) == [2**15] * 3
    assert sizes(found, [True, True]) == [
        2**15,
        2**16,
    ]  # but it ends the run of good steps


@pytest.fixture
def make(house):
    def run(size=1.0, growth_steps=1000, poisoned=()):
        """A classifier in float16 whose targets make its gradients `size` times as large."""
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy("mixed_float16")
        layers = keras.layers
        stack = [
            keras.Input((4,)),
            layers.Dense(5),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
        model = keras.Sequential(stack)
        keras.config.set_dtype_policy("float32")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        objective = KerasObjective(
            model,
            lambda y, found, sample_weight: (
                size * loss(y, found, sample_weight)
            ),
        )
        scale, feed = (
            LossScale(growth_steps),
            house.classes_feed(poisoned=poisoned),
        )
        transform, rate = (
            chain([("percentile", clip_percentile())]),
            constant(0.001),
        )
        kept = {
            "metrics": [
                keras.metrics.SparseCategoricalAccuracy(name="accuracy")
            ],
            "loss_scale": scale,
        }
        averages = ParamEMA(objective.params, 0.5)
        state = TrainState(
            model,
            keras.optimizers.Adam(),
            transform,
            rate,
            averages=averages,
            **kept,
        )
        step_spec = StepSpec(
            objective,
            loss_scaled(backprop(), scale.value),
            transform,
            rate,
            kept["metrics"],
        )
        return state, feed, CompiledSteps(state, step_spec, feed)

    return run


def trained(run, steps, on_bad_step="stop"):
    state, feed, compiled_steps = run
    shown = []
    callback = LambdaCallback(
        needs_each_point=True,
        on_log=lambda step, signals: shown.append(signals.scalars),
    )
    ended = train(
        compiled_steps,
        state,
        feed,
        Schedule(steps, every(1), on_bad_step=on_bad_step),
        [callback],
    )
    return shown, ended


def test_gradients_and_loss_leave_at_their_true_size(house):
    run, x = house.small_run(), tf.random.stateless_normal([6, 4], [1, 2])
    batch = house.classes_feed().batch(0, 0)._replace(x=x)
    objective = KerasObjective(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        run.objective.loss,
    )
    plain = backprop()(objective, batch, ())
    scaled = loss_scaled(backprop(), tf.Variable(2.0**20))(objective, batch, ())
    assert float(plain.loss) == float(scaled.loss)
    for mine, theirs in zip(scaled.grads, plain.grads, strict=True):
        np.testing.assert_array_equal(
            mine, theirs
        )  # a power of two changes no bit


def test_the_scale_finds_its_size_and_the_run_goes_on(make):
    shown, ended = trained(make(size=64.0), 12)
    assert ended is None
    scales = [row["loss_scale"] for row in shown]
    skipped = [row["nonfinite_steps"] for row in shown]
    assert skipped[0] == 1 and skipped[-1] == 0
    for step in range(1, 12):
        assert scales[step] == scales[step - 1] * (
            0.5 if skipped[step - 1] else 1
        )
    assert all(
        np.isfinite(row["loss"]) for row in shown
    )  # it is not the loss that overflows


def test_a_skipped_step_leaves_everything_but_the_scale(make, house):
    state, feed, compiled_steps = make(size=1e4)
    before = house.everything(state)
    row = compiled_steps.run(feed.serve(0, 1), [Segment(1)]).rows
    after = house.everything(state)
    assert row["finite"][0] == 0 and row["loss_scale"][0] == 2**15
    changed = {
        name
        for name in before
        if before[name].tobytes() != after[name].tobytes()
    }
    assert changed == {"step", "loss_scale/000"}
    assert after["loss_scale/000"] == 2**14


def test_it_grows_again(make):
    shown, _ = trained(make(size=1 / 64, growth_steps=2), 6)
    assert [row["loss_scale"] for row in shown] == [
        2**15,
        2**15,
        2**16,
        2**16,
        2**17,
        2**17,
    ]
    assert not any(row["nonfinite_steps"] for row in shown)


def test_it_stops_only_where_no_scale_is_small_enough(make):
    shown, ended = trained(
        make(size=1e30), 40
    )  # the loss is finite, the gradients too large for float16 by any scale
    assert isinstance(ended, NotFinite) and "at step 16" in str(
        ended
    )  # 2^15 halved 15 times
    assert len(shown) == 16 and shown[-1]["loss_scale"] == 1


def test_a_loss_that_is_not_finite_stops_at_once(make):
    shown, ended = trained(make(poisoned=[3, 4, 6]), 10)
    assert (
        isinstance(ended, NotFinite)
        and "at step 3" in str(ended)
        and "(loss nan" in str(ended)
    )
    assert len(shown) == 3 and shown[-1]["loss_scale"] == 2**15
    shown, ended = trained(make(poisoned=[3, 4, 6]), 10, on_bad_step="skip")
    assert ended is None and [row["nonfinite_steps"] for row in shown] == [
        0,
        0,
        1,
        1,
        0,
        1,
        0,
        0,
        0,
        0,
    ]
    assert {row["loss_scale"] for row in shown} == {2**15}
