"""What must hold between two settings of a config, checked before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tftrain.config.component import Component, rate_boundaries, schedules
from tftrain.config.field_types import unordered
from tftrain.config.logged import metric_labels, unlogged_message
from tftrain.config.logits import logits_clash, output_activation


class Rule(NamedTuple):
    """What must hold between settings.

    Args:
        path: the key path that a problem is reported at.
        needs: the key paths of the settings.
        find_problem: gets their values, and returns what is wrong, None if nothing is.
    """

    path: str
    needs: tuple[str, ...]
    find_problem: Callable[..., str | None]


def _both_epochs_and_steps(epochs: int | None, steps: int | None) -> str | None:
    if epochs and steps:
        return "given beside training.epochs; expected one of the two"
    return None


def _nothing_to_train_on(validation: float, test: float) -> str | None:
    if validation + test < 1:
        return None
    return f"given {test} beside data.validation: {validation}; expected less than 1 in all, to train on the rest"


def _unknown_monitor(
    name: str | None, metrics: list[Component] | str
) -> str | None:
    if name in (None, "auto"):
        return None
    labels = ["accuracy"] if metrics == "auto" else metric_labels(metrics)
    return unlogged_message(name, labels)


def rate_monitors(value: Any, path: str) -> dict[str, str]:
    """Return the scalars that schedules of the rate follow, by the key paths of their `monitor`.

    Args:
        value: the learning rate.
        path: its key path.
    """
    monitors = {}
    for key, schedule in schedules(value, path).items():
        monitor = schedule.arguments.get("monitor")
        if isinstance(monitor, str):
            monitors[f"{key}.monitor"] = monitor
    return monitors


def rate_rules(rate: Any) -> list[Rule]:
    """Return the rules for a learning rate: for each scalar that it follows, and for its boundaries."""
    path = "optimizer.learning_rate"
    rules = []
    for key in rate_monitors(rate, path):
        rules.append(Rule(key, (key, "metrics"), _unknown_monitor))
    for key in rate_boundaries(rate, path):
        rules.append(Rule(key, (key,), unordered))
    return rules


def _groups_with_plain_split(groups: str | int | None, how: str) -> str | None:
    if groups is None or how in ("auto", "shuffled"):
        return None
    return f"given {groups!r} beside data.split: {how}, which goes by single examples; expected one of the two"


def _ftrl_divides_by_zero(optimizer: Component) -> str | None:
    is_ftrl = optimizer.target == "keras.optimizers:Ftrl"
    if not is_ftrl or optimizer.given.get("learning_rate") != 0:
        return None
    return "given 0, but ftrl divides by its learning rate; expected a number above 0"


def _pattern_without_decay(optimizer: Component) -> str | None:
    pattern = optimizer.option("weight_decay_only")
    if pattern is None:
        return None
    # An optimizer of the user's, which has no such argument, is checked when it is built.
    if optimizer.arguments.get("weight_decay", pattern) is not None:
        return None
    return f"given '{pattern}', but there is no weight decay; give optimizer.weight_decay too, or leave this out"


def _unused_devices(strategy: str, devices: int | None) -> str | None:
    if devices is None or strategy == "mirrored":
        return None
    return f"given {devices}, which strategy: {strategy} takes no notice of; write strategy: mirrored, or leave it out"


def _xla_on_many_devices(jit_compile: bool, strategy: str) -> str | None:
    if not jit_compile or strategy == "default":
        return None
    return f"given true beside training.strategy: {strategy}; XLA compiles for one device, so expected false here"


def _numeric_gradients_in_low_precision(
    method: Component, precision: str
) -> str | None:
    if method.name != "numeric" or precision == "float32":
        return None
    return f"given numeric beside training.precision: {precision}, whose rounding is larger than the differences"


def _profile_ends_first(profile: list[int] | None) -> str | None:
    if profile is None or profile[0] < profile[1]:
        return None
    return f"given {list(profile)}; expected the first step and, after it, the last"


def _plot_timed_twice(plots: list[Component]) -> str | None:
    for plot in plots:
        if plot.option("at") is not None and plot.option("every") is not None:
            return f"{plot.name} is given both at and every; expected one of the two"
    return None


def _probes_never_run(probes: list[Component], every: str | int) -> str | None:
    if not probes or every != "never":
        return None
    return f"given {probes[0].name} beside log.histograms_every: never, so it is never measured; expected a time there"


def _loss_misreads_outputs(model: Component, loss: Component) -> str | None:
    return logits_clash(
        output_activation(model), loss.given.get("from_logits", "auto")
    )


_STOPPING = "training.early_stopping.monitor"
RULES = (
    Rule(
        "training.steps",
        ("training.epochs", "training.steps"),
        _both_epochs_and_steps,
    ),
    Rule(
        "training.jit_compile",
        ("training.jit_compile", "training.strategy"),
        _xla_on_many_devices,
    ),
    Rule(
        "gradients.method",
        ("gradients.method", "training.precision"),
        _numeric_gradients_in_low_precision,
    ),
    Rule("data.test", ("data.validation", "data.test"), _nothing_to_train_on),
    Rule(
        "data.groups", ("data.groups", "data.split"), _groups_with_plain_split
    ),
    Rule("checkpoint.best", ("checkpoint.best", "metrics"), _unknown_monitor),
    Rule(_STOPPING, (_STOPPING, "metrics"), _unknown_monitor),
    Rule("log.profile", ("log.profile",), _profile_ends_first),
    Rule("log.plots", ("log.plots",), _plot_timed_twice),
    Rule(
        "log.probes", ("log.probes", "log.histograms_every"), _probes_never_run
    ),
    Rule("loss.from_logits", ("model", "loss"), _loss_misreads_outputs),
    Rule("optimizer.learning_rate", ("optimizer",), _ftrl_divides_by_zero),
    Rule("optimizer.weight_decay_only", ("optimizer",), _pattern_without_decay),
    Rule(
        "training.devices",
        ("training.strategy", "training.devices"),
        _unused_devices,
    ),
)
