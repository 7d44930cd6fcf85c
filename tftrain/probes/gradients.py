"""Zeros among the gradients, and what is not finite."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.sparse import values_of
from tftrain.core.types import Moment, Probe, Signals, Tensor
from tftrain.probes.buckets import half_octaves, nonfinite_of, zeros_of


def gradient_counts() -> Probe:
    """Of the gradients before the transforms: `zero_grads/<name>`, a share, and `nonfinite_grads/<name>`, a count.

    The second is there only where it is not 0. Of all parameters together: `zero_grad_fraction`, `nonfinite_grads`.
    The rows that a sparse gradient does not have are zeros; so are denormals, as in TensorFlow.
    """

    def measure(moment: Moment) -> dict:
        named = zip(moment.names, moment.raw, moment.params, strict=True)
        return {name: _measure(values_of(grad), tf.size(param, tf.int64)) for name, grad, param in named}

    def read(measured: dict) -> Signals:
        scalars = {f"zero_grads/{name}": _share([found]) for name, found in measured.items()}
        wrong = {name: float(found["nonfinite"]) for name, found in measured.items() if found["nonfinite"]}
        scalars |= {f"nonfinite_grads/{name}": count for name, count in wrong.items()}
        return Signals(
            scalars | {"zero_grad_fraction": _share(measured.values()), "nonfinite_grads": sum(wrong.values(), 0.0)}
        )

    return Probe(measure, read)


def _measure(values: Tensor, size: Tensor) -> dict[str, Tensor]:
    counts = half_octaves(values)  # the same operation as for histograms, so that it is done once where both are wanted
    absent = size - tf.size(values, tf.int64)
    return {
        "zeros": tf.cast(zeros_of(counts), tf.int64) + absent,
        "nonfinite": nonfinite_of(counts),
        "size": size,
    }


def _share(found: list[dict]) -> float:
    return float(sum(one["zeros"] for one in found) / max(sum(one["size"] for one in found), 1))
