"""The probes of a config: what is measured in every run, and what else is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tftrain.config import Log
from tftrain.core.parameters import Names
from tftrain.core.types import Moment, Probe, Signals
from tftrain.errors import InputError, UserCodeError, blamed_on
from tftrain.modules import OURS
from tftrain.observers.reservoirs import VALIDATION
from tftrain.parts import Part
from tftrain.probes.activations import activation_signals
from tftrain.probes.gradients import gradient_counts
from tftrain.probes.histograms import ON_BOTH_AXES, histograms
from tftrain.probes.weights import weight_norms
from tftrain.selection import selected
from tftrain.trials import expect, expect_functions, shown

_BY_PARAMETER = ("params", "raw", "grads", "updates", "names")  # what a Moment has of each
# What begins the names of what every run logs of each parameter, layer or clip.
GROUPS = {
    *("grad_norm", "clipped_grad_norm", "grad_share", "update_ratio", "weight_norm", "zero_grads", "nonfinite_grads"),
    *("activation_mean", "activation_std", "zero_activations", "dead_units", "saturated", "clip"),
    *("gradients", "gradients_value", "weights", "updates", "updates_value", "activations"),  # histograms
}


def open_probes(log: Log, names: Names, taken: Iterable[str], trial: Callable[[Probe], Any]) -> list[Probe]:
    """All that is measured. Raises InputError or UserCodeError.

    A user's own is tried before: `trial` gives what it measures of a sample, as arrays. Names that are `taken`, and
    those of GROUPS, it may not use.
    """
    if log.histograms_every == "never":
        return []
    given = {*taken}
    return [*_of_every_run(log), *(_opened(part, names, given, trial) for part in log.probes)]


def _of_every_run(log: Log) -> list[Probe]:
    axes = dict.fromkeys(ON_BOTH_AXES, log.histogram_axis)
    wanted = [(what, axis) for what in log.histograms for axis in axes.get(what, ["value"])]
    counted = ("gradients", "log10")  # histograms of these come with the counts
    return [
        gradient_counts(log10_histograms=counted in wanted),
        weight_norms(),
        activation_signals(),
        *(histograms(*one) for one in wanted if one != counted),
    ]


def _opened(part: Part, names: Names, taken: set[str], trial: Callable[[Probe], Any]) -> Probe:
    indices = selected(part, f"{part.path}.only", part.option("only"), names)
    with blamed_on(part, part.path):
        probe = part.build()
        expect(probe, Probe, "a Probe(measure, read) of tftrain.core.types")
        expect_functions(probe, ("measure", "read"))
    measure, read = _blamed(_limited(probe.measure, indices, names), part), probe.read
    if not part.target.startswith(OURS):
        with blamed_on(part, part.path):
            found = checked(read(trial(Probe(measure, read))), taken)
        read = _lenient(read, frozenset(taken), part)
        taken |= {*found.scalars, *found.histograms}
    return Probe(measure, read)


def checked(found: Any, taken: set[str] | frozenset[str]) -> Signals:
    """What a user's probe read, as plain numbers and arrays; raises TypeError or ValueError."""
    expect(found, Signals, "Signals(scalars, histograms) of tftrain.core.types")
    if found.images or found.texts:
        raise ValueError("its read gave images or texts; expected scalars and histograms (log.pictures are drawn)")
    for name in [*found.scalars, *found.histograms]:
        _expect_free(name, taken)
    scalars = {name: _number(name, value) for name, value in found.scalars.items()}
    return Signals(scalars, {name: _table(name, rows) for name, rows in found.histograms.items()})


def _expect_free(name: Any, taken: set[str] | frozenset[str]) -> None:
    if not isinstance(name, str) or not name.strip("/ "):
        raise TypeError(f"its read named a signal {name!r}; expected a text such as 'my_probe/all'")
    if name in taken or name.partition("/")[0] in GROUPS or name.startswith(VALIDATION):
        raise ValueError(f"its read gave '{name}', which the run logs itself; expected another name")


def _number(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes)) or np.ndim(value) != 0:
        raise TypeError(f"its read gave {shown(value)} as '{name}'; expected a number")
    return float(value)


def _table(name: str, rows: Any) -> np.ndarray:
    table = np.asarray(rows, np.float32)
    if table.ndim != 2 or table.shape[1] != 3:
        message = f"its read gave the histogram '{name}' of the shape {list(table.shape)}; expected [buckets, 3]"
        raise ValueError(f"{message}: left, right, count")
    return table


def _limited(measure: Callable, indices: Sequence[int], names: Names) -> Callable:
    """Shows a probe the parameters with these indices alone."""
    if len(indices) == len(names.trained):
        return measure

    def limited(moment: Moment) -> Any:
        lists = {name: getattr(moment, name) for name in _BY_PARAMETER}
        return measure(moment._replace(**{name: type(one)(one[at] for at in indices) for name, one in lists.items()}))

    return limited


def _blamed(measure: Callable, part: Part) -> Callable:
    def call(moment: Moment) -> Any:
        with blamed_on(part, part.path):
            return measure(moment)

    return call


def _lenient(read: Callable, taken: frozenset[str], part: Part) -> Callable:
    """What cannot be read any more is told, and the run goes on without it."""
    failed: list[Exception] = []

    def call(found: Any) -> Signals:
        if failed:
            return Signals()
        try:
            with blamed_on(part, part.path):
                return checked(read(found), taken)
        except (InputError, UserCodeError) as error:
            failed.append(error)
            warnings.warn(f"{error}\nso it is not measured any more", stacklevel=2)
            return Signals()

    return call
