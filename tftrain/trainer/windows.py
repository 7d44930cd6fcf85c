"""Steps that take in a window of each sequence, as some gradient methods ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tftrain.config.component import Part
from tftrain.config.error_context import InputError
from tftrain.config.schema import Config
from tftrain.config.yaml_parser import problem
from tftrain.core.types import Facts
from tftrain.data.window_source import WindowFeed

if TYPE_CHECKING:
    from tftrain.data.loader import Data


def window_of(method: Part) -> int | None:
    """The time steps that one update takes in; None where it takes whole examples."""
    update = method.arguments.get("update") if method.target.startswith("tftrain.") else None
    return {"window": method.arguments.get("window"), "step": 1}.get(update)


def windowed(config: Config, data: Data) -> Data:
    """The data with its training split served in windows, where the gradient method asks for it; raises InputError."""
    window, part = window_of(config.gradients.method), config.gradients.method
    if window is None:
        return data
    why = _obstacle(data, window)
    if why:
        message = f"update: {part.arguments['update']} does not go with the data: {why}"
        raise InputError(problem(part.place, part.path, message))
    feed = WindowFeed(data.train, data.facts.input_shape[0] // window)
    whole = data.sample
    weight = whole.weight if whole.weight is None or whole.weight.ndim == 1 else whole.weight[:, :window]
    starts = np.ones(len(whole.y), bool)
    sample = whole._replace(x=whole.x[:, :window], y=whole.y[:, :window], weight=weight, starts=starts)
    return data._replace(train=feed, facts=_of_length(window, data.facts), sample=sample)


def free_of_length(config: Config, facts: Facts) -> Facts:
    """The facts that a model is built for: where steps take windows in, of sequences of any length."""
    return facts if window_of(config.gradients.method) is None else _of_length(None, facts)


def _of_length(time: int | None, facts: Facts) -> Facts:
    return facts._replace(input_shape=(time, *facts.input_shape[1:]), target_shape=(time, *facts.target_shape[1:]))


def _obstacle(data: Data, window: int) -> str | None:
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
