"""What must hold between two settings of a config, checked before TensorFlow is imported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tftrain.names import nearest
from tftrain.parts import Part, rate_boundaries, schedules
from tftrain.values import PROBABILITIES, unordered

# What every run logs beside its loss and its metrics.
LOGGED = ("learning_rate", "grad_norm", "grad_norm_max", "clipped_grad_norm", "clip_rate", "nonfinite_steps")
_TAKEN = ("loss", "epoch", "step", "wall_seconds", "step_ms", "loss_scale", "depth_ratio", "nonfinite_grads", *LOGGED)


class Rule(NamedTuple):
    """`broken` gets the values at the key paths `needs`, and says what is wrong with `blamed`, or None."""

    blamed: str
    needs: tuple[str, ...]
    broken: Callable[..., str | None]


def logits_clash(ends: str | None, from_logits: bool | str) -> str | None:
    """What is wrong between a model's last activation and the loss, with the fix; None where they agree."""
    if ends in PROBABILITIES and from_logits is True:
        return (
            f"given true, but the model ends in {ends}, so it gives probabilities, not logits; write from_logits: "
            "false, or leave it out, or end the model without an activation (output_activation: linear)"
        )
    if ends == "linear" and from_logits is False:
        return (
            "given false, but the model ends without an activation, so it gives logits, not probabilities; write "
            "from_logits: true, or leave it out, or end the model in an activation such as softmax or sigmoid"
        )
    return None


def output_activation(model: Part) -> str | None:
    """The last activation where the config tells: 'linear' for none, else None for not known."""
    if "output_activation" in model.arguments:
        return _activation_name(model.arguments["output_activation"])
    layers = model.given.get("layers")
    if model.name != "sequential" or not layers:
        return None
    last = layers[-1]
    if last.name == "softmax":
        return "softmax"
    return _activation_name(last.given.get("activation")) if last.name == "dense" else None


def metric_labels(metrics: Sequence[Part]) -> list[str]:
    """The names under which metrics are logged, numbered where one before, or what every run logs, has it already.

    What begins with `val_` is of validation.
    """
    labels: list[str] = []
    for metric in metrics:
        label = metric.name.rpartition(":")[2]
        label = f"metric_{label}" if label.startswith("val_") else label
        numbered = itertools.chain([label], (f"{label}_{number}" for number in itertools.count(2)))
        labels.append(next(name for name in numbered if name not in (*labels, *_TAKEN)))
    return labels


def _activation_name(activation: Any) -> str | None:
    if activation is None:
        return "linear"
    return activation.name if isinstance(activation, Part) else activation


def _two_lengths(epochs: int | None, steps: int | None) -> str | None:
    return "given beside training.epochs; expected one of the two" if epochs and steps else None


def _nothing_to_train_on(validation: float, test: float) -> str | None:
    if validation + test < 1:
        return None
    return f"given {test} beside data.validation: {validation}; expected less than 1 in all, to train on the rest"


def unlogged(name: str, labels: Sequence[str]) -> str | None:
    """What is wrong with a scalar's name where it is not logged, beside metrics of these names."""
    scored = ["loss", *labels]
    known = [*scored, *(f"val_{label}" for label in scored), *LOGGED]
    if name.split("/")[0] in known:
        return None
    return f"given '{name}', which is not logged; expected one of {', '.join(known)}{nearest(name, known)}"


def _unwatchable(name: str | None, metrics: list[Part] | str) -> str | None:
    labels = ["accuracy"] if metrics == "auto" else metric_labels(metrics)
    return None if name in (None, "auto") else unlogged(name, labels)


def rate_monitors(value: Any, path: str) -> dict[str, str]:
    """The scalars that learning rates go by, under the key paths of their `monitor`."""
    given = {f"{key}.monitor": one.arguments.get("monitor") for key, one in schedules(value, path).items()}
    return {key: monitor for key, monitor in given.items() if isinstance(monitor, str)}


def rate_rules(rate: Any) -> list[Rule]:
    """For a learning rate, what must hold of each scalar that it goes by, and of its boundaries."""
    path = "optimizer.learning_rate"
    return [
        *(Rule(key, (key, "metrics"), _unwatchable) for key in rate_monitors(rate, path)),
        *(Rule(key, (key,), unordered) for key in rate_boundaries(rate, path)),
    ]


def _divided_by_zero(optimizer: Part) -> str | None:
    if optimizer.target != "keras.optimizers:Ftrl" or optimizer.given.get("learning_rate") != 0:
        return None
    return "given 0, but ftrl divides by its learning rate; expected a number above 0"


def _undecayed(optimizer: Part) -> str | None:
    only = optimizer.option("weight_decay_only")
    if (
        only is None or optimizer.arguments.get("weight_decay", only) is not None
    ):  # an own one is asked once it is built
        return None
    return f"given '{only}', but there is no weight decay; give optimizer.weight_decay too, or leave this out"


def _unheeded(strategy: str, devices: int | None) -> str | None:
    if devices is None or strategy == "mirrored":
        return None
    return f"given {devices}, which strategy: {strategy} takes no notice of; write strategy: mirrored, or leave it out"


def _spread(jit_compile: bool, strategy: str) -> str | None:
    if not jit_compile or strategy == "default":
        return None
    return f"given true beside training.strategy: {strategy}; XLA compiles for one device, so expected false here"


def _drowned(method: Part, precision: str) -> str | None:
    if method.name != "numeric" or precision == "float32":
        return None
    return f"given numeric beside training.precision: {precision}, whose rounding is larger than the differences"


def _backwards(profile: list[int] | None) -> str | None:
    if profile is None or profile[0] < profile[1]:
        return None
    return f"given {list(profile)}; expected the first step and, after it, the last"


def _timed_twice(pictures: list[Part]) -> str | None:
    twice = [one.name for one in pictures if one.option("at") is not None and one.option("every") is not None]
    return f"{twice[0]} is given both at and every; expected one of the two" if twice else None


def _unmeasured(probes: list[Part], every: str | int) -> str | None:
    if not probes or every != "never":
        return None
    return f"given {probes[0].name} beside log.histograms_every: never, so it is never measured; expected a time there"


def _misread(model: Part, loss: Part) -> str | None:
    return logits_clash(output_activation(model), loss.given.get("from_logits", "auto"))


_STOPPING = "training.early_stopping.monitor"
RULES = (
    Rule("training.steps", ("training.epochs", "training.steps"), _two_lengths),
    Rule("training.jit_compile", ("training.jit_compile", "training.strategy"), _spread),
    Rule("gradients.method", ("gradients.method", "training.precision"), _drowned),
    Rule("data.test", ("data.validation", "data.test"), _nothing_to_train_on),
    Rule("checkpoint.best", ("checkpoint.best", "metrics"), _unwatchable),
    Rule(_STOPPING, (_STOPPING, "metrics"), _unwatchable),
    Rule("log.profile", ("log.profile",), _backwards),
    Rule("log.pictures", ("log.pictures",), _timed_twice),
    Rule("log.probes", ("log.probes", "log.histograms_every"), _unmeasured),
    Rule("loss.from_logits", ("model", "loss"), _misread),
    Rule("optimizer.learning_rate", ("optimizer",), _divided_by_zero),
    Rule("optimizer.weight_decay_only", ("optimizer",), _undecayed),
    Rule("training.devices", ("training.strategy", "training.devices"), _unheeded),
)
