import json

import keras
import numpy as np
import pytest

from tftrain.core.metric_aggregator import MetricAggregator


def rows(**values):
    steps = len(values["loss"])
    given = {
        "grad_norm": [1.0] * steps,
        "finite": [1.0] * steps,
        "grad_norms": [[1.0, 2.0]] * steps,
    } | values
    given.setdefault("clipped_grad_norms", given["grad_norms"])
    return {name: np.array(value, np.float32) for name, value in given.items()}


def window(metrics=()):
    return MetricAggregator(["a", "b"], metrics, steps_per_epoch=4)


def test_two_calls_into_one_point():
    accuracy = keras.metrics.Mean(name="accuracy")
    both = window([accuracy])
    accuracy.update_state([0.5, 1.0])
    both.add(
        rows(
            loss=[4, 2],
            grad_norm=[9, 1],
            clipped_grad_norm=[5, 1],
            learning_rate=[0.5, 0.25],
            clip_rate=[1, 0],
            **{
                "clip/global_norm/factor": [0.5, 1],
                "clip/global_norm/clipped": [1, 0],
            },
        ),
        seconds=0.5,
    )
    both.add(
        rows(
            loss=[6],
            grad_norm=[8],
            clipped_grad_norm=[4],
            learning_rate=[0.125],
            clip_rate=[1],
            grad_norms=[[3, 4]],
            clipped_grad_norms=[[1.5, 2]],
            **{
                "clip/global_norm/factor": [0.25],
                "clip/global_norm/clipped": [0],
            },
        ),
        seconds=1.5,
    )
    point = both.flush(6)
    assert point.scalars == {
        "loss": 4,
        "accuracy": 0.75,
        "learning_rate": 0.125,
        "grad_norm": 8,
        "grad_norm_max": 9,
        "clipped_grad_norm": 4,
        "clip_rate": np.mean(np.float32([1, 0, 1])),
        "clip/global_norm/factor": 0.25,
        "clip/global_norm/rate": np.mean(np.float32([1, 0, 0])),
        "nonfinite_steps": 0,
        "step_ms": pytest.approx(2000 / 3),
        "epoch": 1.5,
        "grad_norm/a": 3,
        "grad_norm/b": 4,
        "clipped_grad_norm/a": 1.5,
        "clipped_grad_norm/b": 2,
        "grad_share/a": 0.36,
        "grad_share/b": 0.64,
    }


def test_the_depth_ratio_of_the_last_step_in_models_that_have_one():
    deep = MetricAggregator(
        ["a", "b"], (), steps_per_epoch=4, hidden_ends=(0, 1)
    )
    deep.add(rows(loss=[1, 1], grad_norms=[[1, 1], [0.1, 10]]), 1.0)
    assert deep.flush(2).scalars["depth_ratio"] == pytest.approx(1e-2)
    deep.add(rows(loss=[1], grad_norms=[[0, 0]]), 1.0)
    scalars = deep.flush(3).scalars
    assert all(
        np.isnan(scalars[name])
        for name in ("depth_ratio", "grad_share/a", "grad_share/b")
    )


def test_each_point_starts_anew():
    accuracy = keras.metrics.Mean(name="accuracy")
    points = window([accuracy])
    for value in (1.0, 3.0):
        accuracy.update_state(value)
        points.add(rows(loss=[value], grad_norm=[value]), 1.0)
        scalars = points.flush(1).scalars
        assert (
            scalars["loss"]
            == scalars["accuracy"]
            == scalars["grad_norm_max"]
            == value
        )


def test_steps_that_are_not_finite_are_counted_and_left_out_of_the_mean():
    one = window()
    one.add(
        rows(
            loss=[1, np.nan, np.inf, 3],
            finite=[1, 0, 0, 0],
            grad_norm=[2, np.nan, 4, 1],
        ),
        1.0,
    )
    scalars = one.flush(4).scalars
    assert (
        scalars["loss"],
        scalars["nonfinite_steps"],
        scalars["grad_norm_max"],
    ) == (
        2,
        3,
        4,
    )


def test_nothing_finite():
    accuracy = keras.metrics.Mean(name="accuracy")
    one = window([accuracy])
    one.add(rows(loss=[np.nan], finite=[0], grad_norm=[np.nan]), 1.0)
    scalars = one.flush(1).scalars
    assert all(
        np.isnan(scalars[name])
        for name in ("loss", "accuracy", "grad_norm_max")
    )


def test_metrics_that_are_given_are_not_asked():
    one = window([keras.metrics.Mean(name="accuracy")])
    one.add(rows(loss=[1]), 1.0)
    assert one.flush(1, {"mine": 0.25}).scalars["mine"] == 0.25
    one.add(rows(loss=[np.nan], finite=[0]), 1.0)
    scalars = one.flush(2, {"mine": 0.25}).scalars
    assert np.isnan(scalars["mine"])
    assert "accuracy" not in scalars


def test_many_points_of_one_call_are_those_of_its_slices():
    """The same numbers to the bit but for the time, which is split evenly and rounds."""
    random = np.random.default_rng(0)
    finite = random.random(23) > 0.2
    call = rows(
        loss=np.where(finite, random.random(23), np.nan),
        finite=finite,
        grad_norm=random.random(23),
        clipped_grad_norm=random.random(23),
        clip_rate=random.random(23) > 0.5,
        grad_norms=random.random((23, 2)),
        clipped_grad_norms=random.random((23, 2)),
        **{"clip/global_norm/clipped": random.random(23) > 0.5},
    )
    steps, last_step = [104, 105, 113, 119], 123
    metrics = [{"accuracy": step / 200} for step in steps]
    together, sliced = window(), window()
    for one in (together, sliced):
        one.add(
            {name: column[:2] for name, column in call.items()}, 1.0
        )  # left over from the call before
    found = together.aggregate(call, 2.3, steps, last_step, metrics)
    start = 0
    for step, values, (found_step, signals) in zip(
        steps, metrics, found, strict=True
    ):
        stop = step - 100
        sliced.add(
            {name: column[start:stop] for name, column in call.items()},
            0.1 * (stop - start),
        )
        expected = sliced.flush(step, values).scalars
        assert found_step == step
        assert list(signals.scalars) == list(expected)
        np.testing.assert_allclose(
            [*signals.scalars.values()], [*expected.values()], rtol=1e-12
        )
        start = stop
    sliced.add({name: column[19:] for name, column in call.items()}, 0.4)
    left = sliced.flush(123, {}).scalars
    assert together.flush(123, {}).scalars == left | {
        "step_ms": pytest.approx(100)
    }


def test_the_last_vectors_are_kept_from_a_call_without_a_point():
    one = window()
    assert (
        one.aggregate(
            rows(loss=[1, 2], grad_norms=[[1, 2], [3, 4]]), 1.0, [], 2, []
        )
        == []
    )
    assert one.flush(2).scalars["grad_norm/b"] == 4


def test_what_waits_is_remembered_to_the_bit_and_nothing_else():
    one, other = window(), window()
    part = rows(loss=[0.1, 0.7], grad_norms=[[3, 4], [0.3, 0.4]])
    one.add(part, seconds=1.0)
    other.restore(json.loads(json.dumps(one.state())))
    more = rows(loss=[0.2])
    for each in (one, other):
        each.add(more, seconds=0.5)
    assert one.flush(3, {}).scalars == other.flush(3, {}).scalars
    # How the steps before a point were cut into calls has left no trace.
    assert one.state() == window().state()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_what_waits_is_remembered_to_the_bit(cut):
    values = np.random.default_rng(0).lognormal(size=(2, 4)).astype(np.float32)
    given = rows(loss=values[0], grad_norm=values[1], finite=[1, 0, 1, 1])
    whole, first, second = window(), window(), window()
    whole.add(given, 4.0)
    first.add(
        {name: column[:cut] for name, column in given.items()}, float(cut)
    )
    second.restore(json.loads(json.dumps(first.state())))
    second.add(
        {name: column[cut:] for name, column in given.items()}, 4.0 - cut
    )
    assert second.flush(4).scalars == whole.flush(4).scalars
    second.restore(json.loads(json.dumps(second.state())))
    assert second.state()["waiting"] == {}
