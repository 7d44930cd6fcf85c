import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.callback import LambdaCallback
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.loop import _step_kinds, train
from tftrain.core.schedule import MEASURED, NextEvent, Schedule, Segment, every
from tftrain.core.timing import PhaseTimer
from tftrain.core.types import LogData, NotFinite, Probe, Stop


def raw_sizes():
    """A probe that looks at all of a step, so that nothing of it can be pruned from the graph."""

    def measure(step_outputs):
        activations = [
            activation.values
            for activation in step_outputs.activations.values()
        ]
        assert len(activations) == 1
        seen = [
            *step_outputs.params,
            *step_outputs.raw,
            *step_outputs.grads,
            *step_outputs.updates,
            *activations,
        ]
        return {
            "size": tf.add_n([tf.reduce_sum(tf.abs(tensor)) for tensor in seen])
        }

    return Probe(
        measure,
        lambda measured: LogData(scalars={"size": float(measured["size"])}),
    )


def run_train(run, feed, compiled_steps=None, clock=None, **plan):
    """Train, and gather everything that the sinks were told."""
    told = {"signals": [], "calls": [], "saves": []}
    callback = LambdaCallback(
        needs_each_point=True,
        on_log=lambda step, signals: told["signals"].append((step, signals)),
        on_call_end=lambda step, row: told["calls"].append((step, row)),
        on_checkpoint=told["saves"].append,
    )
    compiled_steps = compiled_steps or CompiledSteps(
        run.state, run.step_spec, feed, [raw_sizes()] * ("histograms" in plan)
    )
    more = {"clock": clock} if clock else {}
    plan = Schedule(**{"scalars": every(10), "steps_per_call": 1000} | plan)
    told["reason"] = train(
        compiled_steps, run.state, feed, plan, [callback], **more
    )
    return told


# The two programs


def test_any_chunking_gives_the_same_bits(house):
    ends, losses = [], []
    for pieces in ([12], [1] * 12, [5, 4, 3], [-1] * 12, [3, -1, 2, -1, 5]):
        run, feed = house.small_run(), house.classes_feed()
        compiled_steps = CompiledSteps(
            run.state, run.step_spec, feed, [raw_sizes()]
        )
        seen, step = [], 0
        for piece in pieces:  # -1 is a measured step
            handle = feed.serve(step, abs(piece))
            if piece < 0:
                seen.extend(
                    compiled_steps.run(handle, [Segment(1, MEASURED)]).rows[
                        "loss"
                    ]
                )
            else:
                seen.extend(
                    compiled_steps.run(handle, [Segment(piece)]).rows["loss"]
                )
            step += abs(piece)
        # A point forgets what the metrics counted, and -1 is a point.
        end = house.everything(run.state).items()
        ends.append(
            {
                name: value
                for name, value in end
                if not name.startswith("metrics/")
            }
        )
        losses.append(np.array(seen))
        assert compiled_steps.call.experimental_get_tracing_count() == 1
    for end, loss in zip(ends[1:], losses[1:], strict=True):
        house.assert_same(ends[0], end)
        assert loss.tobytes() == losses[0].tobytes()


def test_rows_have_a_line_for_each_step(house):
    run, feed = house.small_run(), house.classes_feed()
    rows = (
        CompiledSteps(run.state, run.step_spec, feed)
        .run(feed.serve(0, 3), [Segment(3)])
        .rows
    )
    parameters = len(run.model.trainable_variables)
    assert rows["loss"].shape == rows["clip/global_norm/factor"].shape == (3,)
    assert rows["grad_norms"].shape == (3, parameters)
    np.testing.assert_allclose(
        tf.norm(rows["grad_norms"], axis=1), rows["grad_norm"], rtol=1e-6
    )
    assert len(set(rows["loss"])) == 3


def test_metrics_that_build_themselves_are_built_before_the_first_step(house):
    run, feed = (
        house.small_run(metrics=[keras.metrics.MeanSquaredError()]),
        house.classes_feed(),
    )
    feed.y = tf.one_hot(feed.y, 3)
    late = keras.metrics.F1Score(name="f1")
    run.state.metrics = (late,)
    objective = run.step_spec.objective
    objective.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert not late.variables
    compiled_steps = CompiledSteps(
        run.state, run.step_spec._replace(metrics=[late]), feed
    )
    assert [
        name
        for name in run.state.variables_by_name()
        if name.startswith("metrics/")
    ]
    compiled_steps.run(feed.serve(0, 4), [Segment(4)])
    assert 0 < float(np.mean(late.result())) <= 1


# The host loop


def test_signals_come_at_due_steps_with_views_and_histograms_merged(house):
    run, feed = house.small_run(), house.classes_feed()
    views = ((every(5), lambda step: LogData({"val_loss": step / 10})),)
    compiled_steps = CompiledSteps(
        run.state, run.step_spec, feed, [raw_sizes()]
    )
    told = run_train(
        run,
        feed,
        compiled_steps,
        total_steps=13,
        scalars=every(4),
        histograms=every(6),
        views=views,
    )
    assert told["reason"] is None
    at = {step: signals.scalars for step, signals in told["signals"]}
    assert list(at) == [4, 5, 6, 8, 10, 12, 13]
    assert [step for step, scalars in at.items() if "loss" in scalars] == [
        4,
        6,
        8,
        12,
        13,
    ]
    assert [step for step, scalars in at.items() if "size" in scalars] == [
        6,
        12,
        13,
    ]
    assert [step for step, scalars in at.items() if "val_loss" in scalars] == [
        5,
        10,
        13,
    ]
    assert at[12]["epoch"] == 1.2 and 0 <= at[12]["accuracy"] <= 1
    assert {"grad_norm/" + name for name in ("000", "001")} <= {
        key[:13] for key in at[4]
    }
    assert int(run.state.step) == 13
    assert compiled_steps.call.experimental_get_tracing_count() == 1


def test_a_point_is_the_mean_of_all_its_steps(house):
    one, feed = house.small_run(), house.classes_feed()
    losses = (
        CompiledSteps(one.state, one.step_spec, feed)
        .run(feed.serve(0, 12), [Segment(12)])
        .rows["loss"]
    )
    other = house.small_run()
    told = run_train(
        other,
        feed,
        total_steps=12,
        scalars=every(6),
        histograms=every(4),
        steps_per_call=2,
    )
    points = {
        step: signals.scalars["loss"] for step, signals in told["signals"]
    }
    means = {
        4: losses[:4].mean(),
        6: losses[4:6].mean(),
        8: losses[6:8].mean(),
        12: losses[8:].mean(),
    }
    assert list(points) == list(means)
    np.testing.assert_allclose(
        list(points.values()), list(means.values()), rtol=1e-6
    )  # float64 against float32


def test_calls_are_no_longer_than_feed_plan_and_pace_allow(house):
    run, feed = house.small_run(), house.classes_feed(longest=5)
    told = run_train(
        run, feed, total_steps=12, scalars=every(8), histograms=every(8)
    )
    assert feed.served == [(0, 1), (1, 5), (6, 2), (8, 4)]
    assert [step for step, _ in told["calls"]] == [1, 6, 8, 12]
    assert told["calls"][0][1]["loss"].shape == ()
    again, feed = house.small_run(), house.classes_feed()
    run_train(again, feed, total_steps=7, steps_per_call=3)
    assert feed.served == [(0, 1), (1, 3), (4, 3)]


def test_auto_pace_doubles_while_quick_and_halves_when_slow(house):
    times = iter(
        np.cumsum([0, 0.1, 0, 0.1, 0, 0.1, 0, 0.3, 0, 0.6, 0, 0.1, 0, 0.1])
    )
    run, feed = house.small_run(), house.classes_feed()
    told = run_train(
        run,
        feed,
        clock=lambda: next(times),
        total_steps=30,
        scalars=every(30),
        steps_per_call="auto",
    )
    assert [count for _, count in feed.served] == [1, 2, 4, 8, 8, 4, 3]
    assert told["signals"][0][1].scalars["step_ms"] == pytest.approx(1400 / 30)


def test_a_run_goes_on_from_the_step_of_its_state(house):
    whole, feed = house.small_run(), house.classes_feed()
    run_train(whole, feed, total_steps=9, scalars=every(3))
    halved = house.small_run()
    compiled_steps = CompiledSteps(
        halved.state, halved.step_spec, feed, [raw_sizes()]
    )
    run_train(halved, feed, compiled_steps, total_steps=6, scalars=every(3))
    told = run_train(
        halved, feed, compiled_steps, total_steps=9, scalars=every(3)
    )
    assert [step for step, _ in told["signals"]] == [9]
    house.assert_same(
        house.everything(whole.state), house.everything(halved.state)
    )
    assert run_train(halved, feed, compiled_steps, total_steps=9)["calls"] == []


def test_checkpoints_come_after_the_observers(house):
    run, feed = house.small_run(), house.classes_feed()
    order = []
    callback = LambdaCallback(
        needs_each_point=True,
        on_log=lambda step, signals: order.append(("seen", step)),
        on_checkpoint=lambda step: order.append(("saved", step)),
    )
    plan = Schedule(7, every(6), checkpoints=every(3))
    train(
        CompiledSteps(run.state, run.step_spec, feed),
        run.state,
        feed,
        plan,
        [callback],
    )
    assert order == [("saved", 3), ("seen", 6), ("saved", 6), ("seen", 7)]


def test_an_observer_can_stop_the_run_and_the_others_still_see_the_step(house):
    run, feed, seen = house.small_run(), house.classes_feed(), []

    def impatient(step, signals):
        if step == 4:
            raise Stop("no better since step 2")

    callbacks = [
        LambdaCallback(needs_each_point=True, on_log=impatient),
        LambdaCallback(
            on_log=lambda step, signals: seen.append(step),
            on_checkpoint=lambda step: seen.append(-step),
        ),
    ]
    plan = Schedule(10, every(2), checkpoints=every(4))
    reason = train(
        CompiledSteps(run.state, run.step_spec, feed),
        run.state,
        feed,
        plan,
        callbacks,
    )
    assert str(reason) == "no better since step 2" and not isinstance(
        reason, NotFinite
    )
    assert seen == [2, 4, -4]
    assert int(run.state.step) == 4


def test_stop_at_a_step_that_is_not_finite(house):
    run, feed = house.small_run(), house.classes_feed(poisoned=[4])
    told = run_train(
        run, feed, total_steps=10, scalars=every(3), steps_per_call=2
    )
    assert isinstance(told["reason"], NotFinite)
    what, _, where = str(told["reason"]).partition(" (")
    assert (
        what
        == "the loss or a gradient was not finite at step 4; that update was not applied"
    )
    assert where.startswith("loss nan, gradients not finite in 000.dense")
    assert where.endswith(", 1 more)")
    assert [step for step, _ in told["signals"]] == [
        3,
        4,
    ]  # the call of two steps ends with its first
    assert told["signals"][-1][1].scalars["nonfinite_steps"] == 1
    assert all(np.isfinite(weight).all() for weight in run.model.get_weights())


def test_stop_at_a_measured_step_shows_its_histograms(house):
    run, feed = house.small_run(), house.classes_feed(poisoned=[4])
    told = run_train(
        run, feed, total_steps=10, scalars=every(10), histograms=every(4)
    )
    ((step, signals),) = told["signals"]
    assert step == 4 and {"size", "loss"} <= set(signals.scalars)


def test_skip_what_is_not_finite(house):
    run, feed = house.small_run(), house.classes_feed(poisoned=[4, 7])
    told = run_train(run, feed, total_steps=10, on_bad_step="skip")
    assert told["reason"] is None
    ((_, signals),) = told["signals"]
    assert signals.scalars["nonfinite_steps"] == 2 and np.isfinite(
        signals.scalars["loss"]
    )
    assert int(run.state.optimizer.iterations) == 8


@pytest.mark.parametrize("on_bad_step", ["stop", "skip"])
def test_trouble_is_told_before_anything_is_done_about_it(house, on_bad_step):
    run, feed, order = house.small_run(), house.classes_feed(poisoned=[4]), []
    good = house.small_run()
    train(
        CompiledSteps(good.state, good.step_spec, feed),
        good.state,
        feed,
        Schedule(3, every(3)),
    )

    def on_trouble(trouble):
        order.append(("trouble", trouble.step))
        then, now = house.everything(good.state), house.everything(run.state)
        assert (
            trouble.kind,
            len(trouble.rows["loss"]),
            now.pop("step"),
            then.pop("step"),
        ) == ("loss", 4, 4, 3)
        trained = [name for name in now if not name.startswith("metrics/")]
        house.assert_same(
            {name: then[name] for name in trained},
            {name: now[name] for name in trained},
        )

    callback = LambdaCallback(
        needs_each_point=True,
        on_log=lambda step, signals: order.append(("seen", step)),
        on_bad_step=on_trouble,
    )
    plan = Schedule(6, every(2), on_bad_step=on_bad_step)
    train(
        CompiledSteps(run.state, run.step_spec, feed),
        run.state,
        feed,
        plan,
        [callback],
    )
    assert order[:3] == [("seen", 2), ("trouble", 4), ("seen", 4)]
    assert order[3:] == ([("seen", 6)] if on_bad_step == "skip" else [])


def test_ctrl_c_between_calls_leaves_whole_steps(house):
    run, feed = house.small_run(), house.classes_feed()

    def interrupt(step, row):
        if step >= 3:
            raise KeyboardInterrupt

    compiled_steps = CompiledSteps(run.state, run.step_spec, feed)
    with pytest.raises(KeyboardInterrupt):
        train(
            compiled_steps,
            run.state,
            feed,
            Schedule(10, every(10), steps_per_call=2),
            [LambdaCallback(on_call_end=interrupt)],
        )
    assert int(run.state.step) == int(run.state.optimizer.iterations) == 3


def test_where_the_time_goes(house):
    run, feed = house.small_run(), house.classes_feed()
    feed.prepared = False
    now = [0.0]
    ledger = PhaseTimer(lambda: now[0])

    def passing(seconds):
        def work(*_):
            now[0] += seconds
            return LogData()

        return work

    callbacks = [
        LambdaCallback(on_call_end=passing(10), on_points=passing(1000)),
        LambdaCallback(
            phase="checkpoints",
            needs_each_point=True,
            on_log=passing(1),
            on_checkpoint=passing(100),
        ),
    ]
    plan = Schedule(
        4,
        every(2),
        every(4),
        ((every(4), passing(10000)),),
        every(2),
        steps_per_call=2,
    )
    train(
        CompiledSteps(run.state, run.step_spec, feed, [raw_sizes()]),
        run.state,
        feed,
        plan,
        callbacks,
        timer=ledger,
    )
    # Three calls; the first, of one step, is set up. That its graph has a clock of its own does not matter here.
    spent = ledger.seconds_by_phase()
    assert {
        kind: spent[kind] for kind in ("checkpoints", "writing", "validation")
    } == {
        "checkpoints": 2 * (1 + 100),
        "writing": 3 * (10 + 1000),
        "validation": 10000,
    }


def test_xla_compiles_both_kinds_of_step_for_whole_and_for_short_batches():
    compiled_steps, feed = (
        SimpleNamespace(compiled=True),
        SimpleNamespace(steps_per_epoch=4),
    )
    due = NextEvent(0, False, False, (), False)

    def needs(step, *stretches):
        return _step_kinds(
            compiled_steps,
            feed,
            [(Segment(*one), due) for one in stretches],
            step,
        )

    whole, short = (False, False), (True, False)
    assert (
        needs(0, (3,)) == {whole}
        and needs(3, (1,)) == {short}
        and needs(3, (2,)) == {whole, short}
    )
    # Of a call that goes on to a short batch behind a measured step only the whole batch was measured.
    assert needs(0, (2, MEASURED), (4,)) == {whole, (False, True), short}
    assert needs(0, (1, MEASURED)) == {(False, True)}
    assert needs(2, (2, MEASURED)) == {whole, (True, True)}


def test_batches_that_are_made_and_steps_that_are_measured_tell_how_long_they_take(
    house,
):
    run, feed = house.small_run(), house.classes_feed()
    compiled_steps = CompiledSteps(
        run.state, run.step_spec, feed, [raw_sizes()]
    )
    assert compiled_steps.run(feed.serve(0, 2), [Segment(2)]).input == 0
    feed.prepared, make = False, feed.batch

    def slow(handle, index):
        batch = make(handle, index)
        wait = tf.py_function(
            lambda x: (time.sleep(0.05), x)[1], [batch.x], tf.float32
        )
        return batch._replace(x=tf.ensure_shape(wait, batch.x.shape))

    feed.batch = slow
    found = CompiledSteps(run.state, run.step_spec, feed, [raw_sizes()]).run(
        feed.serve(0, 3), [Segment(3, MEASURED)]
    )
    assert 0.15 < found.input < 1 and 0 < found.measuring < 0.05 + found.input
    assert set(found.rows) == set(
        compiled_steps.run(feed.serve(0, 2), [Segment(2)]).rows
    )
