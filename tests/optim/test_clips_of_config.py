"""The clips of a config: which parameters each is for, and what a run tells of them."""

from __future__ import annotations

import json
import math

import pytest

import tftrain
from tftrain.core.schedule import Segment
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.trainer.build import build_run

SMALL = """
model: {name: mlp, hidden: [4]}
data: {name: iris, batch_size: full}
optimizer: {name: sgd, learning_rate: 0.1}
training: {steps: 6}
log: {scalars: 3, graph: false}
gradients:
  clip:
    - {name: "clips:shrink", by: 0.25, only: "hidden.*kernel"}
    - {name: global_norm, limit: 1e-3}
    - {name: global_norm, limit: 1, only: bias}
"""


@pytest.fixture(scope="module")
def points(own_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    (folder / "small.yaml").write_text(SMALL)
    tftrain.train(tftrain.load(folder / "small.yaml"), folder / "run")
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return {point["step"]: point for point in map(json.loads, lines)}


def of_stage(point, stage):
    return {
        name.rpartition("/")[2]: value
        for name, value in point.items()
        if name.startswith(f"clip/{stage}/")
    }


def test_a_users_own_clip_of_some_parameters(points):
    for step in (3, 6):
        told = of_stage(points[step], "shrink")
        assert told["norm_before"] == pytest.approx(
            points[step]["grad_norm/000.hidden_1/kernel"]
        )
        assert told["norm_after"] == pytest.approx(0.25 * told["norm_before"])
        expected = {"factor": 0.25, "rate": 1, "parameters": 1, "calls": step}
        assert {name: told[name] for name in expected} == expected
        assert told.keys() == {*expected, "norm_before", "norm_after"}


def test_each_stage_goes_on_where_the_one_before_ended(points):
    for point in (points[3], points[6]):
        others = [
            value
            for name, value in point.items()
            if name.startswith("grad_norm/") and "hidden_1/k" not in name
        ]
        first, second, third = (
            of_stage(point, name)
            for name in ("shrink", "global_norm", "global_norm_2")
        )
        assert second["norm_before"] == pytest.approx(
            math.hypot(first["norm_after"], *others)
        )
        assert second["norm_after"] == pytest.approx(1e-3) and second[
            "limit"
        ] == pytest.approx(1e-3)
        assert second["factor"] == pytest.approx(1e-3 / second["norm_before"])
        assert (
            third["norm_before"] == third["norm_after"] < 1e-3
        )  # of the biases alone
        assert (second["rate"], third["rate"], third["factor"]) == (1, 0, 1)
        assert point["clip_rate"] == 1 and point[
            "clipped_grad_norm"
        ] == pytest.approx(1e-3)
        assert "clip/global_norm/clipped" not in point


@pytest.fixture
def assembled(desk):
    """A small run with these clips, assembled."""

    def build(clips):
        return build_run(
            desk.load(
                f"model: mlp\ndata: iris\noptimizer: adam\ngradients: {{clip: {clips}}}\n"
            )
        )

    return build


def test_layers_are_those_of_the_parameters_it_is_limited_to(assembled):
    run = assembled("{name: layer_norm, limit: 1e-9, only: kernel}")
    rows = run.compiled_steps.run(run.data.train.serve(0, 1), [Segment(1)]).rows
    before, after = rows["grad_norms"][0], rows["clipped_grad_norms"][0]
    assert after[0::2] == pytest.approx(1e-9) and list(after[1::2]) == list(
        before[1::2]
    )


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (
            "{name: norm, limit: 1, only: conv}",
            "config.yaml:4:26: gradients.clip.only: given 'conv', which is in no parameter's name; the names are "
            "000.hidden_1/kernel, 000.hidden_1/bias, 001.hidden_2/kernel, ",
        ),
        (
            "'clips:forgetful'",
            r"4:19: gradients.clip: clips:forgetful: gave nothing \(None\); expected a Transform\(init",
        ),
        (
            "'clips:short'",
            r"clips:short: its update gave a tuple of 2; expected \(grads, state, scalars\)",
        ),
        (
            "{name: 'clips:losing', only: hidden_1}",
            r"clips:losing: gave gradients of the shapes \(4, 128\); expected \(4, 128\), \(128,\)",
        ),
    ],
)
def test_what_only_shows_when_it_is_built(assembled, clip, message):
    with pytest.raises(InputError, match=message):
        assembled(clip)


@pytest.mark.parametrize(
    ("clips", "place"),
    [
        (
            "[{name: value, limit: 1}, {name: norm, limit: 1, only: conv}]",
            "4:52: gradients.clip.1.only: given 'conv'",
        ),
        (
            "[{name: norm, limit: 1, only: conv}]",
            "gradients.clip.0.only: given 'conv'",
        ),
        (
            "[{name: value, limit: 1}, 'clips:short']",
            "gradients.clip.1: clips:short: its update gave a tuple of 2",
        ),
    ],
)
def test_which_clip_of_a_list_it_is(assembled, clips, place):
    with pytest.raises(InputError, match=place):
        assembled(clips)


GROUPS = "{name: sgd, groups: [{only: hidden_1, frozen: true}, {only: 001, rate: 0}]}"


def test_patterns_mean_the_same_layers_in_clips_and_in_groups(desk):
    text = desk.good.replace("optimizer: adam", f"optimizer: {GROUPS}")
    run = build_run(
        desk.load(
            f"{text}gradients: {{clip: {{name: global_norm, limit: 1e-9, only: 001}}}}\n"
        )
    )
    rows = run.compiled_steps.run(run.data.train.serve(0, 1), [Segment(1)]).rows
    assert [share.rate for share in run.step_spec.shares] == [
        0,
        0,
        1,
        1,
    ]  # of hidden_2 and of the output
    assert list(rows["clipped_grad_norms"][0, :2] < 1e-8) == [True, True]
    assert list(rows["clipped_grad_norms"][0, 2:]) == list(
        rows["grad_norms"][0, 2:]
    )


def test_a_pattern_that_is_only_in_names_of_frozen_parameters(desk):
    text = desk.good.replace("optimizer: adam", f"optimizer: {GROUPS}")
    with pytest.raises(
        InputError,
        match=r"gradients.clip.only: given 'hidden_1', which is only in names of frozen parameters "
        r"\(000.hidden_1/kernel, 000.hidden_1/bias\); those that are trained are 001.hidden_2/kernel, ",
    ):
        build_run(
            desk.load(
                f"{text}gradients: {{clip: {{name: norm, limit: 1, only: hidden_1}}}}\n"
            )
        )


def test_a_fault_in_a_users_clip_is_told_as_the_clips(assembled):
    with pytest.raises(
        UserCodeError,
        match="(?s)gradients.clip: clips:raising raised ZeroDivisionError:.*len.state",
    ):
        assembled("'clips:raising'")


def test_a_clip_that_takes_no_sparse_gradients_is_told_as_the_clip(desk):
    layers = "[{name: embedding, input_dim: 9, output_dim: 2}, flatten, {name: dense, units: 3}]"
    text = f"model: {{name: sequential, layers: {layers}}}\ndata: {{name: 'tokens:late', batch_size: 4}}\n"
    with pytest.raises(
        UserCodeError,
        match="(?s)4:19: gradients.clip: clips:choosy raised TypeError:.*IndexedSlices",
    ):
        build_run(
            desk.load(
                f"{text}optimizer: sgd\ngradients: {{clip: 'clips:choosy'}}\n"
            )
        )


def test_an_argument_of_its_own_called_only_is_no_pattern(assembled):
    run = assembled("{name: 'clips:choosy', only: 4}")
    rows = run.compiled_steps.run(run.data.train.serve(0, 1), [Segment(1)]).rows
    assert rows["clip/choosy/factor"][0] == 0.25
