"""Sequences cut into windows, for methods that update once for each window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tftrain.config.component import Component
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import format_error
from tftrain.core.types import (
    DataSpec,
)
from tftrain.data.window_source import WindowSource
from tftrain.runtime.errors import InputError

if TYPE_CHECKING:
    from tftrain.data.loader import Data


def window_of(method: Component) -> int | None:
    """The time steps that one update takes in; None where it takes whole examples."""
    update = (
        method.arguments.get("update")
        if method.target.startswith("tftrain.")
        else None
    )
    return {"window": method.arguments.get("window"), "step": 1}.get(update)


def split_into_windows(config: Config, data: Data) -> Data:
    """Return the data with its training split served in windows, where the gradient method asks for it.

    Args:
        config: that of the run.
        data: the splits.
    """
    window, part = window_of(config.gradients.method), config.gradients.method
    if window is None:
        return data
    why = _window_obstacle(data, window)
    if why:
        message = f"update: {part.arguments['update']} does not go with the data: {why}"
        raise InputError(format_error(part.place, part.path, message))
    feed = WindowSource(data.train, data.facts.input_shape[0] // window)
    full_sample = data.sample
    weight = (
        full_sample.weight
        if full_sample.weight is None or full_sample.weight.ndim == 1
        else full_sample.weight[:, :window]
    )
    starts = np.ones(len(full_sample.y), bool)
    sample = full_sample._replace(
        x=full_sample.x[:, :window],
        y=full_sample.y[:, :window],
        weight=weight,
        starts=starts,
    )
    return data._replace(
        train=feed, facts=_of_length(window, data.facts), sample=sample
    )


def without_time_axis(config: Config, facts: DataSpec) -> DataSpec:
    """Return the facts that a model is built for: where steps take windows, of sequences of any length.

    Args:
        config: that of the run.
        facts: about the data.
    """
    return (
        facts
        if window_of(config.gradients.method) is None
        else _of_length(None, facts)
    )


def _of_length(time: int | None, facts: DataSpec) -> DataSpec:
    return facts._replace(
        input_shape=(time, *facts.input_shape[1:]),
        target_shape=(time, *facts.target_shape[1:]),
    )


def _window_obstacle(data: Data, window: int) -> str | None:
    shape, target = data.facts.input_shape, data.facts.target_shape
    if not isinstance(shape, tuple) or len(shape) < 2:
        return f"its examples have the shape {shape}; expected sequences [time, features]"
    time = shape[0]
    if target[:1] != (time,):
        return (
            f"its targets have the shape {list(target)}, so that only the last of several windows would have a loss; "
            "expected a target for each time step, or update: sequence"
        )
    if time % window:
        good = [size for size in range(1, time + 1) if time % size == 0]
        nearest = min(good, key=lambda size: abs(size - window))
        return f"sequences of {time} time steps are no whole number of windows of {window}; the nearest is {nearest}"
    if data.train.in_order:
        return "it is streamed; expected arrays, which are in memory"
    return None
