import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.objective import KerasObjective
from tftrain.core.state import TrainState
from tftrain.core.step import StepSpec, make_step
from tftrain.core.types import Batch, Probe, Rate, Transform
from tftrain.optim.clipping import clip_global_norm
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain


def line_run(transform, rate, metrics=()):
    """y = 3 x + 1 with squared error and plain SGD."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1)], name="line"
    )
    model.set_weights([np.array([[3.0]]), np.array([1.0])])
    objective = KerasObjective(model, keras.losses.MeanSquaredError())
    state = TrainState(
        model, keras.optimizers.SGD(), transform, rate, metrics=metrics
    )
    return state, StepSpec(objective, backprop(), transform, rate, metrics)


BATCH = Batch(
    tf.constant([[0.75]]), tf.constant([[1.25]])
)  # the error is 2, so the gradient is (3, 4) of norm 5


def test_one_step_by_hand():
    metrics = [keras.metrics.MeanAbsoluteError()]
    state, step_spec = line_run(
        chain([("global_norm", clip_global_norm(2.5))]), constant(0.5), metrics
    )
    row, measured = tf.function(make_step(state, step_spec))(BATCH)
    assert measured == []
    assert all(value.dtype == tf.float32 for value in row.values())
    # clip_by_global_norm multiplies by a rounded 1/5, hence the tolerance of float32.
    for name, expected in {
        "loss": 4,
        "grad_norm": 5,
        "grad_norms": [3, 4],
        "clipped_grad_norm": 2.5,
        "clipped_grad_norms": [1.5, 2],
        "learning_rate": 0.5,
        "finite": 1,
        "clip_rate": 1,
        "clip/global_norm/factor": 0.5,
    }.items():
        np.testing.assert_allclose(row[name], expected, rtol=1e-6)
    kernel, bias = state.model.get_weights()
    np.testing.assert_allclose(
        [kernel.item(), bias.item()], [3 - 0.5 * 1.5, 1 - 0.5 * 2], rtol=1e-6
    )
    assert int(state.step) == 1
    assert float(state.optimizer.learning_rate) == 0.5
    assert float(metrics[0].result()) == 2


def test_without_transforms_the_raw_norms_serve_twice():
    state, step_spec = line_run(chain([]), constant(0.5))
    graph = (
        tf.function(make_step(state, step_spec))
        .get_concrete_function(BATCH)
        .graph
    )
    reads = [op for op in graph.get_operations() if op.type == "L2Loss"]
    assert len(reads) == 2  # one for each parameter
    row, _ = make_step(state, step_spec)(BATCH)
    assert row["clipped_grad_norm"] == row["grad_norm"] == 5
    assert "clip_rate" not in row


def test_what_a_probe_sees():
    halving = Transform(
        lambda params: (),
        lambda grads, state, params: ([grad / 2 for grad in grads], state, {}),
    )
    state, step_spec = line_run(halving, constant(0.5))
    _, (step_outputs, loss) = make_step(
        state,
        step_spec,
        [
            Probe(tuple, None),
            Probe(lambda step_outputs: step_outputs.loss, None),
        ],
    )(BATCH)
    seen_loss, outputs, params, raw, grads, updates, names, activations = (
        step_outputs
    )
    assert seen_loss == loss == 4 and activations == {}
    assert names == ("000.dense/kernel", "000.dense/bias") or names[
        0
    ].startswith("000.dense_")
    for found, expected in [
        (params, [3, 1]),
        (raw, [3, 4]),
        (grads, [1.5, 2]),
        (updates, [-0.75, -1]),
    ]:
        assert [float(tf.squeeze(value)) for value in found] == expected
    assert float(tf.squeeze(outputs)) == 3.25


def test_transform_and_rate_go_on_from_their_state():
    growing = Transform(
        lambda params: tf.constant(1.0),
        lambda grads, state, params: (
            [grad * state for grad in grads],
            state + 1,
            {"factor": state},
        ),
    )
    doubling = Rate(
        lambda: tf.constant(0.25),
        lambda state, step, grad_norm: (state, state * 2),
    )
    state, step_spec = line_run(growing, doubling)
    step = tf.function(make_step(state, step_spec))
    rows = [step(BATCH)[0] for _ in range(3)]
    assert [float(row["factor"]) for row in rows] == [1, 2, 3]
    assert [float(row["learning_rate"]) for row in rows] == [0.25, 0.5, 1]


def test_the_rate_is_given_the_step_and_the_raw_norm():
    rate = Rate(
        lambda: (),
        lambda state, step, grad_norm: (
            tf.cast(step, tf.float32) + grad_norm / 8,
            state,
        ),
    )
    state, step_spec = line_run(
        chain([("global_norm", clip_global_norm(1.0))]), rate
    )
    state.step.assign(2)
    row, _ = make_step(state, step_spec)(BATCH)
    assert row["learning_rate"] == 2.625


@pytest.mark.parametrize("poison", ["x", "y"])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count(house, poison):
    counting = Transform(
        lambda params: tf.constant(0),
        lambda grads, state, params: (
            grads,
            state + 1,
            {"clipped": tf.constant(0.0)},
        ),
    )
    memory = Rate(
        lambda: tf.constant(0.0),
        lambda state, step, grad_norm: (0.1 + 0.0 * state, state + grad_norm),
    )
    metrics = [keras.metrics.MeanSquaredError()]
    run = house.small_run(counting, memory, metrics)
    step_spec = run.step_spec._replace(
        objective=KerasObjective(run.model, keras.losses.MeanSquaredError())
    )
    step = tf.function(make_step(run.state, step_spec))
    good = Batch(tf.random.stateless_normal([6, 4], [1, 2]), tf.zeros([6, 3]))
    step(good)
    before = house.everything(run.state)
    row, _ = step(good._replace(**{poison: getattr(good, poison) * np.nan}))
    after = house.everything(run.state)
    assert row["finite"] == 0 and np.isnan(row["loss"])
    assert (before.pop("step"), after.pop("step")) == (1, 2)
    house.assert_same(before, after)
    step(good)
    changed = house.everything(run.state)
    moved = [name for name in before if np.any(before[name] != changed[name])]
    assert {
        "model/004_moving_mean",
        "model/006_seed_generator_state",
        "transform/000",
        "rate/000",
    } <= set(moved)


def test_an_infinite_gradient_of_a_finite_loss_is_not_applied(house):
    run = house.small_run()
    endless = run.step_spec._replace(
        method=lambda *given: backprop()(*given)._replace(
            grads=[
                tf.fill(param.shape, np.inf) for param in run.objective.params
            ]
        )
    )
    weights = run.model.get_weights()
    row, _ = tf.function(make_step(run.state, endless))(
        house.classes_feed().batch(0, 0)
    )
    assert np.isfinite(row["loss"]) and row["finite"] == 0
    assert all(
        np.array_equal(old, new)
        for old, new in zip(weights, run.model.get_weights(), strict=True)
    )
