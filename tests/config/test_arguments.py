from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from tftrain.config import arguments, field_types
from tftrain.config.conversion import fits
from tftrain.config.registry import COMPONENT_KINDS, find, names_of_kind
from tftrain.config.signature import REQUIRED
from tftrain.runtime.errors import ImportPathError


def hint(kind, target, name):
    return arguments.arguments_of(kind, target).given[name].hint


@pytest.mark.parametrize(
    ("kind", "target", "name", "expected"),
    [
        (
            "optimizer",
            "keras.optimizers:Adam",
            "learning_rate",
            field_types.LearningRate,
        ),
        ("optimizer", "keras.optimizers:Adam", "amsgrad", bool),
        ("optimizer", "keras.optimizers:SGD", "momentum", field_types.Fraction),
        (
            "schedule",
            "keras.optimizers.schedules:CosineDecay",
            "decay_steps",
            field_types.Duration,
        ),
        (
            "loss",
            "keras.losses:BinaryCrossentropy",
            "from_logits",
            field_types.FromLogits,
        ),
        ("layer", "keras.layers:Dense", "units", field_types.PositiveInt),
        (
            "picture",
            "tftrain.reporting.plots.decision_map:decision_map",
            "resolution",
            Annotated[int, field_types.Range(2, 1000)],
        ),
        (
            "clip",
            "tftrain.optim.clipping:clip_percentile",
            "percent",
            Annotated[float, field_types.Range(0, 100)],
        ),
        (
            "data",
            "tftrain.data.datasets.synthetic:blobs",
            "examples",
            Annotated[int, field_types.Range(4)],
        ),
        (
            "model",
            "mine:bounded",
            "share",
            Annotated[float, field_types.Range(-1, 1, above=True)],
        ),
        ("model", "mine:bounded", "called", float),
        (
            "layer",
            "keras.layers:Dense",
            "activation",
            field_types.Activation | None,
        ),
        (
            "layer",
            "keras.layers:Dense",
            "kernel_regularizer",
            field_types.Regularizer | None,
        ),
        ("activation", "keras.activations:leaky_relu", "negative_slope", float),
        ("model", "mine:typed", "activation", field_types.Activation | None),
        ("model", "mine:typed", "guessed", float),
        ("model", "mine:typed", "anything", Any),
        ("model", "mine:typed", "mode", Literal["soft", "hard"]),
        (
            "optimizer",
            "optimizers:falling",
            "learning_rate",
            float | field_types.Schedule,
        ),
        (
            "layer",
            "keras.layers:Bidirectional",
            "backward_layer",
            field_types.Layer | None,
        ),
        (
            "layer",
            "keras.layers:LayerNormalization",
            "axis",
            int | list[int] | None,
        ),
        ("layer", "keras.layers:Conv1D", "dilation_rate", int | list[int]),
        (
            "layer",
            "keras.layers:RNN",
            "cell",
            field_types.Layer | list[field_types.Layer],
        ),
    ],
)
def test_the_best_annotation_there_is(own_parts, kind, target, name, expected):
    assert hint(kind, target, name) == expected


def test_what_the_house_gives_is_not_the_config_s(own_parts):
    found = arguments.arguments_of("model", "mine:typed")
    assert found.house == ("input_shape", "classes", "outputs")
    assert not set(found.house) & set(found.given) and "more" not in found.given


def test_a_house_name_that_is_not_keyword_only_is_the_config_s(own_parts):
    assert "classes" in arguments.arguments_of("metric", "pack.inner:Net").given


@pytest.mark.parametrize(
    "name",
    [
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
        "use_ema",
        "loss_scale_factor",
    ],
)
def test_what_the_optimizer_may_not_do_is_refused(name):
    found = arguments.arguments_of("optimizer", "keras.optimizers:Adam")
    assert name in found.refused and name not in found.given


def test_what_keras_leaves_to_the_house_is_not_shown():
    assert not {"name", "dtype", "kwargs"} & set(
        arguments.arguments_of("optimizer", "keras.optimizers:Adam").given
    )


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [("count", None, 3), ("size", 0.5, 3), ("share", 1, 0.5)],
)
def test_a_default_fits_whatever_its_annotation_says(
    own_parts, name, default, other
):
    found = arguments.arguments_of("model", "mine:odd_defaults").given[name]
    assert (
        found.default == default
        and fits(default, found.hint)
        and fits(other, found.hint)
    )
    assert not fits("x", found.hint)


def test_the_first_argument_of_an_activation_is_not_the_config_s(own_parts):
    assert list(
        arguments.arguments_of("activation", "mine:decorated").given
    ) == ["slope"]
    assert list(
        arguments.arguments_of(
            "activation", "keras.activations:leaky_relu"
        ).given
    ) == ["negative_slope"]


def test_a_function_of_targets_and_outputs_is_a_loss_or_a_metric(own_parts):
    assert arguments.takes_targets("mine:loss") and not arguments.takes_targets(
        "mine:typed"
    )
    assert list(arguments.arguments_of("loss", "mine:loss").given) == ["power"]
    assert list(arguments.arguments_of("metric", "mine:loss").given) == [
        "power",
        "weighted",
    ]


def test_a_target_that_leads_nowhere():
    with pytest.raises(ImportPathError):
        arguments.arguments_of("model", "no_such_module_at_all:Net")


def test_an_argument_without_default_is_required():
    assert (
        arguments.arguments_of("layer", "keras.layers:Dense")
        .given["units"]
        .default
        is REQUIRED
    )


def test_an_option_of_the_kind_is_given_beside_the_arguments(own_parts):
    found = arguments.arguments_of(
        "clip", "tftrain.optim.clipping:clip_layer_norm"
    )
    assert list(found.given) == ["limit", "only"]
    assert (found.house, found.options) == (("names",), ("only",))
    assert arguments.arguments_of("clip", "mine:decorated").options == ("only",)


def test_an_argument_of_the_name_of_an_option_is_the_part_s_own(own_parts):
    found = arguments.arguments_of("clip", "clips:choosy")
    assert found.options == () and found.given["only"].hint is int


@pytest.mark.parametrize(
    ("kind", "name", "argument", "value", "is_right"),
    [
        ("optimizer", "muon", "adam_lr_ratio", 0.5, True),
        ("constraint", "max_norm", "max_value", 1.5, True),
        ("activation", "squareplus", "b", 0.5, True),
        ("optimizer", "muon", "ns_steps", 2.5, False),
        ("metric", "top_k_categorical_accuracy", "k", 2.5, False),
        ("metric", "auc", "num_thresholds", 2.5, False),
        ("layer", "conv2d", "groups", 1.5, False),
        ("layer", "layer_normalization", "axis", 1.5, False),
        ("layer", "normalization", "axis", None, True),
        ("layer", "up_sampling1d", "size", 1.5, False),
    ],
)
def test_a_whole_number_as_keras_default_may_mean_any_number(
    kind, name, argument, value, is_right
):
    _, target = find(kind, name)
    assert fits(value, hint(kind, target, argument)) == is_right


def test_keras_counts_and_axes_are_the_only_whole_numbers_by_their_defaults():
    """A new release of Keras may bring arguments with such a default: what each of them means is to be looked up."""
    reals = set()
    for kind in COMPONENT_KINDS:
        for name in names_of_kind(kind):
            _, target = find(kind, name)
            given = (
                arguments.arguments_of(kind, target).given
                if target.startswith("keras.")
                else {}
            )
            found = [
                one
                for one in given.values()
                if type(one.default) is int and one.hint == (int | float)
            ]
            reals |= {f"{name}.{one.name}" for one in found}
    assert reals <= {
        "muon.adam_lr_ratio",
        "max_norm.max_value",
        "squareplus.b",
        "max_num_bounding_boxes.fill_value",
    }
