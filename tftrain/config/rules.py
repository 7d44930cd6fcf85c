"""What must hold between two settings of a config, checked before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tftrain.config.component import Component, rate_boundaries, schedules
from tftrain.config.field_types import unordered
from tftrain.config.logged import metric_labels, unlogged
from tftrain.config.logits import logits_clash, output_activation


class Rule(NamedTuple):
    """`broken` gets the values at the key paths `needs`, and says what is wrong with `blamed`, or None."""

    blamed: str
    needs: tuple[str, ...]
    broken: Callable[..., str | None]


def _two_lengths(epochs: int | None, steps: int | None) -> str | None:
    return (
        "given beside training.epochs; expected one of the two"
        if epochs and steps
        else None
    )


def _nothing_to_train_on(validation: float, test: float) -> str | None:
    if validation + test < 1:
        return None
    return f"given {test} beside data.validation: {validation}; expected less than 1 in all, to train on the rest"


def _unwatchable(name: str | None, metrics: list[Component] | str) -> str | None:
    labels = ["accuracy"] if metrics == "auto" else metric_labels(metrics)
    return None if name in (None, "auto") else unlogged(name, labels)


def rate_monitors(value: Any, path: str) -> dict[str, str]:
    """The scalars that learning rates go by, under the key paths of their `monitor`."""
    monitors = {
        f"{key}.monitor": schedule.arguments.get("monitor")
        for key, schedule in schedules(value, path).items()
    }
    return {
        key: monitor for key, monitor in monitors.items() if isinstance(monitor, str)
    }


def rate_rules(rate: Any) -> list[Rule]:
    """For a learning rate, what must hold of each scalar that it goes by, and of its boundaries."""
    path = "optimizer.learning_rate"
    return [
        *(
            Rule(key, (key, "metrics"), _unwatchable)
            for key in rate_monitors(rate, path)
        ),
        *(Rule(key, (key,), unordered) for key in rate_boundaries(rate, path)),
    ]


def _split_twice(groups: str | int | None, how: str) -> str | None:
    if groups is None or how in ("auto", "shuffled"):
        return None
    return f"given {groups!r} beside data.split: {how}, which goes by single examples; expected one of the two"


def _divided_by_zero(optimizer: Component) -> str | None:
    if (
        optimizer.target != "keras.optimizers:Ftrl"
        or optimizer.given.get("learning_rate") != 0
    ):
        return None
    return "given 0, but ftrl divides by its learning rate; expected a number above 0"


def _undecayed(optimizer: Component) -> str | None:
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


def _drowned(method: Component, precision: str) -> str | None:
    if method.name != "numeric" or precision == "float32":
        return None
    return f"given numeric beside training.precision: {precision}, whose rounding is larger than the differences"


def _backwards(profile: list[int] | None) -> str | None:
    if profile is None or profile[0] < profile[1]:
        return None
    return f"given {list(profile)}; expected the first step and, after it, the last"


def _timed_twice(pictures: list[Component]) -> str | None:
    twice = [
        picture.name
        for picture in pictures
        if picture.option("at") is not None and picture.option("every") is not None
    ]
    return (
        f"{twice[0]} is given both at and every; expected one of the two"
        if twice
        else None
    )


def _unmeasured(probes: list[Component], every: str | int) -> str | None:
    if not probes or every != "never":
        return None
    return f"given {probes[0].name} beside log.histograms_every: never, so it is never measured; expected a time there"


def _xla_needs_one_device(model: Component, loss: Component) -> str | None:
    return logits_clash(output_activation(model), loss.given.get("from_logits", "auto"))


_STOPPING = "training.early_stopping.monitor"
RULES = (
    Rule("training.steps", ("training.epochs", "training.steps"), _two_lengths),
    Rule(
        "training.jit_compile", ("training.jit_compile", "training.strategy"), _spread
    ),
    Rule("gradients.method", ("gradients.method", "training.precision"), _drowned),
    Rule("data.test", ("data.validation", "data.test"), _nothing_to_train_on),
    Rule("data.groups", ("data.groups", "data.split"), _split_twice),
    Rule("checkpoint.best", ("checkpoint.best", "metrics"), _unwatchable),
    Rule(_STOPPING, (_STOPPING, "metrics"), _unwatchable),
    Rule("log.profile", ("log.profile",), _backwards),
    Rule("log.plots", ("log.plots",), _timed_twice),
    Rule("log.probes", ("log.probes", "log.histograms_every"), _unmeasured),
    Rule("loss.from_logits", ("model", "loss"), _xla_needs_one_device),
    Rule("optimizer.learning_rate", ("optimizer",), _divided_by_zero),
    Rule("optimizer.weight_decay_only", ("optimizer",), _undecayed),
    Rule("training.devices", ("training.strategy", "training.devices"), _unheeded),
)
