"""What users' own parts return, told as theirs, with the place, before the step is compiled."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.schedule import Segment
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.trainer.build import build_run
from tftrain.trainer.user_code import describe_result

HEAD = "model: {name: mlp, hidden: [4]}\ndata: {name: iris, batch_size: 30}\ntraining: {steps: 2}\n"
RATE = "optimizer: {{name: sgd, learning_rate: {}}}".format
CLIP = "optimizer: sgd\ngradients: {{clip: {{name: 'nonsense:clip', gives: {}}}}}".format
METHOD = "optimizer: sgd\ngradients: {{method: {{name: 'nonsense:method', gives: {}}}}}".format
RATE_AT, CLIP_AT = (
    "4:46: optimizer.learning_rate: ",
    "5:26: gradients.clip: nonsense:clip: ",
)
METHOD_AT = "5:28: gradients.method: nonsense:method: "
ONE = " where one number is expected"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            RATE("'nonsense:text'"),
            "4:39: optimizer.learning_rate: nonsense:text: gave the text 'fast'"
            + ONE,
        ),
        (
            RATE("'nonsense:vector'"),
            "4:39: optimizer.learning_rate: nonsense:vector: gave a float32 tensor of the shape [3]"
            + ONE,
        ),
        (
            RATE("{name: 'nonsense:what', give: none}"),
            RATE_AT + "nonsense:what: gave nothing (None)" + ONE,
        ),
        (
            RATE("{name: 'nonsense:rate', gives: number}"),
            RATE_AT + "nonsense:rate: its update gave 0.1; expected (rate",
        ),
        (
            RATE("{name: 'nonsense:rate', gives: vector}"),
            RATE_AT
            + "nonsense:rate: gave a float32 tensor of the shape [3] as the rate"
            + ONE,
        ),
        (
            RATE("{name: 'nonsense:rate', gives: state}"),
            RATE_AT
            + "nonsense:rate: its update gave the state a float32 tensor of the shape [3]; expected the form that "
            "init gives: a float32 tensor of the shape []",
        ),
        (
            RATE(
                "{name: warmup, steps: 2, then: {name: backoff, steps: 2, then: 'nonsense:text'}}"
            ),
            "4:102: optimizer.learning_rate.then.then: nonsense:text: gave the text 'fast'"
            + ONE,
        ),
        (
            RATE("{name: inverse_norm, then: 1, least: 3, most: 2}"),
            RATE_AT + "inverse_norm: least 3.0 is above most 2.0",
        ),
        (
            CLIP("number"),
            CLIP_AT + "its update gave 5; expected (grads, state, scalars)",
        ),
        (
            CLIP("grads"),
            CLIP_AT
            + "gave 5 as gradients; expected a list of 4, one for each parameter",
        ),
        (
            CLIP("words"),
            CLIP_AT
            + "gave the text 'a' as a gradient; expected a tensor for each parameter",
        ),
        (
            CLIP("state"),
            CLIP_AT
            + "its update gave the state ('an int32 tensor of the shape []', '1'); expected the form",
        ),
        (
            CLIP("scalars"),
            CLIP_AT
            + "its update gave 5 as scalars; expected a dict of numbers",
        ),
        (
            CLIP("scalar"),
            CLIP_AT
            + "gave a float32 tensor of the shape [3] as the scalar 'size'"
            + ONE,
        ),
        (
            CLIP("rate"),
            CLIP_AT
            + "gave the scalar 'rate', which is the share of steps that a clip changed",
        ),
        (
            CLIP("init"),
            CLIP_AT
            + "its init gave an object in its state; expected tensors, in tuples, lists or dicts",
        ),
        (
            CLIP("update"),
            CLIP_AT
            + "gave a Transform with 6 as its update; expected a function",
        ),
        (
            METHOD("none"),
            METHOD_AT
            + "its function gave nothing (None); expected an Evaluation(loss, grads, outputs)",
        ),
        (
            METHOD("few"),
            METHOD_AT
            + "gave gradients of the shapes (4, 4); expected (4, 4), (4,), (4, 3), (3,)",
        ),
        (
            METHOD("missing"),
            METHOD_AT
            + "gave nothing (None) as a gradient; expected a tensor for each parameter",
        ),
        (
            METHOD("vector"),
            METHOD_AT
            + "gave a float32 tensor of the shape [3] as the loss"
            + ONE,
        ),
        (
            "optimizer: sgd\ngradients: {method: {name: 'nonsense:what', give: five}}",
            "5:28: gradients.method: nonsense:what: gave 5; expected a function (objective, batch, carry) that gives",
        ),
        (
            "optimizer: sgd\nmetrics: {name: 'nonsense:score', gives: text}",
            "5:17: metrics: nonsense:score: gave the text 'good'; expected a number for each example, or one for all",
        ),
        (
            "optimizer: sgd\nmetrics: {name: 'nonsense:what', give: five}",
            "5:17: metrics: nonsense:what: gave 5; expected a keras.metrics.Metric",
        ),
        (
            "optimizer: sgd\nloss: {name: 'nonsense:score', gives: none}",
            "5:14: loss: nonsense:score: gave nothing (None); expected a number for each example, or one for all",
        ),
        (
            "optimizer: sgd\nloss: {name: 'nonsense:what', give: five}",
            "5:14: loss: nonsense:what: gave 5; expected a keras.losses.Loss",
        ),
    ],
)
def test_nonsense(desk, text, message):
    with pytest.raises(
        InputError, match=re.escape(f"config.yaml:{message}")
    ) as caught:
        build_run(desk.load(HEAD + text))
    assert "\n" not in str(caught.value)


def test_a_preprocessing_step(desk):
    text = "model: mlp\noptimizer: sgd\ndata: {name: iris, preprocess: {name: 'nonsense:what', give: five}}"
    with pytest.raises(
        InputError,
        match=r"3:39: data.preprocess: nonsense:what: gave 5; expected a Preprocess\(apply",
    ):
        build_run(desk.load(text))


def test_a_fault_is_told_by_the_user_s_own_lines(desk):
    with pytest.raises(
        UserCodeError, match="nonsense:raising raised ZeroDivisionError:"
    ):
        build_run(desk.load(HEAD + RATE("'nonsense:raising'")))
    with pytest.raises(UserCodeError) as caught:
        build_run(desk.load(HEAD + METHOD("raises")))
    head, *frames, last = str(caught.value).splitlines()
    assert (
        head
        == "config.yaml:5:28: gradients.method: nonsense:method raised ZeroDivisionError:"
    )
    assert last == "ZeroDivisionError: division by zero"
    assert re.fullmatch(
        r'Traceback .*\n  File ".*nonsense.py", line \d+, in evaluate\n    .*/ 0',
        "\n".join(frames),
    )


def test_a_fault_of_an_optimizer_is_not_blamed_on_the_model(desk):
    with pytest.raises(UserCodeError) as caught:
        build_run(desk.load(HEAD + "optimizer: 'nonsense:FailingOptimizer'\n"))
    head, *frames, last = str(caught.value).splitlines()
    assert head == (
        "config.yaml:4:12: optimizer: nonsense:FailingOptimizer raised RuntimeError:"
    )
    assert last == "RuntimeError: this update fails"
    assert any("in update_step" in frame for frame in frames)


def test_a_model_that_fails_in_the_graph_alone_is_told_without_the_way_into_it(
    desk,
):
    with pytest.raises(UserCodeError) as caught:
        build_run(
            desk.load(
                "model: 'nonsense:Choosing'\ndata: iris\noptimizer: sgd\n"
            )
        )
    assert "nonsense:Choosing raised OperatorNotAllowedInGraphError:" in str(
        caught.value
    )
    assert "nonsense.py" in str(caught.value) and "while_loop" not in str(
        caught.value
    )


@pytest.mark.parametrize("more", ["", "training: {precision: mixed_float16}\n"])
def test_a_method_that_is_right_is_tried_and_nothing_changes(desk, more):
    model = "{name: mlp, hidden: [4], dropout: 0.5, batch_norm: true}"
    text = f"model: {model}\ndata: {{name: iris, batch_size: 30}}\noptimizer: sgd\n{more}"
    own, plain = (
        build_run(desk.load(text + gradients))
        for gradients in (METHOD("good").partition("\n")[2], "")
    )
    for run in (own, plain):
        run.compiled_steps.run(run.data.train.serve(0, 2), [Segment(2)])
    for one, other in zip(
        own.state.model.variables, plain.state.model.variables, strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "nothing (None)"),
        (True, "True"),
        ("a" * 99, f"the text '{'a' * 60}'"),
        ([1, 2], "a list of 2"),
        (tf.IndexedSlices(tf.zeros([1, 2]), [0]), "a tf.IndexedSlices"),
        (tf.constant(["a"]), "a string tensor of the shape [1]"),
        (object(), "an object"),
    ],
)
def test_what_is_shown(found, words):
    assert describe_result(found) == words


DRAWING = HEAD.replace(
    "{name: mlp, hidden: [4]}",
    "{name: sequential, layers: ['gradients:Blended', {name: dense, units: 3}]}",
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DRAWING
            + METHOD("good").replace("nonsense:method", "nonsense:comparing"),
            "gradients.method: given nonsense:comparing, but the loss of a batch is",
        ),
        (
            HEAD + "optimizer: sgd\n"
            "gradients: {method: 'nonsense:comparing', remat: true}\n",
            "true does not go with the method nonsense:comparing, which has no backward",
        ),
    ],
)
def test_traits_of_a_method_count_for_a_user_s_own(desk, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        build_run(desk.load(text))


def test_a_method_without_traits_is_taken_for_back_propagation(desk):
    build_run(desk.load(DRAWING + METHOD("good")))
    build_run(
        desk.load(
            HEAD + "optimizer: sgd\ngradients:\n  remat: true\n"
            "  method: {name: 'nonsense:method', gives: good}\n"
        )
    )
