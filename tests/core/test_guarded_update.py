import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.callback import LambdaCallback
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.guards import SpikeDetector
from tftrain.core.loop import train
from tftrain.core.objective import KerasObjective
from tftrain.core.schedule import Schedule, every
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step, overflow_probe
from tftrain.core.types import Batch
from tftrain.core.update import ParamEMA
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant, scheduled
from tftrain.optim.transforms import chain


class Dividing(keras.optimizers.Optimizer):
    """Gradient descent that fails where a gradient is zero."""

    def build(self, variables):
        super().build(variables)
        self.seen = [
            self.add_variable_from_reference(one, name="seen")
            for one in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        self.assign_add(
            self.seen[self._get_variable_index(variable)],
            keras.ops.square(gradient),
        )
        self.assign_sub(
            variable, learning_rate * gradient * gradient / gradient
        )


def run_with(optimizer, rate=None, spike=None):
    keras.utils.set_random_seed(2)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
    )
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    transform, rate = chain([]), rate or constant(0.01)
    kept = {
        "averages": ParamEMA(objective.params, 0.9),
        "norm_range": SpikeDetector(spike),
    }
    metrics = [keras.metrics.MeanSquaredError()]
    state = TrainState(
        model, optimizer, transform, rate, metrics=metrics, **kept
    )
    return state, StepSpec(objective, backprop(), transform, rate, metrics)


def batch(factor=1.0):
    x = tf.random.stateless_normal([6, 4], [1, 2])
    return Batch(x, factor * tf.random.stateless_normal([6, 3], [3, 4]))


ZERO = batch()._replace(
    x=batch().x * [0.0, 1.0, 1.0, 1.0]
)  # the gradient of a row of the kernel is zero
LARGE = batch()._replace(
    weight=tf.fill([6], 1e20)
)  # its square is infinite, and would stay so in the optimizer


@pytest.mark.parametrize(
    ("optimizer", "bad"),
    [
        (keras.optimizers.Adam(epsilon=0.0), ZERO),
        (Dividing(0.1), ZERO),
        (keras.optimizers.RMSprop(epsilon=0.0, momentum=0.5), ZERO),
        (keras.optimizers.Adam(), LARGE),
    ],
)
def test_an_update_that_is_not_finite_is_taken_back(house, optimizer, bad):
    state, step_spec = run_with(
        type(optimizer).from_config(optimizer.get_config())
    )
    step = tf.function(
        make_step(state, step_spec), jit_compile=isinstance(optimizer, Dividing)
    )
    before = house.everything(state)
    row, _ = step(bad)
    after = house.everything(state)
    assert (
        row["finite"] == 0
        and np.isfinite(
            [row["loss"], row["grad_norm"], row["learning_rate"]]
        ).all()
    )
    assert (before.pop("step"), after.pop("step")) == (0, 1)
    house.assert_same(before, after)
    assert step(batch())[0]["finite"] == 1
    now = house.everything(state)
    assert {"model", "optimizer", "average", "metrics"} <= {
        name.partition("/")[0]
        for name in before
        if not np.array_equal(now[name], before[name])
    }


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_a_rate_that_is_not_finite_is_not_used(house, wrong):
    rate = scheduled(
        lambda step: tf.where(step == 2, tf.constant(wrong, tf.float32), 0.01)
    )
    state, step_spec = run_with(keras.optimizers.SGD(), rate)
    step = tf.function(make_step(state, step_spec))
    assert [float(step(batch())[0]["finite"]) for _ in range(4)] == [1, 1, 0, 1]
    assert all(np.isfinite(value).all() for value in state.model.get_weights())


def test_a_careful_update_is_the_same_to_the_bit(house):
    ends = []
    for epsilon in (
        1e-16,
        1e-17,
    ):  # both vanish beside the roots here; the second is the first that is watched
        state, step_spec = run_with(keras.optimizers.Nadam(epsilon=epsilon))
        step = tf.function(make_step(state, step_spec))
        for factor in (1, 2, 3):
            step(batch(factor))
        ends.append(house.everything(state))
    house.assert_same(*ends)


def test_what_is_finite_beside_the_update():
    adam, sgd = keras.optimizers.Adam(), keras.optimizers.SGD()
    assert np.isfinite(
        overflow_probe(sgd, 1.0, tf.constant(1e30))
    ) and not np.isfinite(overflow_probe(adam, 1.0, tf.constant(1e30)))
    assert not np.isfinite(overflow_probe(sgd, np.inf, tf.constant(1.0)))
    assert np.isnan(overflow_probe(sgd, 0.0, tf.constant(np.inf)))
    assert (
        overflow_probe(sgd, tf.constant(0.5, tf.float64), tf.constant(2.0)) == 1
    )


def spiky_feed(house, steps=60, spikes=(50,), factor=1e6):
    random = np.random.default_rng(5)
    x, y = (
        random.normal(size=(steps, 6, 4)).astype(np.float32),
        random.normal(size=(steps, 6, 3)).astype(np.float32),
    )
    for step in spikes:
        y[step - 1] *= factor
    return house.ListFeed(x, y)


@pytest.mark.parametrize("steps_per_call", [1, 7, 1000])
def test_a_spike_is_not_applied_and_three_within_ten_steps_are_a_new_range(
    house, steps_per_call
):
    state, step_spec = run_with(
        keras.optimizers.SGD(), constant(1e-9), spike=1000.0
    )
    feed, told, rows = spiky_feed(house, spikes=(4, 30, 50, 53, 56, 59)), [], []
    feed.y = tf.tensor_scatter_nd_update(
        feed.y, [[3]], [feed.y[3] * 1e-4]
    )  # at step 4 it is 100 times as large
    callback = LambdaCallback(
        on_bad_step=told.append,
        on_call_end=lambda step, row: rows.append((step, row["finite"])),
    )
    plan = Schedule(
        60, every(20), on_bad_step="skip", steps_per_call=steps_per_call
    )
    assert (
        train(
            CompiledSteps(state, step_spec, feed), state, feed, plan, [callback]
        )
        is None
    )
    assert [(one.step, one.kind, len(one.rows["loss"])) for one in told] == [
        (step, "spike", step) for step in (30, 50, 53, 56)
    ]
    assert int(state.optimizer.iterations) == 56 and float(rows[-1][1]) == 1


def test_the_range_does_not_depend_on_how_steps_are_called(house):
    ends = []
    for pieces in (
        [60],
        [5, 13, 60],
        [10, 49, 50, 51, 60],
    ):  # a run is broken off and goes on
        state, step_spec = run_with(
            keras.optimizers.SGD(), constant(1e-3), spike=1000.0
        )
        feed = spiky_feed(house, spikes=(41, 44, 47))
        compiled_steps = CompiledSteps(state, step_spec, feed)
        for stop in pieces:
            train(
                compiled_steps,
                state,
                feed,
                Schedule(stop, every(stop), on_bad_step="skip"),
            )
        found = house.everything(state).items()
        ends.append(
            {
                name: value
                for name, value in found
                if not name.startswith("metrics/")
            }
        )  # each part forgets them
    house.assert_same(ends[0], ends[1])
    house.assert_same(ends[0], ends[2])
    assert ends[0]["norm_range/002"][:3, 0].tolist() == [41, 44, 47] and ends[
        0
    ]["norm_range/002"][3].tolist() == [0, 0]
