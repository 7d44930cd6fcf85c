"""Real-time recurrent learning: the gradient goes forward through time with the states, and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from tftrain.config.field_types import PositiveInt
from tftrain.core.layer_hooks import patched_attribute
from tftrain.core.recurrent import LOOP, first_carry, recurrent_layers
from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    StatefulMethod,
    Tensor,
    Tree,
)
from tftrain.optim.gradients.backprop import dense_or_zeros
from tftrain.optim.gradients.method_traits import method_traits

_CELLS = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
_MIB = 2**20


class _Seen(NamedTuple):
    """What the recurrent layer did: its states [time + 1, batch, states], from the first on, and what it gave."""

    sequences: Tensor
    begun: list[Tensor]
    states: Tensor
    outputs: Tensor


@method_traits(has_backward_pass=False, synchronizes_passes=False)
def rtrl(
    update: Literal["step", "sequence"] = "sequence",
    memory_limit_mib: PositiveInt = 1024,
    *,
    names: Sequence[str],
    model: Any,
    rows: int,
) -> GradientMethod | StatefulMethod:
    """The gradient of one recurrent layer by forward sensitivities, as exact as back-propagation through time.

    The derivative of each state by each parameter, `[batch, states, parameters]`, is carried forward with the states.
    With an update for each `step`, the weights move at every time step, and the sensitivities go on as if they had not
    (R. J. Williams and D. Zipser, 1989). `memory_limit_mib` is the most that the sensitivities may take.

    Args:
        update: after each time `step`, or after each `sequence`.
        memory_limit_mib: the most that the sensitivities may take, in MiB.
        names: those of the parameters.
        model: that of the run.
        rows: examples of a batch.


    Raises:
        ValueError: the model has no recurrent layer or several, one of another kind than SimpleRNN, GRU or LSTM, with
            dropout, or too large for the memory.
    """
    layer = _only_one(recurrent_layers(model))
    shapes = [tuple(variable.shape) for variable in layer.trainable_variables]
    states, sizes = (
        sum(layer.state_size),
        [_element_count(shape) for shape in shapes],
    )
    needed = rows * states * sum(sizes) * 4
    if needed > memory_limit_mib * _MIB:
        figure = f"{rows} examples x {states} states x {sum(sizes)} parameters x 4 bytes = {needed / _MIB:,.0f} MiB"
        raise ValueError(
            f"the sensitivities of {layer.name} take {figure}, more than "
            f"memory_limit_mib: {memory_limit_mib}; expected a smaller layer or batch, or truncated_bptt"
        )
    evaluate = _make_method(
        layer,
        model,
        names or [variable.path for variable in model.trainable_variables],
    )
    if update == "sequence":
        return evaluate
    zeros = [
        tf.zeros([rows, states, size], layer.variable_dtype) for size in sizes
    ]
    return StatefulMethod(
        evaluate, first_carry([layer], rows)._replace(own=zeros)
    )


def _only_one(layers: Sequence[Any]) -> Any:
    if len(layers) > 1:
        named = ", ".join(layer.name for layer in layers)
        raise ValueError(
            f"rtrl is for one recurrent layer; the model has {len(layers)} ({named})"
        )
    (layer,) = layers
    if not isinstance(layer, _CELLS):
        raise ValueError(
            f"rtrl is for SimpleRNN, GRU and LSTM; {layer.name} is a {type(layer).__name__}"
        )
    if layer.dropout or layer.recurrent_dropout:
        raise ValueError(
            f"rtrl knows no dropout within a recurrent layer; {layer.name} has some"
        )
    if layer.return_state:
        raise ValueError(
            f"rtrl follows what a layer gives at each time step; {layer.name} gives its states too"
        )
    if not layer.trainable_variables:
        raise ValueError(
            f"rtrl trains a recurrent layer; {layer.name} is frozen"
        )
    return layer


def _element_count(shape: tuple[int, ...]) -> int:
    return int(tf.TensorShape(shape).num_elements())


def _make_method(
    layer: Any, model: Any, names: Sequence[str]
) -> GradientMethod:
    variable_ids = [id(variable) for variable in layer.trainable_variables]
    places = [
        variable_ids.index(id(item)) if id(item) in variable_ids else None
        for item in model.trainable_variables
    ]

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        params, seen = objective.params, []
        with (
            tf.GradientTape(persistent=True) as tape,
            patched_attribute(
                [layer], lambda item: _recording_loop(item, tape, seen), LOOP
            ),
        ):
            loss, outputs, next_carry = objective(batch, carry)
        (recorded,) = seen
        _expect_none_below(
            tape.gradient([recorded.sequences, *recorded.begun], params), names
        )
        *direct, errors = tape.gradient(loss, [*params, recorded.outputs])
        old_sensitivities = carry.own if carry else None
        if carry:
            starts = batch.starts[:, tf.newaxis, tf.newaxis]
            old_sensitivities = [
                tf.where(starts, tf.zeros_like(item), item)
                for item in old_sensitivities
            ]
        recurrent, sensitivities = _propagate_sensitivities(
            layer, recorded, errors, old_sensitivities
        )
        grads = [
            dense_or_zeros(grad, param)
            for grad, param in zip(direct, params, strict=True)
        ]
        for number, place in enumerate(places):
            if place is not None:  # what is there already is of the penalties
                grads[number] += tf.cast(
                    tf.reshape(recurrent[place], grads[number].shape),
                    grads[number].dtype,
                )
        return LossAndGrads(
            loss,
            grads,
            outputs,
            next_carry._replace(own=sensitivities) if carry else next_carry,
        )

    return evaluate


def _expect_none_below(grads: list, names: Sequence[str]) -> None:
    below = [
        name
        for name, grad in zip(names, grads, strict=True)
        if grad is not None
    ]
    if below:
        raise ValueError(
            f"rtrl trains nothing before the recurrent layer; {', '.join(below)} stand there"
        )


def _recording_loop(
    layer: Any, tape: tf.GradientTape, seen: list[_Seen]
) -> Callable:
    """The layer's loop over time, with its outputs as the start of what the tape sees."""

    def loop(
        sequences: Tensor,
        initial_state: Tree,
        mask: Tree,
        training: bool = False,
    ) -> tuple:
        if tf.nest.flatten(mask)[0] is not None:
            raise _without_arguments(
                ValueError(f"rtrl knows no masks, and {layer.name} gets one")
            )
        if seen:
            raise ValueError(
                f"{layer.name} is called more than once; rtrl goes through one sequence"
            )
        with tape.stop_recording():
            begun = tf.concat(tf.nest.flatten(initial_state), -1)
            inputs = tf.transpose(sequences, [1, 0, 2])
            states = tf.scan(
                lambda state, x: _next_state(layer, x, state),
                inputs,
                begun,
                parallel_iterations=1,
            )
            states = tf.concat([begun[tf.newaxis], states], 0)
            outputs = tf.transpose(states[1:, :, : layer.units], [1, 0, 2])
        tape.watch(outputs)
        seen.append(
            _Seen(sequences, tf.nest.flatten(initial_state), states, outputs)
        )
        ends = tf.split(states[-1], layer.state_size, -1)
        return (
            outputs[:, -1],
            outputs if layer.return_sequences else outputs[:, -1:],
            ends,
        )

    return loop


def _without_arguments(error: ValueError) -> ValueError:
    """One to which Keras does not add the arguments of the layer's call, which it does to all that it has not yet."""
    error._keras_call_info_injected = True
    return error


def _next_state(layer: Any, x: Tensor, state: Tensor) -> Tensor:
    """The states [batch, states] after inputs [batch, features]."""
    _, states = layer.cell(x, tf.split(state, layer.state_size, -1))
    return tf.concat(tf.nest.flatten(states), -1)


def _propagate_sensitivities(
    layer: Any, seen: _Seen, errors: Tensor, old_sensitivities: list | None
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the layer's parameters, each as a row, and the sensitivities after the last time step.

    `errors` is the derivative of the loss by what the layer gave, [batch, time, units].
    """
    params = [variable.value for variable in layer.trainable_variables]
    sizes, dtype = (
        [_element_count(tuple(param.shape)) for param in params],
        params[0].dtype,
    )
    inputs, errors = (
        tf.transpose(seen.sequences, [1, 0, 2]),
        tf.transpose(tf.cast(errors, dtype), [1, 0, 2]),
    )
    shape = tf.shape(seen.states)[1:]
    if old_sensitivities is None:
        old_sensitivities = [
            tf.zeros(tf.concat([shape, [size]], 0), dtype) for size in sizes
        ]

    def body(
        time: Tensor, sensitivities: list[Tensor], grads: list[Tensor]
    ) -> tuple:
        jacobian, immediate = _step_derivatives(
            layer, inputs[time], seen.states[time], params
        )
        jacobian, error = tf.cast(jacobian, dtype), errors[time]
        new_sensitivities = [
            tf.ensure_shape(jacobian @ old + tf.cast(new, dtype), old.shape)
            for old, new in zip(sensitivities, immediate, strict=True)
        ]
        contributions = [
            tf.einsum("bn,bnp->p", error, sensitivity[:, : layer.units])
            for sensitivity in new_sensitivities
        ]
        return (
            time + 1,
            new_sensitivities,
            [
                total + sensitivity
                for total, sensitivity in zip(grads, contributions, strict=True)
            ],
        )

    start = (
        tf.constant(0),
        list(old_sensitivities),
        [tf.zeros([size], dtype) for size in sizes],
    )
    length = tf.shape(inputs)[0]
    _, sensitivities, grads = tf.while_loop(
        lambda time, *_: time < length, body, start, parallel_iterations=1
    )
    return grads, sensitivities


def _step_derivatives(
    layer: Any, x: Tensor, state: Tensor, params: list
) -> tuple[Tensor, list[Tensor]]:
    """Of the next states by the states, [batch, states, states], and by each parameter, [batch, states, size].

    Example by example, because one depends on no other: a Jacobian of the batch as a whole would be mostly zeros.
    """

    def of_one(pair: tuple[Tensor, Tensor]) -> tuple:
        x, state = (part[tf.newaxis] for part in pair)
        with tf.GradientTape() as tape:
            tape.watch(state)
            next_state = _next_state(layer, x, state)[0]
        by_state, *by_params = tape.jacobian(next_state, [state, *params])
        return by_state[:, 0], [
            tf.reshape(jacobian, [jacobian.shape[0], -1])
            for jacobian in by_params
        ]

    if x.shape[0] is not None:
        return tf.vectorized_map(of_one, (x, state))
    # Of a batch that turns out to be a single example, vectorized_map confuses the shapes: so there are always two.
    doubled = (tf.concat([part, part[:1]], 0) for part in (x, state))
    return tf.nest.map_structure(
        lambda derivative: derivative[:-1],
        tf.vectorized_map(of_one, tuple(doubled)),
    )
