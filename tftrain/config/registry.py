"""What a config can name: plain tables of our own parts, and what the installed Keras offers; TensorFlow-free."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any, NamedTuple

from tftrain.config import importing
from tftrain.config.field_types import (
    Duration,
    Group,
    Pattern,
    TimePoint,
    kind_in_words,
)
from tftrain.runtime.errors import ImportPathError
from tftrain.runtime.names import did_you_mean, join_names


class Kind(NamedTuple):
    """One kind of part: our own names, the Keras module that adds more, and how such a part is called."""

    says: str
    own: dict[str, str] = {}
    keras: str = ""
    house: tuple[
        str, ...
    ] = ()  # what a builder can ask for by keyword-only arguments
    options: dict[
        str, Any
    ] = {}  # what a config may give any part of the kind beside its arguments, and its annotation
    skip: int = 0  # leading arguments of a function that the caller gives, such as the tensor of an activation


COMPONENT_KINDS = {
    "model": Kind(
        "a network, built for the data's shape",
        {
            "mlp": "tftrain.models.mlp:mlp",
            "cnn": "tftrain.models.cnn:cnn",
            "rnn": "tftrain.models.rnn:rnn",
            "sequential": "tftrain.models.sequential:sequential",
            "saved": "tftrain.models.serialization:load_saved_model",
        },
        house=("input_shape", "classes", "outputs", "output_shape", "trust"),
    ),
    "data": Kind(
        "a data set",
        {
            "digits": "tftrain.data.datasets.bundled:digits",
            "iris": "tftrain.data.datasets.bundled:iris",
            "wine": "tftrain.data.datasets.bundled:wine",
            "breast_cancer": "tftrain.data.datasets.bundled:breast_cancer",
            "xor": "tftrain.data.datasets.synthetic:xor",
            "points": "tftrain.data.datasets.synthetic:points",
            **{
                name: f"tftrain.data.datasets.synthetic:{name}"
                for name in ("blobs", "xor_blobs", "moons", "spirals")
            },
            **{
                name: f"tftrain.data.datasets.sequences:{name}"
                for name in ("sine", "series", "series_stream")
            },
            **{
                name: f"tftrain.data.datasets.sequences:{name}"
                for name in ("adding", "copy")
            },
            "large_features": "tftrain.data.datasets.synthetic:large_features",
            "tfds": "tftrain.data.datasets.tfds:tfds",
        },
        house=("seed",),
    ),
    "preprocess": Kind(
        "a change of the examples before the model sees them",
        {
            name: f"tftrain.data.preprocessors:{name}"
            for name in (
                "scale",
                "standardize",
                "one_hot",
                "pad",
                "crop",
                "flip",
                "resize",
            )
        },
    ),
    "clip": Kind(
        "a bound on the gradients, applied before the update",
        {
            "value": "tftrain.optim.clipping:clip_value",
            "norm": "tftrain.optim.clipping:clip_norm",
            "global_norm": "tftrain.optim.clipping:clip_global_norm",
            "layer_norm": "tftrain.optim.clipping:clip_layer_norm",
            "adaptive": "tftrain.optim.clipping:clip_adaptive",
            "percentile": "tftrain.optim.clipping:clip_percentile",
        },
        house=("names",),
        options={
            "only": Pattern | None
        },  # to the parameters in whose names it is found
    ),
    "method": Kind(
        "a way to get the gradients",
        {
            "backprop": "tftrain.optim.gradients.backprop:backprop",
            "numeric": "tftrain.optim.gradients.finite_difference:numeric",
            "forward": "tftrain.optim.gradients.forward_mode:forward",
            "rtrl": "tftrain.optim.gradients.rtrl:rtrl",
            "truncated_bptt": "tftrain.optim.gradients.truncated_bptt:truncated_bptt",
        },
        house=("names", "model", "rows"),
    ),
    "optimizer": Kind(
        "a rule for the update",
        keras="optimizers",
        options={
            "groups": list[Group] | None,
            "weight_decay_only": Pattern | None,
        },
    ),
    "schedule": Kind(
        "a learning rate that changes during the run",
        {
            name: f"tftrain.optim.schedules:{name}"
            for name in ("warmup", "plateau", "inverse_norm", "backoff")
        },
        keras="optimizers.schedules",
    ),
    "loss": Kind(
        "what training makes small",
        {"auto": "tftrain.models.losses:auto"},
        keras="losses",
        house=("classes", "one_hot", "from_logits"),
    ),
    "metric": Kind(
        "what is reported beside the loss",
        {"accuracy": "tftrain.models.metrics:accuracy"},
        keras="metrics",
        house=("outputs", "one_hot"),
        options={"weighted": bool | None},  # by the weights of the examples
    ),
    "probe": Kind(
        "a measurement of the step, whose numbers are logged",
        {"weights": "tftrain.diagnostics.probes.weight_stats:weights"},
        options={
            "only": Pattern | None
        },  # of the parameters in whose names it is found
    ),
    "picture": Kind(
        "a picture of the run, as a PNG and in TensorBoard",
        {
            "decision_map": "tftrain.reporting.plots.decision_map:decision_map",
            **{
                name: f"tftrain.reporting.plots.heatmaps:{name}"
                for name in ("weights", "gradients")
            },
            **{
                name: f"tftrain.reporting.plots.layers:{name}"
                for name in ("gradient_map", "gradient_flow", "signal_flow")
            },
            "network": "tftrain.reporting.plots.network:network",
            "loss_surface": "tftrain.reporting.plots.loss_surface:loss_surface",
            "difference_error": "tftrain.reporting.plots.difference_error:difference_error",
            "time_lag": "tftrain.reporting.plots.time_lag:time_lag",
            "curves": "tftrain.reporting.plots.curves:curves",
        },
        options={"every": Duration | None, "at": list[TimePoint] | None},
        skip=1,  # the scene
    ),
    "activation": Kind("a nonlinearity", keras="activations", skip=1),
    "initializer": Kind(
        "the first values of a weight", keras="initializers", skip=2
    ),
    "regularizer": Kind("a penalty on a weight", keras="regularizers", skip=1),
    "constraint": Kind("a condition on a weight", keras="constraints", skip=1),
    "layer": Kind("a layer of a `sequential` model", keras="layers"),
}

# Keras names that are no parts: base classes, and wrappers that need an object.
_NO_PARTS = {
    *(
        "Optimizer",
        "LossScaleOptimizer",
        "MultiOptimizer",
        "OptimizerMap",
        "LearningRateSchedule",
        "Loss",
        "Metric",
    ),
    *(
        "MeanMetricWrapper",
        "Layer",
        "Wrapper",
        "Initializer",
        "Regularizer",
        "Constraint",
        "InputLayer",
        "Input",
    ),
    *(
        "Mean",
        "Sum",
        "deserialize",
        "get",
        "serialize",
        "InputSpec",
        "TFSMLayer",
        "TorchModuleWrapper",
        "JaxLayer",
    ),
    *("FlaxLayer", "Lambda", "STFTInitializer"),
}
_FUNCTIONS = {
    "activation"
}  # kinds whose Keras parts are functions; elsewhere they are classes
_LISTED_AS = {
    "adam_w": "adamw",
    "rm_sprop": "rmsprop",
    "mean_io_u": "mean_iou",
    "io_u": "iou",
    "re_lu": "relu",
}
_SHORT = {
    "loss": {
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "mape": "mean_absolute_percentage_error",
        "msle": "mean_squared_logarithmic_error",
        "bce": "binary_crossentropy",
        "kld": "kl_divergence",
    },
    "metric": {
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "acc": "accuracy",
    },
    "initializer": {"uniform": "random_uniform", "normal": "random_normal"},
}


def find(kind: str, name: str) -> tuple[str, str]:
    """The name as it is listed, and its target; a dotted path stands for itself. Raises PartError."""
    if ":" in name or "." in name:
        target = importing.resolve(name)
        return target, target
    short = _SHORT.get(kind, {}).get(name.lower(), name)
    known = names_of_kind(kind)
    for listed_name, target in known.items():
        if _squashed(listed_name) == _squashed(short):
            return listed_name, target
    for alias, real in _aliases(kind).items():
        if _squashed(alias) == _squashed(short):
            return real, known[real]
    alternatives = f"; known are {join_names(known)} (python -m tftrain list {kind}), and your own as module:name"
    raise ImportPathError(
        f"there is no {kind_in_words(kind)} '{name}'{did_you_mean(name, known) or alternatives}"
    )


@functools.cache
def names_of_kind(kind: str) -> dict[str, str]:
    """Every name of a kind with its target, our own first; those of Keras come from its public modules' source."""
    targets = dict(COMPONENT_KINDS[kind].own)
    taken = {_squashed(name) for name in targets}
    for public, real in _exported(kind):
        name = _snake(public)
        if public == real and _squashed(name) not in taken:
            targets[name] = f"keras.{COMPONENT_KINDS[kind].keras}:{public}"
    return targets


def _aliases(kind: str) -> dict[str, str]:
    """Second names that Keras itself gives, with those they are listed by, such as max_pool2d: max_pooling2d."""
    return {
        _snake(public): _snake(real)
        for public, real in _exported(kind)
        if public != real
    }


def _squashed(name: str) -> str:
    return name.replace("_", "").lower()


def _snake(name: str) -> str:
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    for odd, better in _LISTED_AS.items():
        words = re.sub(rf"(^|_){odd}$", rf"\1{better}", words)
    return words


@functools.cache
def _exported(kind: str) -> list[tuple[str, str]]:
    """(name, first name) of the classes, or functions, that a Keras module exports, sorted; Keras is not imported."""
    module = COMPONENT_KINDS[kind].keras
    spec = importlib.util.find_spec("keras") if module else None
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin).parent.joinpath(*module.split("."), "__init__.py")
    first_names: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom) or not node.module.startswith(
            "keras.src"
        ):
            continue
        for alias in node.names:
            public = alias.asname or alias.name
            is_of_kind = alias.name[0].islower() == (kind in _FUNCTIONS)
            if (
                is_of_kind
                and alias.name not in _NO_PARTS
                and public[0].islower() == alias.name[0].islower()
            ):
                first_names[public] = alias.name
    return sorted(
        (public, real if real in first_names else public)
        for public, real in first_names.items()
    )
