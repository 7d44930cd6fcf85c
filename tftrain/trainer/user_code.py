"""Users' own parts, tried before the step is compiled: in there a fault would look like the model's.

Each trial raises TypeError or ValueError, and says what was given and what is expected.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.determinism import REPEATABLE, Operations, find_random_op
from tftrain.core.layer_calls import record_activations, recording_enabled
from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.packing import TensorPacker
from tftrain.core.types import (
    Batch,
    LossAndGrads,
    Objective,
    Probe,
    Rate,
    StepOutputs,
    Tensor,
    Transform,
    Tree,
)
from tftrain.core.update import ParamOptions, apply_gradients
from tftrain.core.variables import preserve_state
from tftrain.optim.gradients.backprop import dense_or_zeros
from tftrain.runtime.names import join_names, with_article

_ROUNDINGS = 100  # that may differ between two passes, as of sums in another order


def describe_result(found: Any) -> str:
    """What a user's function returned, in the words of a message."""
    if found is None:
        return "nothing (None)"
    if isinstance(found, str):
        return f"the text {found[:60]!r}"
    if isinstance(found, tf.IndexedSlices):
        return "a tf.IndexedSlices"
    if tf.is_tensor(found):
        return with_article(
            f"{found.dtype.name} tensor of the shape {list(found.shape)}"
        )
    if isinstance(found, (tuple, list)):
        return f"a {type(found).__name__} of {len(found)}"
    return (
        f"{found}"
        if isinstance(found, (bool, int, float))
        else with_article(type(found).__name__)
    )


def expect(found: Any, record: type, expected: str) -> None:
    """Refuse what is of another type."""
    if not isinstance(found, record):
        raise TypeError(f"gave {describe_result(found)}; expected {expected}")


def try_rate(found: Any) -> None:
    """One step's rate of what a user's part built: a Rate, a function of the step, or a number."""
    if isinstance(found, Rate):
        expect_functions(found, ("init", "update"))
        state = _tensors(found.init())
        given = found.update(state, tf.constant(0, tf.int64), tf.constant(1.0))
        rate, after = _of_length(given, "(rate, state)")
        _expect_number(rate, "as the rate ")
        _expect_same(state, after)
    elif callable(found):
        _expect_number(found(tf.constant(0.0)))
    else:
        _expect_number(found)


def follows_rate(build: Callable[[], Any], multiple: float) -> bool:
    """Whether an optimizer trains a parameter at a multiple of the rate as one like it does that has this rate.

    Both take three steps with a parameter each. Where a step fails, of such parameters nothing can be known: true.
    """
    rate = tf.constant(0.01)

    def trained(own_rate: Tensor, share: ParamOptions) -> np.ndarray:
        optimizer = build()
        variable = keras.Variable(
            np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3), name="kernel"
        )
        optimizer.build([variable])
        for step in range(3):
            grad = tf.cos(tf.reshape(tf.range(6.0), [2, 3]) + step)
            replication.run(
                lambda grad: apply_gradients(
                    optimizer, [grad], [variable], own_rate, [share]
                ),
                grad,
            )
        return variable.numpy()

    try:
        grouped, alone = (
            trained(rate, ParamOptions(multiple)),
            trained(rate * multiple, ParamOptions()),
        )
    except (
        Exception
    ):  # whatever a user's optimizer raises; with the model's parameters it may do
        return True
    return np.allclose(grouped, alone, rtol=1e-4, atol=1e-7)


def try_transform(found: Any, params: Sequence[tf.Variable]) -> None:
    """One update of gradients that are zero."""
    expect(found, Transform, "a Transform(init, update) of tftrain.core.types")
    expect_functions(found, ("init", "update"))
    state = _tensors(found.init(params))
    given = found.update([tf.zeros(param.shape) for param in params], state, params)
    grads, after, scalars = _of_length(given, "(grads, state, scalars)")
    _expect_gradients(grads, params)
    _expect_same(state, after)
    if not isinstance(scalars, dict):
        raise TypeError(
            f"its update gave {describe_result(scalars)} as scalars; expected a dict of numbers"
        )
    for name, value in scalars.items():
        if name == "rate":
            raise TypeError(
                "gave the scalar 'rate', which is the share of steps that a clip changed; expected another name"
            )
        _expect_number(value, f"as the scalar {name!r} ")


def try_method(found: Any, objective: Objective, sample: Batch) -> None:
    """Traces one evaluation of a sample, which changes nothing."""
    expected = "an Evaluation(loss, grads, outputs) of tftrain.core.types"
    if not callable(found):
        raise TypeError(
            f"gave {describe_result(found)}; expected a function (objective, batch, carry) that gives {expected}"
        )
    given = []

    def evaluate(batch: Batch) -> int:
        given.append(found(objective, batch, ()))
        return 0

    batch = _as_tensors(sample)
    tf.function(
        lambda: replication.run(evaluate, batch), autograph=False
    ).get_concrete_function()
    if not isinstance(given[0], LossAndGrads):
        raise TypeError(
            f"its function gave {describe_result(given[0])}; expected {expected}"
        )
    _expect_number(given[0].loss, "as the loss ")
    _expect_gradients(given[0].grads, objective.params)


def try_probe(
    found: Probe, objective: Objective, names: Sequence[str], sample: Batch
) -> Any:
    """What it measures of a sample, as a run would hand it to `read`; the model is called as in validation.

    The gradients, before and after the transforms, are those of the sample, the updates a thousandth of the weights.
    """
    batch, packing = _as_tensors(sample), TensorPacker()

    def look() -> tuple[Tensor, Tensor]:
        with record_activations() as activations, tf.GradientTape() as tape:
            loss, outputs, _ = objective(batch, training=False)
        params = list(map(tf.convert_to_tensor, objective.params))
        grads = list(map(dense_or_zeros, tape.gradient(loss, objective.params), params))
        moment = StepOutputs(
            loss,
            outputs,
            params,
            grads,
            grads,
            [one / 1000 for one in params],
            tuple(names),
            activations,
        )
        return packing.packed(_measured(found.measure(moment)))

    with (
        preserve_state(objective.model),
        recording_enabled(objective.model),
        replication.first_of(objective.model.variables[0].value),
    ):
        traced = tf.function(look, autograph=False).get_concrete_function()
        return packing.each(*(part.numpy()[None] for part in traced()))[0]


def _measured(found: Any) -> Tree:
    for leaf in tf.nest.flatten(found):
        if (
            not tf.is_tensor(leaf)
            and not _is_numeric(leaf)
            or isinstance(leaf, tf.IndexedSlices)
        ):
            raise TypeError(
                f"its measure gave {describe_result(leaf)}; expected tensors, in dicts, lists or tuples"
            )
    return found


def nondeterminism_message(objective: Objective, batch: Batch) -> str | None:
    """How the losses of equal passes differ by more than rounding, in words; None where they are equal or not finite.

    The pass is traced twice and run twice, for an operation may draw at either, and once as in training, which may draw
    where the others draw once for all, such as at each time step; nothing is changed.
    """
    batch = _as_tensors(batch)

    def once() -> Any:
        with objective.at([tf.convert_to_tensor(param) for param in objective.params]):
            return objective(batch)[0]

    with (
        preserve_state(objective.model),
        replication.first_of(objective.model.variables[0].value),
    ):
        both = tf.function(
            lambda: [once(), once()], autograph=False
        ).get_concrete_function()
        losses = [loss.numpy() for _ in range(2) for loss in both()]
        losses.append(
            tf.function(lambda: objective(batch)[0], autograph=False)().numpy()
        )
        least, most = float(min(losses)), float(max(losses))
        rounding = (
            _ROUNDINGS
            * float(np.finfo(losses[0].dtype).eps)
            * max(abs(least), abs(most))
        )
        if not all(map(math.isfinite, losses)) or most - least <= rounding:
            return None
        why = _drawing(objective.model, once)
    shortest = [f"{one:.4g}" for one in (least, most)]
    one, other = shortest if shortest[0] != shortest[1] else (repr(least), repr(most))
    expected = f"the same in both: random numbers such as those of {REPEATABLE}"
    return f"the loss of a batch is {one} in one pass and {other} in an equal one{why}; expected {expected}"


def _drawing(model: Any, evaluate: Callable[[], Any]) -> str:
    """Which operation draws numbers, and within which layer: the words behind a colon, or none where it is not seen."""
    found = []

    def told(layer: Any) -> Callable:
        call = layer.call

        @functools.wraps(call)
        def tell(*args: Any, **kwargs: Any) -> Any:
            operations = Operations()
            outputs = call(*args, **kwargs)
            drawing = find_random_op(operations.since())
            found.extend(
                [f": in {layer.name} ({type(layer).__name__}) {drawing}"]
                if drawing
                else []
            )
            return outputs

        return tell

    def trace() -> None:
        operations = Operations()
        with patched_attribute(all_layers(model), told):
            evaluate()
        drawing = find_random_op(operations.since())
        found.extend([f": {drawing}"] if drawing else [])

    tf.function(trace, autograph=False).get_concrete_function()
    return next(
        iter([*found, *_drawing_cells(model)]), ""
    )  # an inner layer is through before the one around it


def _drawing_cells(model: Any) -> list[str]:
    """The recurrent layers that draw numbers anew at each time step, as dropout of the layer itself does not."""
    recurrent = [
        layer for layer in all_layers(model) if isinstance(layer, keras.layers.RNN)
    ]
    return [
        f": {layer.name} ({type(layer).__name__}) draws other random numbers at each time step"
        for layer in recurrent
        if any(
            inner._seed_generators
            for inner in all_layers(layer.cell)
            if not hasattr(inner, "get_dropout_mask")
        )
    ]


def try_score(
    function: Callable, y: Any, outputs: Any, arguments: dict[str, Any]
) -> None:
    """A user's loss or metric (y_true, y_pred) of a sample."""
    found = function(y, outputs, **arguments)
    if not _is_numeric(found):
        raise TypeError(
            f"gave {describe_result(found)}; expected a number for each example, or one for all"
        )


def expect_functions(record: Any, names: Sequence[str]) -> None:
    for name in names:
        if not callable(getattr(record, name)):
            kind, given = (
                with_article(type(record).__name__),
                describe_result(getattr(record, name)),
            )
            raise TypeError(
                f"gave {kind} with {given} as its {name}; expected a function"
            )


def _of_length(found: Any, expected: str) -> Sequence[Any]:
    if not isinstance(found, (tuple, list)) or len(found) != expected.count(",") + 1:
        raise TypeError(
            f"its update gave {describe_result(found)}; expected {expected}"
        )
    return found


def _is_numeric(found: Any) -> bool:
    try:
        dtype = tf.convert_to_tensor(found).dtype
    except (TypeError, ValueError):
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _expect_number(found: Any, role: str = "") -> None:
    if not _is_numeric(found) or tf.convert_to_tensor(found).shape.rank not in (
        0,
        None,
    ):
        raise ValueError(
            f"gave {describe_result(found)} {role}where one number is expected"
        )


def _expect_gradients(found: Any, params: Sequence[tf.Variable]) -> None:
    if not isinstance(found, (tuple, list)):
        raise TypeError(
            f"gave {describe_result(found)} as gradients; expected a list of {len(params)}, one for each parameter"
        )
    for one in found:
        if not tf.is_tensor(one):
            raise TypeError(
                f"gave {describe_result(one)} as a gradient; expected a tensor for each parameter"
            )
    shapes, expected = ([tuple(one.shape) for one in some] for some in (found, params))
    if shapes != expected:
        raise ValueError(
            f"gave gradients of the shapes {join_names(map(str, shapes))}; expected {join_names(map(str, expected))}"
        )


def _as_tensors(sample: Batch) -> Batch:
    return Batch(
        *(
            part if part is None else tf.nest.map_structure(tf.convert_to_tensor, part)
            for part in sample
        )
    )


def _tensors(state: Tree) -> Tree:
    for leaf in tf.nest.flatten(state):
        if not _is_numeric(leaf):
            raise TypeError(
                f"its init gave {describe_result(leaf)} in its state; expected tensors, in tuples, lists or dicts"
            )
    return tf.nest.map_structure(tf.convert_to_tensor, state)


def _expect_same(state: Tree, after: Tree) -> None:
    """The variables that hold a state can take no other form of it."""
    told = [str(tf.nest.map_structure(describe_result, one)) for one in (after, state)]
    if told[0] != told[1]:
        raise ValueError(
            f"its update gave the state {told[0]}; expected the form that init gives: {told[1]}"
        )
