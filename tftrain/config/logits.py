"""Logits or probabilities: what a config says of them, and where it says both."""

from __future__ import annotations

from typing import Any

from tftrain.config.field_types import PROBABILITIES
from tftrain.config.protocols import ComponentLike


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


def output_activation(model: ComponentLike) -> str | None:
    """The last activation where the config tells: 'linear' for none, else None for not known."""
    if not model.target.startswith("tftrain.models."):
        return None  # a user's function may do anything with what it is given
    if "output_activation" in model.arguments:
        return _activation_name(model.arguments["output_activation"])
    layers = model.given.get("layers")
    if model.name != "sequential" or not layers:
        return None
    last = layers[-1]
    if last.name == "softmax":
        return "softmax"
    return (
        _activation_name(last.given.get("activation"))
        if last.name == "dense"
        else None
    )


def _activation_name(activation: Any) -> str | None:
    if activation is None:
        return "linear"
    return activation.name if hasattr(activation, "name") else activation
