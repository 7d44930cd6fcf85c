"""Zeros among the gradients, what is not finite, and their histograms, all of one count."""

from __future__ import annotations

import numpy as np

from tftrain.core.numerics import stored_values
from tftrain.core.types import LogData, Probe, StepOutputs
from tftrain.diagnostics.probes.bucket_counts import (
    half_octaves,
    log10_rows,
    nonfinite_of,
    percentiles_of,
    zeros_of,
)
from tftrain.diagnostics.probes.histograms import counted, shown

PERCENTILES = {"absgrad_p05": 5, "absgrad_p50": 50, "absgrad_p95": 95}


def gradient_counts(log10_histograms: bool = False) -> Probe:
    """Of the gradients before the transforms: `zero_grads/<name>`, a share, and `nonfinite_grads/<name>`, a count.

    The second is there only where it is not 0. Of all parameters together: `zero_grad_fraction`, `nonfinite_grads`.
    `absgrad_p05`, `absgrad_p50` and `absgrad_p95` are percentiles of the magnitude of all numbers that are not 0, from
    buckets of half an octave: within 0.05 decades, but for fewer than some hundred numbers.

    The rows that a sparse gradient does not have are zeros; so are denormals, as in TensorFlow. The histograms, where
    wanted, are those of `histograms("gradients", "log10")`, for which nothing more is counted.
    """
    names, sizes = [], []

    def measure(step_outputs: StepOutputs) -> dict:
        order, measured = counted(
            half_octaves, [stored_values(grad) for grad in step_outputs.raw]
        )
        names[:] = [step_outputs.names[place] for place in order]
        sizes[:] = [
            step_outputs.params[place].shape.num_elements() for place in order
        ]
        return measured

    def read(measured: dict) -> LogData:
        if not names:
            return LogData({"zero_grad_fraction": 0.0, "nonfinite_grads": 0.0})
        counts = measured["counts"]
        absent = sizes - counts.sum(axis=1)
        signals = _make_scalars(
            names,
            np.array(sizes),
            zeros_of(counts) + absent,
            nonfinite_of(counts),
        )
        signals = signals.merged(LogData(_magnitude_percentiles(counts)))
        return (
            signals.merged(shown("gradients", names, log10_rows(measured)))
            if log10_histograms
            else signals
        )

    return Probe(measure, read)


def _magnitude_percentiles(counts: np.ndarray) -> dict[str, float]:
    return dict(
        zip(
            PERCENTILES,
            percentiles_of(counts, [*PERCENTILES.values()]),
            strict=False,
        )
    )


def _make_scalars(
    names: list[str],
    sizes: np.ndarray,
    zeros: np.ndarray,
    nonfinite: np.ndarray,
) -> LogData:
    shares = zip(names, (zeros / np.maximum(sizes, 1)).tolist(), strict=True)
    scalars = {f"zero_grads/{name}": share for name, share in shares}
    scalars |= {
        f"nonfinite_grads/{names[place]}": float(nonfinite[place])
        for place in np.flatnonzero(nonfinite)
    }
    scalars |= {
        "zero_grad_fraction": float(zeros.sum() / max(sizes.sum(), 1)),
        "nonfinite_grads": float(nonfinite.sum()),
    }
    return LogData(scalars)
