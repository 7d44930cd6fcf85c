"""The probes of a config: what is measured in every run, and what else is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.config.component import Component
from tftrain.config.error_context import error_context
from tftrain.config.importing import BUILTIN_PREFIXES
from tftrain.config.schema import Log
from tftrain.core.types import LogData, Probe, StepOutputs
from tftrain.core.variables import Names
from tftrain.diagnostics.probes.activation_stats import activation_stats
from tftrain.diagnostics.probes.gradient_stats import gradient_counts
from tftrain.diagnostics.probes.histograms import ON_BOTH_AXES, histograms
from tftrain.diagnostics.probes.weight_stats import weight_norms
from tftrain.runtime.errors import InputError, UserCodeError
from tftrain.trainer.parameter_groups import match_parameters
from tftrain.trainer.user_code import describe_result, expect, expect_functions

GROUP = "probes/"  # begins the names of all that a config's probes measure
_BY_PARAMETER = (
    "params",
    "raw",
    "grads",
    "updates",
    "names",
)


def build_probes(
    log: Log, names: Names, trial: Callable[[Probe], Any]
) -> list[Probe]:
    """Build everything that is measured.

    A user's own is tried before: `trial` gives what it measures of a sample, as arrays.

    Args:
        log: that section of the config.
        names: those of the parameters.
        trial: returns what a probe measures of a sample, as arrays; a user's own is tried so.
    """
    if log.histograms_every == "never":
        return []
    taken: dict[str, Component] = {}  # whose names they are
    return [
        *_of_every_run(log),
        *(_open_probe(part, names, taken, trial) for part in log.probes),
    ]


def _of_every_run(log: Log) -> list[Probe]:
    axes = dict.fromkeys(ON_BOTH_AXES, log.histogram_axis)
    requested = [
        (what, axis)
        for what in log.histograms
        for axis in axes.get(what, ["value"])
    ]
    counted = ("gradients", "log10")  # histograms of these come with the counts
    return [
        gradient_counts(log10_histograms=counted in requested),
        weight_norms(),
        activation_stats(),
        *(histograms(*pair) for pair in requested if pair != counted),
    ]


def _open_probe(
    part: Component,
    names: Names,
    taken: dict[str, Component],
    trial: Callable[[Probe], Any],
) -> Probe:
    indices = match_parameters(
        part, f"{part.path}.only", part.option("only"), names
    )
    with error_context(part, part.path):
        probe = part.build()
        expect(probe, Probe, "a Probe(measure, read) of tftrain.core.types")
        expect_functions(probe, ("measure", "read"))
    measure, read = (
        _measure_parameters(probe.measure, indices, part),
        probe.read,
    )
    if part.target.startswith(BUILTIN_PREFIXES):
        return Probe(measure, lambda measured: _group_names(read(measured)))
    with error_context(part, part.path):
        for name in _names_of(checked(read(trial(Probe(measure, read))))):
            if name in taken:
                raise ValueError(
                    f"its read gave '{name}', which {taken[name].path} gives too; expected another name"
                )
            taken[name] = part
    return Probe(measure, _disable_on_error(read, part))


def _group_names(signals: LogData) -> LogData:
    kinds = (signals.scalars, signals.histograms)
    return LogData(
        *(
            {f"{GROUP}{name.strip('/')}": value for name, value in kind.items()}
            for kind in kinds
        )
    )


def _names_of(signals: LogData) -> list[str]:
    return [*signals.scalars, *signals.histograms]


def checked(data: Any) -> LogData:
    """What a user's probe read, as plain numbers and arrays; raises TypeError or ValueError."""
    expect(data, LogData, "LogData(scalars, histograms) of tftrain.core.types")
    for kind in ("scalars", "histograms"):
        if not isinstance(getattr(data, kind), Mapping):
            raise TypeError(
                f"its read gave {describe_result(getattr(data, kind))} as {kind}; expected a dict"
            )
    if data.images or data.texts:
        raise ValueError(
            "its read gave images or texts; expected scalars and histograms (log.plots are drawn)"
        )
    for name in _names_of(data):
        if not isinstance(name, str) or not name.strip("/ "):
            raise TypeError(
                f"its read named a signal {name!r}; expected a text such as 'my_probe/all'"
            )
    duplicate = next(
        (name for name in data.scalars if name in data.histograms), None
    )
    if duplicate is not None:
        raise ValueError(
            f"its read gave '{duplicate}' both as a scalar and as a histogram; expected two names"
        )
    scalars = {
        name: _check_number(name, value) for name, value in data.scalars.items()
    }
    return LogData(
        scalars,
        {
            name: _check_table(name, rows)
            for name, rows in data.histograms.items()
        },
    )


def _check_number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes)) or np.ndim(value) != 0:
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"its read gave {describe_result(value)} as '{name}'; expected a number"
        ) from None


def _check_table(name: str, rows: Any) -> np.ndarray:
    expected = "[buckets, 3]: left, right, count, all finite"
    try:
        table = np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        raise TypeError(
            f"its read gave {describe_result(rows)} as the histogram '{name}'; expected {expected}"
        ) from None
    if table.size and (
        table.ndim != 2 or table.shape[1] != 3 or not np.isfinite(table).all()
    ):
        kind = (
            "not finite"
            if not np.isfinite(table).all()
            else f"of the shape {list(table.shape)}"
        )
        raise ValueError(
            f"its read gave the histogram '{name}', which is {kind}; expected {expected}"
        )
    return table.reshape(-1, 3)


def _measure_parameters(
    measure: Callable, indices: Sequence[int], part: Component
) -> Callable:
    """Shows a probe the parameters with these indices alone, and takes the blame in its name."""

    def call(step_outputs: StepOutputs) -> Any:
        # In lists of its own, for all probes are given one step_outputs; faults of the graph are told by the scope.
        chosen = {name: getattr(step_outputs, name) for name in _BY_PARAMETER}
        chosen = {
            name: type(values)(values[index] for index in indices)
            for name, values in chosen.items()
        }
        with error_context(part, part.path), tf.name_scope(part.path):
            return measure(
                step_outputs._replace(
                    **chosen, activations=dict(step_outputs.activations)
                )
            )

    return call


def _disable_on_error(read: Callable, part: Component) -> Callable:
    """What cannot be read any more is told, and the run goes on without it."""
    failed: list[Exception] = []

    def call(measured: Any) -> LogData:
        if failed:
            return LogData()
        try:
            with error_context(part, part.path):
                return _group_names(checked(read(measured)))
        except (InputError, UserCodeError) as error:
            failed.append(error)
            warnings.warn(
                f"{error}\nso it is not measured any more", stacklevel=2
            )
            return LogData()

    return call
