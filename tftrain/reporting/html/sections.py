"""The parts of a report, each a heading and what is under it; None where there is nothing to tell."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from tftrain.config.export import ABSENT, differences
from tftrain.reporting.html.curves import curve_images
from tftrain.reporting.html.gradient_map import gradient_map, layer_norms
from tftrain.reporting.html.markup import Markup, element, joined, number, table
from tftrain.reporting.html.run_record import RunRecord
from tftrain.reporting.metrics_file import Series
from tftrain.reporting.timing_summary import KINDS
from tftrain.runtime.metric_mode import metric_mode

_PERCENTILES = (5, 50, 95)
_NONE = "–"


def results(runs: Sequence[RunRecord]) -> Markup:
    """How far each run got, and what it came to; the best of several is marked."""
    figures = [run.figures() for run in runs]
    told = element(
        "ul",
        *(element("li", element("b", run.name), f": {run.state()}") for run in runs),
        class_="states",
    )
    if len(runs) == 1:
        [only] = figures
        names = list(dict.fromkeys(name for _, name in only))
        splits = list(dict.fromkeys(split for split, _ in only))
        rows = [
            [split, *(_shown(only.get((split, name))) for name in names)]
            for split in splits
        ]
        shown = table(["", *names], rows) if rows else None
        return _section(
            "Results", told, shown, table(["", ""], _counts(runs), class_="counts")
        )
    keys = list(dict.fromkeys(key for one in figures for key in one))
    rows = [
        [" ".join(key), *_compared(key[1], [one.get(key) for one in figures])]
        for key in sorted(keys, key=_order)
    ]
    return _section(
        "Results",
        told,
        table(["", *(run.name for run in runs)], [*rows, *_counts(runs)]),
    )


def _order(key: tuple[str, str]) -> int:
    return ("test", "validation", "train").index(key[0])


def _counts(runs: Sequence[RunRecord]) -> list[list[object]]:
    """Steps, seconds and the like, a row each, of those that are known of any run."""
    rows = [["steps", *(run.steps for run in runs)]]
    for name in ("model_step", "train_examples", "seconds", "skipped", "rewinds"):
        values = [run.results.get(name) for run in runs]
        if any(values) or name == "seconds":
            rows.append([name, *map(_shown, values)])
    return rows


def _compared(name: str, values: Sequence[float | None]) -> list[Markup]:
    finite = [value for value in values if value is not None and np.isfinite(value)]
    best = (max if metric_mode(name) == "max" else min)(finite, default=None)
    several = len(set(finite)) > 1
    return [
        element("td", _shown(one), class_="best" if several and one == best else None)
        for one in values
    ]


def _shown(value: float | None) -> object:
    return _NONE if value is None else number(value)


def settings(runs: Sequence[RunRecord]) -> Markup | None:
    """Where the configs of runs differ, a row for each value; the first run is the one they are compared with."""
    runs = [run for run in runs if run.config]
    if len(runs) < 2:
        return None
    configs = [_whole_lists(run.config) for run in runs]
    differing = dict.fromkeys(
        path for one in configs[1:] for path, _, _ in differences(configs[0], one)
    )
    order = {section: place for place, section in enumerate(configs[0])}
    paths = sorted(
        _outermost(differing), key=lambda path: order.get(path[0], len(order))
    )
    rows = [
        [_path(path), *(_code(_at(one, path)) for one in configs)] for path in paths
    ]
    same = element("p", "Nothing: the configs are the same.")
    shown = (
        table(["", *(run.name for run in runs)], rows, class_="values")
        if rows
        else same
    )
    return _section("What differs between the configs", shown)


def _outermost(paths: Collection[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those that are not within another one: where one run has a value and another one a part, the part is the row."""
    return [
        path
        for path in paths
        if not any(path[:length] in paths for length in range(1, len(path)))
    ]


def _at(config: Any, path: Sequence[str]) -> Any:
    for key in path:
        if isinstance(config, dict):
            config = config.get(key, ABSENT)
        elif isinstance(config, list) and key.isdecimal():
            config = config[int(key)] if int(key) < len(config) else ABSENT
        elif (
            not isinstance(config, str) or key != "name"
        ):  # a bare name is a part without arguments
            return ABSENT
    return config


def _whole_lists(value: Any) -> Any:
    """A config in which a list of plain values, such as [64, 64], is one value: a tuple."""
    if isinstance(value, dict):
        return {key: _whole_lists(inner) for key, inner in value.items()}
    if isinstance(value, list):
        inner = any(isinstance(one, (dict, list)) for one in value)
        return [_whole_lists(one) for one in value] if inner else tuple(value)
    return value


def _path(path: Sequence[str]) -> Markup:
    """A key path that may break after a dot or an underscore."""
    words = ".".join(path).replace("_", "_\n").replace(".", ".\n").split("\n")
    return element("code", *(part for word in words for part in (element("wbr"), word)))


def _code(value: Any) -> Markup:
    return element("code", _NONE if value is ABSENT else _written(value))


def _written(value: Any) -> str:
    """A value as YAML on one line."""
    listed = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(
        listed,
        default_flow_style=True,
        width=math.inf,
        sort_keys=False,
        allow_unicode=True,
    )
    return text.strip().removesuffix("\n...")  # which ends a value that stands alone


def curves(runs: Sequence[RunRecord]) -> Markup | None:
    """Show loss, metrics, gradient norms and learning rate over the steps."""
    images = curve_images(runs)
    if not images:
        return None
    return _section("Curves", element("div", *images, class_="charts"))


def gradient_flow(runs: Sequence[RunRecord]) -> Markup | None:
    """Show each layer's gradient norm before clipping; all runs share one colour scale."""
    norms_by_run = {run.name: layer_norms(run.history) for run in runs}
    maps = [
        gradient_map(name, norms)
        for name, norms in norms_by_run.items()
        if norms is not None
    ]
    if not maps:
        return None
    explanation = element(
        "p",
        "The norm of each layer's gradient before clipping, over the steps; the first"
        " layer is at the top.",
    )
    legend = element("div", id="gradient-legend")
    no_script = element("noscript", "The maps are drawn by a script, which is off.")
    return _section("Gradient flow", explanation, legend, no_script, *maps)


def clipping(runs: Sequence[RunRecord]) -> Markup | None:
    """How often each clip bit, and by how much."""
    told = {
        clip.name if len(runs) == 1 else f"{run.name}: {clip.name}": _clip(clip)
        for run in runs
        for clip in clips(run.history)
    }
    if not told:
        return None
    rows = [
        [name, *(one[name] for one in told.values())]
        for name in next(iter(told.values()))
    ]
    words = "The factor is the norm after clipping by that before. Factors and norms are those of the logged steps."
    return _section("Clipping", element("p", words), table(["", *told], rows))


def _clip(clip: ClipStats) -> dict[str, object]:
    def of(values: np.ndarray, what: Any) -> object:
        return number(float(what(values)), 3) if len(values) else _NONE

    factors = {
        f"factor, {share}th percentile": of(
            clip.factor, lambda values, share=share: np.percentile(values, share)
        )
        for share in _PERCENTILES
    }
    return {
        "share of steps clipped": element(
            "data", f"{clip.share:.1%}", value=repr(clip.share)
        ),
        "limit at the end": of(clip.limit, lambda values: values[-1]),
        **factors,
        "norm before, median": of(clip.before, np.median),
        "norm before, largest": of(clip.before, np.max),
        "norm after, median": of(clip.after, np.median),
        "norm after, largest": of(clip.after, np.max),
    }


def incidents(runs: Sequence[RunRecord]) -> Markup | None:
    """The text of each step that went wrong."""
    told = [
        element(
            "details",
            element("summary", _incident_title(run, step, len(runs) > 1)),
            element("pre", text),
            open="",
        )
        for run in runs
        for step, text in run.incidents.items()
    ]
    return _section("Incidents", *told) if told else None


def _incident_title(run: RunRecord, step: str, several: bool) -> str:
    return f"{run.name}, step {step}" if several else f"step {step}"


def time(runs: Sequence[RunRecord]) -> Markup | None:
    """Seconds by kind of work, as bars and in numbers."""
    spent = {run.name: run.results.get("time", {}) for run in runs}
    spent = {name: one for name, one in spent.items() if sum(one.values()) > 0}
    if not spent:
        return None
    used = {kind for one in spent.values() for kind in one}
    kinds = [kind for kind in (*KINDS, *sorted(used.difference(KINDS))) if kind in used]
    bars = [
        joined(element("h3", name) if len(spent) > 1 else None, _bar(one, kinds))
        for name, one in spent.items()
    ]
    head = ["seconds", *spent]
    rows = [
        [
            joined(element("i", class_=f"b{place}"), kind),
            *(_seconds(one, kind) for one in spent.values()),
        ]
        for place, kind in enumerate(kinds)
    ]
    total = ["all", *(number(sum(one.values())) for one in spent.values())]
    return _section("Where the time went", *bars, table(head, [*rows, total]))


def _bar(seconds: Mapping[str, float], kinds: Sequence[str]) -> Markup:
    parts = [
        element(
            "span",
            class_=f"b{place}",
            style=f"flex:{seconds[kind]:g}",
            title=f"{kind} {seconds[kind]:.4g} s",
        )
        for place, kind in enumerate(kinds)
        if seconds.get(kind)
    ]
    return element("div", *parts, class_="bar", aria_hidden="true")


def _seconds(seconds: Mapping[str, float], kind: str) -> object:
    if kind not in seconds:
        return _NONE
    return joined(
        number(seconds[kind]), f" ({seconds[kind] / sum(seconds.values()):.0%})"
    )


def configs(runs: Sequence[RunRecord]) -> Markup | None:
    """The whole config of each run; that of a single one is open."""
    told = [
        element(
            "details",
            element("summary", run.name),
            element("pre", run.config_text),
            open="" if len(runs) == 1 else None,
        )
        for run in runs
        if run.config_text
    ]
    return _section("Config" if len(told) == 1 else "Configs", *told) if told else None


def _section(title: str, *inside: object) -> Markup:
    return element("section", element("h2", title), *inside)


_BEFORE = re.compile(r"(clip/.+)/norm_before")


class ClipStats(NamedTuple):
    """One clip, or all of them: the share of steps that were clipped, and the numbers of the points."""

    name: str
    share: float
    factor: np.ndarray
    before: np.ndarray
    after: np.ndarray
    limit: np.ndarray  # empty where there is none


def clips(history: Mapping[str, Series]) -> list[ClipStats]:
    """Each clip of a run, in their order."""
    names = [
        match[1]
        for name in history
        if (match := _BEFORE.fullmatch(name)) and f"{match[1]}/rate" in history
    ]
    return [
        ClipStats(
            name.removeprefix("clip/"),
            clipped_share(history[f"{name}/rate"]),
            *(
                _finite(history.get(f"{name}/{part}"))
                for part in ("factor", "norm_before", "norm_after", "limit")
            ),
        )
        for name in names
    ]


def clipped_share(rate: Series) -> float:
    """Of all steps; each point's rate is that of the steps since the point before it."""
    since = np.diff(rate.steps, prepend=0)
    told = np.isfinite(rate.values)
    return float(np.sum(rate.values[told] * since[told]) / max(np.sum(since[told]), 1))


def _finite(series: Series | None) -> np.ndarray:
    return np.empty(0) if series is None else series.values[np.isfinite(series.values)]
