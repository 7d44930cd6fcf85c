"""What must hold between two settings of a config, checked before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tftrain.config import Config
from tftrain.parts import Part
from tftrain.strict import nearest
from tftrain.values import PROBABILITIES

Report = Callable[[str, str], Any]  # (key path, message)

# What every run logs beside its loss and its metrics.
LOGGED = ("learning_rate", "grad_norm", "grad_norm_max", "clipped_grad_norm", "clip_rate", "nonfinite_steps")


def apply_rules(config: Config, report: Report) -> None:
    """Report every rule that the config breaks."""
    if config.training.epochs is not None and config.training.steps is not None:
        report("training.steps", "given beside training.epochs; expected one of the two")
    _monitors(config, report)
    ends = output_activation(config.model)
    from_logits = config.loss.given.get("from_logits", "auto")
    clash = logits_clash(ends, from_logits)
    if clash:
        report("loss.from_logits", clash)


def logits_clash(ends: str | None, from_logits: bool | str) -> str | None:
    """What is wrong between a model's last activation and the loss, with the fix; None where they agree."""
    if ends in PROBABILITIES and from_logits is True:
        return (
            f"given true, but the model ends in {ends}, so it gives probabilities, not logits; write from_logits: false, "
            "or leave it out, or end the model without an activation (output_activation: linear)"
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


def metric_label(metric: Part) -> str:
    """The name under which a metric is logged."""
    return metric.name.rpartition(":")[2]


def _activation_name(activation: Any) -> str | None:
    if activation is None:
        return "linear"
    return activation.name if isinstance(activation, Part) else activation


def _monitors(config: Config, report: Report) -> None:
    metrics = ["accuracy"] if config.metrics == "auto" else [metric_label(one) for one in config.metrics]
    scored = ["loss", *metrics]
    known = [*scored, *(f"val_{name}" for name in scored), *LOGGED]
    stopping = config.training.early_stopping
    watched = {"checkpoint.best": config.checkpoint.best}
    if stopping is not None:
        watched["training.early_stopping.monitor"] = stopping.monitor
    for path, name in watched.items():
        if name in (None, "auto"):
            continue
        if name.split("/")[0] not in known:
            report(path, f"given '{name}', which is not logged; expected one of {', '.join(known)}{nearest(name, known)}")
