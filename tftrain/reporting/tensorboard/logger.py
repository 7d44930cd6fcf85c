"""Writes the signals of a run as TensorBoard event files: training in the run's folder, validation in `val/` there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_TENSOR,
)

from tftrain.core.types import LogData
from tftrain.reporting.tensorboard.event_file import (
    EventFile,
    ScalarValues,
    float_tensors,
    safe_tag,
)
from tftrain.reporting.tensorboard.gradient_tensors import table_values
from tftrain.reporting.tensorboard.summaries import (
    SummaryValue,
    strings_tensor,
    text_note,
    value_metadata,
)
from tftrain.runtime.atomic_files import make_folder, raising_write_error

# TensorBoard has no logarithmic axis that is kept, and gradient norms span many decades: their log10 is drawn.
LOG10 = (
    "grad_norm",
    "grad_norm_max",
    "clipped_grad_norm",
    "update_ratio",
)  # `log10_` stands before their names
PERCENTILES = {
    "absgrad_p05": "p05",
    "absgrad_p50": "p50",
    "absgrad_p95": "p95",
}  # log10 too
GLOBAL_LIMIT = re.compile(r"clip/([^/]*(?:global_norm|percentile)[^/]*)/limit")
CLIP_NORM = re.compile(r"clip/(.+)/(norm_before|norm_after)")
# TensorBoard opens the first two groups. After Overview that should be the histograms of gradients, so what would stand
# before them has a name further down the alphabet.
HISTOGRAMS = {
    "gradients": "grad_hist_log10",
    "gradients_value": "grad_hist",
    "updates": "update_hist_log10",
    "updates_value": "update_hist",
    "weights": "weight_hist",
    "activations": "layer_hist",
}
GROUPS = {
    "clip": "transforms/clip",
    "activation_mean": "layer_mean",
    "activation_std": "layer_std",
    "dead_units": "layer_dead",
    "saturated": "layer_saturated",
    "zero_activations": "layer_zeros",
}
DEPTH_RATIO = "depth_ratio"  # log10 too, which its name tells by the unit
NAMES = {
    DEPTH_RATIO: "Overview/depth_ratio_decades",
    "zero_grad_fraction": "zero_grads/all",
    "nonfinite_grads": "nonfinite_grads/all",
}
VALIDATION = "val_"
NOT_DRAWN = ("epoch",)  # a straight line


class Curves:
    """What one run of TensorBoard draws of the scalars of a point: for each tag, which of them, and if as log10."""

    def __init__(self, drawn: Mapping[str, tuple[int, bool]]):
        self.tags = [*drawn]
        indices, log10 = zip(*drawn.values(), strict=True)
        self._indices = np.array(indices)
        self._log10 = np.array(log10)
        self._values = ScalarValues(self.tags)

    def numbers(self, scalars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of each tag, and whether it is drawn: a log10 of 0 is not, one of less is NaN."""
        values = scalars[self._indices]
        is_drawn = ~self._log10 | (values != 0)
        values[self._log10] = np.log10(values[self._log10])
        return values, is_drawn

    def encode(self, scalars: np.ndarray, file: EventFile) -> bytes:
        """Return the values of a summary.

        Args:
            scalars: of the point, [scalars].
            file: the event file that they are for.
        """
        return file.scalars(self._values, *self.numbers(scalars))


def tags(scalars: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Maps flat names to TensorBoard's: {run: {tag: value}}, where run is "" for training and "val" for validation.

    The log10 of a norm that is 0 is left out; NaN and infinity stay what they are.
    """
    runs: dict[str, dict[str, float]] = {"": {}, "val": {}}
    for run, curves in _curves_of_runs(tuple(scalars)).items():
        with np.errstate(all="ignore"):
            numbers, is_drawn = curves.numbers(_to_array(scalars))
        runs[run] = {
            tag: float(numbers[index])
            for index, tag in enumerate(curves.tags)
            if is_drawn[index]
        }
    return runs


def fenced_yaml(text: str) -> str:
    """Returns YAML text as the Markdown that TensorBoard's Text page shows as it stands."""
    return f"```yaml\n{text.rstrip()}\n```\n"


class TensorBoardLogger:
    """An observer that owns a run's event files; each session of a run opens new ones.

    It begins with the `notes`; `graph` is a GraphDef, `sizes` how many numbers each parameter has. Of an earlier
    session the points up to `start_step` stay.
    """

    def __init__(
        self,
        folder: Path,
        notes: Sequence[SummaryValue] = (),
        graph: Any = None,
        start_step: int = 0,
        sizes: Mapping[str, int] | None = None,
    ):
        self._sizes = sizes or {}
        self._folder = Path(folder)
        self._start_step = start_step
        self._files: dict[str, EventFile] = {}
        self._histogram_tags: dict[str, str] = {}
        file = self._file("")
        file.write(start_step, b"".join(file.tensor(*note) for note in notes))
        if graph is not None:
            file.write_graph(graph)
        if (self._folder / "val").exists():
            self._file(
                "val"
            )  # so that points of an earlier session are dropped before the next validation
        self.flush()

    def __call__(self, step: int, signals: LogData) -> None:
        with np.errstate(
            all="ignore"
        ):  # what is not finite, or too large for float32, is drawn as such
            numbers = _to_array(signals.scalars)
            curves = _curves_of_runs(tuple(signals.scalars))
            runs = {
                run: [drawn.encode(numbers, self._file(run))]
                for run, drawn in curves.items()
            }
            table = table_values(
                self._file(""), signals.scalars, numbers, self._sizes
            )
            runs.setdefault("", []).extend([*self._others(signals), table])
        for run, values in runs.items():
            self._file(run).write(step, b"".join(values))

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def sync(self) -> None:
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _others(self, signals: LogData) -> list[bytes]:
        """The values of all that is no scalar."""
        file = self._file("")
        filled = _filled_histograms(signals.histograms)
        histograms = zip(filled, float_tensors([*filled.values()]), strict=True)
        return [
            *(
                file.tensor(self._histogram_tag(name), tensor, _HISTOGRAM)
                for name, tensor in histograms
            ),
            *(
                _image(file, name, pixels)
                for name, pixels in signals.images.items()
            ),
            *(
                file.tensor(*text_note(name, text))
                for name, text in signals.texts.items()
            ),
        ]

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            folder = self._folder / run
            if run:
                with raising_write_error(folder):
                    make_folder(folder)
            self._files[run] = EventFile(folder, self._start_step)
        return self._files[run]

    def _histogram_tag(self, name: str) -> str:
        if name not in self._histogram_tags:
            head, _, suffix = name.partition("/")
            self._histogram_tags[name] = safe_tag(
                f"{HISTOGRAMS.get(head, head)}/{suffix}"
            )
        return self._histogram_tags[name]


@lru_cache(maxsize=16)
def _curves_of_runs(names: tuple[str, ...]) -> dict[str, Curves]:
    """What each run draws of scalars with these names."""
    runs: dict[str, dict[str, tuple[int, bool]]] = {}
    many_limits = (
        sum(GLOBAL_LIMIT.fullmatch(name) is not None for name in names) > 1
    )
    for index, name in enumerate(names):
        if name not in NOT_DRAWN:
            run = "val" if name.startswith(VALIDATION) else ""
            for tag, log10 in _tags_of(
                name.removeprefix(VALIDATION), many_limits
            ):
                runs.setdefault(run, {})[tag] = index, log10
    return {run: Curves(drawn) for run, drawn in runs.items()}


def _to_array(scalars: Mapping[str, float]) -> np.ndarray:
    return np.fromiter(scalars.values(), np.float64, len(scalars))


@cache
def _tags_of(name: str, many_limits: bool) -> list[tuple[str, bool]]:
    """A scalar's tags, and whether it is drawn as log10; the limit of all gradients is beside their norms too."""
    limit = GLOBAL_LIMIT.fullmatch(name)
    overview_tags = (
        [
            (
                safe_tag(
                    "Overview/log10_clip_limit"
                    + (f"_{limit[1]}" if many_limits else "")
                ),
                True,
            )
        ]
        if limit
        else []
    )
    return [*overview_tags, _main_tag(name)]


def _main_tag(name: str) -> tuple[str, bool]:
    head, _, suffix = name.partition("/")
    norm = CLIP_NORM.fullmatch(name)
    log10 = True
    if (
        head in PERCENTILES
    ):  # which so stand behind the loss: the first page has twelve curves, in the order of letters
        tag = f"Overview/{PERCENTILES[head]}_log10_absgrad"
    elif head in LOG10:
        tag = f"log10_{head}/{suffix}" if suffix else f"Overview/log10_{head}"
    elif norm:
        tag = f"transforms/clip/{norm[1]}/log10_{norm[2]}"
    else:
        log10 = name == DEPTH_RATIO
        tag = (
            f"{GROUPS.get(head, head)}/{suffix}"
            if suffix
            else NAMES.get(name, f"Overview/{name}")
        )
    return safe_tag(tag), log10


def _filled_histograms(histograms: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Those that count anything: an empty one would be drawn as a false line at 0."""
    tables = {name: rows for name, rows in histograms.items() if len(rows)}
    if not tables:
        return {}
    counts = np.concatenate([*tables.values()])[:, 2]
    starts = np.cumsum([0, *map(len, tables.values())])[:-1]
    is_filled = np.logical_or.reduceat(counts != 0, starts).tolist()
    return {
        name: rows
        for (name, rows), keep in zip(tables.items(), is_filled, strict=True)
        if keep
    }


def _image(file: EventFile, name: str, pixels: Any) -> bytes:
    """Returns uint8 pixels [height, width, channels] as TensorBoard's image: width, height and a PNG."""
    pixels = np.asarray(pixels, np.uint8)
    height, width = pixels.shape[:2]
    content = [
        str(width).encode(),
        str(height).encode(),
        tf.io.encode_png(pixels).numpy(),
    ]
    return file.tensor(
        safe_tag(name if "/" in name else f"Overview/{name}"),
        strings_tensor(content),
        _IMAGE,
    )


_HISTOGRAM = value_metadata("histograms", DATA_CLASS_TENSOR)
_IMAGE = value_metadata("images", DATA_CLASS_BLOB_SEQUENCE)
