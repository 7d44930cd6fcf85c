"""A process that trains for some steps, and tells how far its memory rose, and the processor time of a step."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmark_gradient import kilobytes

import tftrain
from tftrain.core.schedule import NOTHING_DUE, Segment
from tftrain.trainer.build import build_run

STEPS = 3  # that are timed


def measured(config: Path) -> dict[str, float]:
    """Megabytes above what the process holds before its first step, and processor seconds for each of those after it.

    Needs Linux's /proc.
    """
    run, status = build_run(tftrain.load(config)), Path("/proc/self/status")
    feed = run.data.train

    def steps(first: int, count: int) -> Any:
        return run.compiled_steps.run(
            feed.serve(first, count), [Segment(count, NOTHING_DUE)]
        )

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kilobytes(status, "VmRSS")
    steps(0, 1)
    began = time.process_time()
    steps(1, STEPS)
    seconds = (time.process_time() - began) / STEPS
    return {
        "megabytes": (kilobytes(status, "VmHWM") - before) / 1000,
        "seconds": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]))))
