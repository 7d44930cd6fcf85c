"""Probes of a user's own."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import LogData, Probe


def directions(scale: float = 1.0):
    """The cosine between each update and the gradient downhill, and how the layers are spread."""
    names = []

    def measure(step_outputs):
        names[:] = step_outputs.names
        cosines = []
        for update, grad in zip(
            step_outputs.updates, step_outputs.raw, strict=True
        ):
            sizes = tf.norm(update) * tf.norm(grad)
            if sizes > 0:  # followed in the graph
                cosine = -tf.reduce_sum(update * grad) / sizes
            else:
                cosine = tf.zeros([])
            cosines.append(cosine)
        layers = {
            name: tf.reduce_max(layer.values)
            for name, layer in step_outputs.activations.items()
        }
        return {
            "cosines": tf.stack(cosines),
            "layers": layers,
            "loss": step_outputs.loss,
        }

    def read(found):
        scalars = {
            f"cosine/{name}": scale * value
            for name, value in zip(names, found["cosines"], strict=True)
        }
        scalars |= {
            f"layer_max/{name}": value
            for name, value in found["layers"].items()
        }
        return LogData(
            scalars | {"loss_here": found["loss"]},
            {"cosines/all": [[-1.0, 1.0, len(names)]]},
        )

    return Probe(measure, read)


def reading(what: str):
    """Reads what is no signal."""
    given = {
        "nothing": None,
        "text": LogData({"mine": "high"}),
        "vector": LogData({"mine": [1.0, 2.0]}),
        "unnamed": LogData({1: 1.0}),
        "image": LogData(images={"mine": [[0]]}),
        "histogram": LogData(histograms={"mine/all": [1.0, 2.0]}),
        "endless": LogData(histograms={"mine/all": [[0.0, float("inf"), 2.0]]}),
        "ragged": LogData(histograms={"mine/all": [[0.0], [1.0, 2.0]]}),
        "both": LogData({"mine": 1.0}, {"mine": [[0.0, 1.0, 2.0]]}),
        "none": LogData({"mine": None}),
        "nodict": LogData(None),
    }
    return Probe(
        lambda step_outputs: step_outputs.loss, lambda found: given[what]
    )


def same():
    return Probe(
        lambda step_outputs: step_outputs.loss,
        lambda found: LogData({"same": found}),
    )


def measuring(what: str):
    """Measures what is no tensor, or raises."""

    def measure(step_outputs):
        return {"object": object()}[what]

    return Probe(measure, lambda found: LogData())


def tiring(after: int = 3):
    """Reads well at first."""
    seen = []

    def read(found):
        seen.append(found)
        return LogData({"rest": 1 / (after - len(seen))})

    return Probe(lambda step_outputs: step_outputs.loss, read)


def of_examples():
    """A number for each example, masks, half precision, and what may be nothing at all."""

    def measure(step_outputs):
        best = tf.reduce_max(step_outputs.outputs, axis=-1)
        found = {
            "best": best,
            "mean": tf.reduce_mean(best),
            "above": best > 0,
            "count": tf.math.count_nonzero(best > 0),
        }
        return found | {
            "few": tf.boolean_mask(best, best > 1e9),
            "half": tf.constant(1 / 3, tf.float16),
        }

    def read(found):
        assert found["above"].dtype == bool and found["half"].dtype == "float16"
        told = {
            "examples": len(found["best"]),
            "mean": found["best"].mean(),
            "mean_in_graph": found["mean"],
        }
        told |= {
            "above": (found["best"][found["above"]]).size,
            "above_in_graph": found["count"],
        }
        return LogData(told | {"few": len(found["few"]), "half": found["half"]})

    return Probe(measure, read)


def kinds():
    def measure(step_outputs):
        return tf.constant(
            [isinstance(grad, tf.IndexedSlices) for grad in step_outputs.raw]
        )

    return Probe(measure, lambda found: LogData({"sparse": found.sum()}))


def square():
    """Goes with the sample, and with no batch of another size."""
    return Probe(
        lambda step_outputs: tf.reshape(step_outputs.outputs, [20, 2]),
        lambda found: LogData(),
    )


def number():
    return 3


def half():
    return Probe(lambda step_outputs: step_outputs.loss, None)


def printing():
    """Does in the graph what XLA cannot."""

    def measure(step_outputs):
        tf.print("the loss is", step_outputs.loss)
        return step_outputs.loss

    return Probe(measure, lambda found: LogData({"loss": found}))
