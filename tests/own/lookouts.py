"""Probes of a user's own."""

from __future__ import annotations

import tensorflow as tf

from tftrain.core.types import Probe, Signals


def directions(scale: float = 1.0):
    """The cosine between each update and the gradient downhill, and how the layers are spread."""
    names = []

    def measure(moment):
        names[:] = moment.names
        cosines = []
        for update, grad in zip(moment.updates, moment.raw, strict=True):
            sizes = tf.norm(update) * tf.norm(grad)
            if sizes > 0:  # followed in the graph
                cosine = -tf.reduce_sum(update * grad) / sizes
            else:
                cosine = tf.zeros([])
            cosines.append(cosine)
        layers = {name: tf.reduce_max(layer.values) for name, layer in moment.activations.items()}
        return {"cosines": tf.stack(cosines), "layers": layers, "loss": moment.loss}

    def read(found):
        scalars = {f"cosine/{name}": scale * value for name, value in zip(names, found["cosines"], strict=True)}
        scalars |= {f"layer_max/{name}": value for name, value in found["layers"].items()}
        return Signals(scalars | {"loss_here": found["loss"]}, {"cosines/all": [[-1.0, 1.0, len(names)]]})

    return Probe(measure, read)


def reading(what: str):
    """Reads what is no signal."""
    given = {
        "nothing": None,
        "loss": Signals({"loss": 1.0}),
        "accuracy": Signals({"accuracy": 1.0}),
        "group": Signals({"grad_norm/mine": 1.0}),
        "validation": Signals({"val_mine": 1.0}),
        "text": Signals({"mine": "high"}),
        "vector": Signals({"mine": [1.0, 2.0]}),
        "unnamed": Signals({1: 1.0}),
        "image": Signals(images={"mine": [[0]]}),
        "histogram": Signals(histograms={"mine/all": [1.0, 2.0]}),
    }
    return Probe(lambda moment: moment.loss, lambda found: given[what])


def same():
    return Probe(lambda moment: moment.loss, lambda found: Signals({"same": found}))


def measuring(what: str):
    """Measures what is no tensor, or raises."""

    def measure(moment):
        return {"object": object()}[what]

    return Probe(measure, lambda found: Signals())


def tiring(after: int = 3):
    """Reads well at first."""
    seen = []

    def read(found):
        seen.append(found)
        return Signals({"rest": 1 / (after - len(seen))})

    return Probe(lambda moment: moment.loss, read)


def number():
    return 3


def half():
    return Probe(lambda moment: moment.loss, None)
