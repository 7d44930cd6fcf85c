"""A process that looks at one large gradient in several ways, and tells the time or the memory that each one took."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrain.core.numerics import norms
from tftrain.core.types import StepOutputs
from tftrain.diagnostics.probes.gradient_stats import gradient_counts

MOMENT_SECONDS = 0.3


def programs(folder: str) -> dict[str, Any]:
    """Each method as a graph that takes a gradient and gives a small tensor."""
    probe = gradient_counts(log10_histograms=True)
    writer = tf.summary.create_file_writer(folder)

    def probed(grad):
        moment = StepOutputs(
            tf.constant(0.0),
            (),
            [grad],
            [grad],
            [grad],
            [grad],
            ("dense/kernel",),
        )
        return probe.measure(moment)

    def stock(grad):
        with writer.as_default(0):
            return tf.summary.histogram("dense/kernel", grad)

    wanted = {
        "norm": lambda grad: norms([grad]),
        "plain_norm": tf.norm,
        "tftrain": probed,
        "stock": stock,
    }
    signature = [tf.TensorSpec([None], tf.float32)]
    return {
        name: tf.function(one, input_signature=signature)
        for name, one in wanted.items()
    }


def gradient(elements: int) -> np.ndarray:
    """Normal numbers, made without memory beside their own, which a method could then use again."""
    found = np.random.default_rng(0).standard_normal(elements, np.float32)
    found *= 1e-3
    return found


def finish(result: Any) -> None:
    tf.nest.map_structure(lambda tensor: tensor.numpy(), result)


def times(elements: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each method, round by round, after one round that does not count."""
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        methods = programs(folder)
        grad = tf.constant(gradient(elements))
        for turn in range(1 + repeats):
            for name, method in methods.items():
                seconds = mean_seconds(
                    lambda method=method: finish(method(grad))
                )
                if turn:
                    taken.setdefault(name, []).append(seconds)
    return taken


def mean_seconds(work: Callable[[], None]) -> float:
    """The time that it takes, of as many calls as go into a moment."""
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < MOMENT_SECONDS:
        work()
        calls += 1
    return (time.perf_counter() - began) / calls


def extra_megabytes(elements: int, method: str) -> float | None:
    """How far the memory of this process rises above what it holds; None where Linux's /proc is missing."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    numbers = gradient(elements)
    with tempfile.TemporaryDirectory() as folder:
        program, grad = programs(folder)[method], tf.constant(numbers)
        finish(program(tf.constant(numbers[:1000])))
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = kilobytes(status, "VmRSS")
        finish(program(grad))
        return (kilobytes(status, "VmHWM") - before) / 1000


def kilobytes(status: Path, name: str) -> int:
    return int(
        re.search(
            rf"^{name}:\s+(\d+) kB$",
            status.read_text(encoding="utf-8"),
            re.MULTILINE,
        )[1]
    )


if __name__ == "__main__":
    what, elements, argument = sys.argv[1:]
    found = (
        times(int(elements), int(argument))
        if what == "time"
        else extra_megabytes(int(elements), argument)
    )
    print(json.dumps(found))
