"""Whose the losses are that layers add."""

from __future__ import annotations

from typing import Literal, NamedTuple

import keras

Kind = Literal["mean", "sum", "neither"]  # of the examples of a batch


class Owner(NamedTuple):
    """Which of the losses that a layer adds."""

    layer: keras.Layer
    index: int


def loss_owners(model: keras.Model) -> list[Owner]:
    """Return whose the first of `model.losses` of its last call are; those of weight regularizers come behind them."""
    layers = [model, *model._flatten_layers(include_self=False)]
    return [
        Owner(layer, index)
        for layer in layers
        for index in range(len(layer._get_own_losses()))
    ]
