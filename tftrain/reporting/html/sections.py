"""The sections of a report: a heading and its content, or None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from tftrain.config.export import ABSENT, differences
from tftrain.reporting.html.clip_stats import ClipStats, clip_stats
from tftrain.reporting.html.curves import curve_images
from tftrain.reporting.html.gradient_map import gradient_map, layer_norms
from tftrain.reporting.html.markup import Markup, element, joined, number, table
from tftrain.reporting.html.run_record import RunRecord
from tftrain.reporting.timing_summary import KINDS
from tftrain.runtime.metric_mode import metric_mode

_PERCENTILES = (5, 50, 95)
_MISSING = "–"
_SPLIT_ORDER = ("test", "validation", "train")
_COUNTS = ("model_step", "train_examples", "seconds", "skipped", "rewinds")


def results(runs: Sequence[RunRecord]) -> Markup:
    """Show how far each run got, and its results; the best of several is marked."""
    states = [
        element("li", element("b", run.name), f": {run.state()}")
        for run in runs
    ]
    state_list = element("ul", *states, class_="states")
    if len(runs) == 1:
        return _results_of_one(runs[0], state_list)
    figures = [run.figures() for run in runs]
    keys = dict.fromkeys(key for figure in figures for key in figure)
    rows = []
    for split, name in sorted(keys, key=lambda key: _SPLIT_ORDER.index(key[0])):
        values = [figure.get((split, name)) for figure in figures]
        rows.append([f"{split} {name}", *_mark_best(name, values)])
    head = ["", *(run.name for run in runs)]
    return _section(
        "Results", state_list, table(head, [*rows, *_count_rows(runs)])
    )


def _results_of_one(run: RunRecord, state_list: Markup) -> Markup:
    figures = run.figures()
    splits = list(dict.fromkeys(split for split, _ in figures))
    names = list(dict.fromkeys(name for _, name in figures))
    rows = [
        [split, *(_format_value(figures.get((split, name))) for name in names)]
        for split in splits
    ]
    metrics = table(["", *names], rows) if rows else None
    counts = table(["", ""], _count_rows([run]), class_="counts")
    return _section("Results", state_list, metrics, counts)


def _count_rows(runs: Sequence[RunRecord]) -> list[list[object]]:
    """A row for steps, seconds and other counts that any run has."""
    rows = [["steps", *(run.steps for run in runs)]]
    for name in _COUNTS:
        values = [run.results.get(name) for run in runs]
        if any(values) or name == "seconds":
            rows.append([name, *map(_format_value, values)])
    return rows


def _mark_best(name: str, values: Sequence[float | None]) -> list[Markup]:
    finite = [
        value for value in values if value is not None and np.isfinite(value)
    ]
    choose_best = max if metric_mode(name) == "max" else min
    best = choose_best(finite, default=None)
    has_different = len(set(finite)) > 1
    cells = []
    for value in values:
        is_best = has_different and value == best
        cells.append(
            element(
                "td", _format_value(value), class_="best" if is_best else None
            )
        )
    return cells


def _format_value(value: float | None) -> object:
    return _MISSING if value is None else number(value)


def settings(runs: Sequence[RunRecord]) -> Markup | None:
    """Show where the configs of runs differ from that of the first one."""
    runs = [run for run in runs if run.config]
    if len(runs) < 2:
        return None
    configs = [_with_tuples(run.config) for run in runs]
    differing = dict.fromkeys(
        path
        for config in configs[1:]
        for path, _, _ in differences(configs[0], config)
    )
    section_index = {section: index for index, section in enumerate(configs[0])}
    paths = sorted(
        _outermost_paths(differing),
        key=lambda path: section_index.get(path[0], len(section_index)),
    )
    title = "What differs between the configs"
    if not paths:
        return _section(
            title, element("p", "Nothing: the configs are the same.")
        )
    rows = []
    for path in paths:
        values = [_value_at(config, path) for config in configs]
        rows.append([_format_path(path), *map(_format_setting, values)])
    head = ["", *(run.name for run in runs)]
    return _section(title, table(head, rows, class_="values"))


def _outermost_paths(
    paths: Collection[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """Those that are not within another: where one run has a value and another a component, that is the row."""
    outermost = []
    for path in paths:
        parents = [path[:length] for length in range(1, len(path))]
        if not any(parent in paths for parent in parents):
            outermost.append(path)
    return outermost


def _value_at(config: Any, path: Sequence[str]) -> Any:
    value = config
    for key in path:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list) and key.isdecimal():
            index = int(key)
            value = value[index] if index < len(value) else ABSENT
        elif isinstance(value, str) and key == "name":
            # A bare name is a component without arguments.
            continue
        else:
            return ABSENT
    return value


def _with_tuples(value: Any) -> Any:
    """A config in which a list of plain values, such as [64, 64], is one value: a tuple."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        if any(isinstance(item, (dict, list)) for item in value):
            return [_with_tuples(item) for item in value]
        return tuple(value)
    return value


def _format_path(path: Sequence[str]) -> Markup:
    """A key path that may break after a dot or an underscore."""
    text = ".".join(path).replace("_", "_\n").replace(".", ".\n")
    parts: list[object] = []
    for part in text.split("\n"):
        parts += [element("wbr"), part]
    return element("code", *parts)


def _format_setting(value: Any) -> Markup:
    """A value as YAML on one line."""
    if value is ABSENT:
        return element("code", _MISSING)
    text = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value,
        default_flow_style=True,
        width=math.inf,
        sort_keys=False,
        allow_unicode=True,
    )
    # YAML ends a document that is a plain value with dots.
    return element("code", text.strip().removesuffix("\n..."))


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
    no_script = element(
        "noscript", "The maps are drawn by a script, which is off."
    )
    return _section("Gradient flow", explanation, legend, no_script, *maps)


def clipping(runs: Sequence[RunRecord]) -> Markup | None:
    """Show how often each clip was active, and by how much it shortened gradients."""
    columns = {}
    for run in runs:
        for clip in clip_stats(run.history):
            name = clip.name if len(runs) == 1 else f"{run.name}: {clip.name}"
            columns[name] = _clip_column(clip)
    if not columns:
        return None
    quantities = next(iter(columns.values()))
    rows = [
        [quantity, *(column[quantity] for column in columns.values())]
        for quantity in quantities
    ]
    explanation = element(
        "p",
        "The factor is the norm after clipping over that before. Factors and norms are"
        " those of the logged steps.",
    )
    return _section("Clipping", explanation, table(["", *columns], rows))


def _clip_column(clip: ClipStats) -> dict[str, object]:
    column: dict[str, object] = {
        "share of steps clipped": element(
            "data", f"{clip.share:.1%}", value=repr(clip.share)
        ),
        "limit at the end": _format_array(clip.limit[-1:]),
    }
    for percentile in _PERCENTILES:
        name = f"factor, {percentile}th percentile"
        column[name] = _format_array(clip.factor, np.percentile, percentile)
    column["norm before, median"] = _format_array(clip.before, np.median)
    column["norm before, largest"] = _format_array(clip.before, np.max)
    column["norm after, median"] = _format_array(clip.after, np.median)
    column["norm after, largest"] = _format_array(clip.after, np.max)
    return column


def _format_array(
    values: np.ndarray, reduce: Any = np.max, *args: float
) -> object:
    if not len(values):
        return _MISSING
    return number(float(reduce(values, *args)), 3)


def incidents(runs: Sequence[RunRecord]) -> Markup | None:
    """Show the text of each step that went wrong."""
    details = []
    for run in runs:
        for step, text in run.incidents.items():
            title = (
                f"step {step}" if len(runs) == 1 else f"{run.name}, step {step}"
            )
            details.append(_details(title, text, is_open=True))
    return _section("Incidents", *details) if details else None


def time(runs: Sequence[RunRecord]) -> Markup | None:
    """Show the seconds of each kind of work, as bars and in a table."""
    seconds_by_run = {}
    for run in runs:
        seconds = run.results.get("time", {})
        if sum(seconds.values()) > 0:
            seconds_by_run[run.name] = seconds
    if not seconds_by_run:
        return None
    used = {kind for seconds in seconds_by_run.values() for kind in seconds}
    ordered = [*KINDS, *sorted(used.difference(KINDS))]
    kinds = [kind for kind in ordered if kind in used]
    bars = []
    for name, seconds in seconds_by_run.items():
        if len(seconds_by_run) > 1:
            bars.append(element("h3", name))
        bars.append(_time_bar(seconds, kinds))
    rows = []
    for index, kind in enumerate(kinds):
        title = joined(element("i", class_=f"b{index}"), kind)
        cells = [
            _time_cell(seconds, kind) for seconds in seconds_by_run.values()
        ]
        rows.append([title, *cells])
    totals = [
        number(sum(seconds.values())) for seconds in seconds_by_run.values()
    ]
    rows.append(["all", *totals])
    head = ["seconds", *seconds_by_run]
    return _section("Where the time went", *bars, table(head, rows))


def _time_bar(seconds: Mapping[str, float], kinds: Sequence[str]) -> Markup:
    parts = [
        element(
            "span",
            class_=f"b{index}",
            style=f"flex:{seconds[kind]:g}",
            title=f"{kind} {seconds[kind]:.4g} s",
        )
        for index, kind in enumerate(kinds)
        if seconds.get(kind)
    ]
    return element("div", *parts, class_="bar", aria_hidden="true")


def _time_cell(seconds: Mapping[str, float], kind: str) -> object:
    if kind not in seconds:
        return _MISSING
    share = seconds[kind] / sum(seconds.values())
    return joined(number(seconds[kind]), f" ({share:.0%})")


def configs(runs: Sequence[RunRecord]) -> Markup | None:
    """Show the full config of each run; that of a single one is open."""
    details = [
        _details(run.name, run.config_text, is_open=len(runs) == 1)
        for run in runs
        if run.config_text
    ]
    if not details:
        return None
    return _section("Config" if len(details) == 1 else "Configs", *details)


def _details(title: str, text: str, is_open: bool) -> Markup:
    return element(
        "details",
        element("summary", title),
        element("pre", text),
        open="" if is_open else None,
    )


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)
