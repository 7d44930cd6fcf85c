"""Every variable that changes while training, owned in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tftrain.core.guards import SpikeDetector
from tftrain.core.types import Rate, Transform, Tree
from tftrain.core.variables import ON_FIRST_REPLICA, buffers_of


class HostState:
    """A text that a checkpoint holds; as a variable it could not be made where there are several workers."""

    def __init__(self, text: str):
        self.text = text


class TrainState:
    """The owner of all that changes; while training, only the step writes it.

    `buffers` are the model's variables that its forward pass changes (moving averages, dropout seeds), `host` holds
    what the host must remember, as JSON. The model must be built. The optimizer is built here. A LossScale and Averages
    of the parameters are there where the run asks for them; without a NormRange no finite gradient is a spike.
    """

    is_whole = True  # a checkpoint holds nothing else

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        transform: Transform,
        rate: Rate,
        *,
        metrics: Sequence[Any] = (),
        carry: Tree = (),
        loss_scale: Any = None,
        averages: Any = None,
        norm_range: SpikeDetector | None = None,
    ):
        if not model.trainable_variables:
            raise ValueError(
                f"the model '{model.name}' has no trainable variables: is it built, and not frozen?"
            )
        optimizer.build(model.trainable_variables)
        self.model = model
        self.optimizer = optimizer
        self.metrics = tuple(metrics)
        self.buffers = buffers_of(model)
        params = [variable.value for variable in model.trainable_variables]
        self.transform = _make_variables(transform.init(params))
        self.rate = _make_variables(rate.init())
        self.carry = _make_variables(carry)
        self.loss_scale = loss_scale
        self.averages = averages
        self.norm_range = norm_range or SpikeDetector()
        self.step = tf.Variable(
            0, dtype=tf.int64, name="step", **ON_FIRST_REPLICA
        )
        self.host = HostState("{}")

    def variables_by_name(self) -> dict[str, tf.Variable]:
        """Every variable by a name such as `model/000_kernel`, the same in each process that builds the same run.

        The names count positions, because Keras numbers layers and seed generators anew with every model.
        """
        metrics = [
            variable for metric in self.metrics for variable in metric.variables
        ]
        groups = {
            # The model lists its seed generators too, which a tf.train.Checkpoint of the model would leave out.
            "model": [
                (variable.name, variable.value)
                for variable in self.model.variables
            ],
            "optimizer": [
                ("", variable.value) for variable in self.optimizer.variables
            ],
            "metrics": [
                (variable.name, variable.value) for variable in metrics
            ],
            "transform": [
                ("", variable) for variable in tf.nest.flatten(self.transform)
            ],
            "rate": [("", variable) for variable in tf.nest.flatten(self.rate)],
            "carry": [
                ("", variable) for variable in tf.nest.flatten(self.carry)
            ],
            "loss_scale": [
                ("", variable)
                for variable in (
                    self.loss_scale.variables if self.loss_scale else ()
                )
            ],
            "norm_range": [
                ("", variable) for variable in self.norm_range.variables
            ],
            "average": [
                ("", variable)
                for variable in (
                    self.averages.variables if self.averages else ()
                )
            ],
        }
        named = {
            f"{group}/{_position_key(index, name)}": variable
            for group, members in groups.items()
            for index, (name, variable) in enumerate(members)
        }
        return named | {"step": self.step}


class ModelState:
    """The model alone of what a checkpoint holds, to be read from there; `averaged` are read from the averages."""

    is_whole = False

    def __init__(self, model: Any, averaged: Sequence[Any] = ()):
        self.model = model
        self._averaged = {
            id(variable): index for index, variable in enumerate(averaged)
        }
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self.host = HostState("{}")

    def variables_by_name(self) -> dict[str, tf.Variable]:
        """Every variable of the model, by its name in the checkpoint of a TrainState."""
        variables = {}
        for index, variable in enumerate(self.model.variables):
            name = f"model/{_position_key(index, variable.name)}"
            if id(variable.value) in self._averaged:
                name = f"average/{_position_key(self._averaged[id(variable.value)], '')}"
            variables[name] = variable.value
        return variables | {"step": self.step}


def _make_variables(tree: Tree) -> Tree:
    return tf.nest.map_structure(
        lambda value: tf.Variable(value, **ON_FIRST_REPLICA), tree
    )


def _position_key(index: int, name: str) -> str:
    return f"{index:03d}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}".rstrip("_")
