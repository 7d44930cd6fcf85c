"""Users' own parts, tried before the step is compiled: in there a fault would look like the model's.

Each trial raises TypeError or ValueError, and says what was given and what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tftrain.core import replication
from tftrain.core.layer_calls import record_activations, recording_enabled
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
from tftrain.data.batches import map_leaves
from tftrain.optim.gradients.backprop import dense_or_zeros
from tftrain.runtime.names import join_names, with_article


def describe_result(value: Any) -> str:
    """What a user's function returned, in the words of a message."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, tf.IndexedSlices):
        return "a tf.IndexedSlices"
    if tf.is_tensor(value):
        return with_article(
            f"{value.dtype.name} tensor of the shape {list(value.shape)}"
        )
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (bool, int, float)):
        return str(value)
    return with_article(type(value).__name__)


def expect(value: Any, record: type, expected: str) -> None:
    """Refuse a value of another type.

    Args:
        value: what a user's function returned.
        record: the type.
        expected: in words.
    """
    if not isinstance(value, record):
        raise TypeError(f"gave {describe_result(value)}; expected {expected}")


def try_rate(value: Any) -> None:
    """One step's rate of what a user's part built: a Rate, a function of the step, or a number."""
    if isinstance(value, Rate):
        expect_functions(value, ("init", "update"))
        state = _to_tensors(value.init())
        result = value.update(state, tf.constant(0, tf.int64), tf.constant(1.0))
        rate, next_state = _of_length(result, "(rate, state)")
        _expect_number(rate, "as the rate ")
        _expect_same(state, next_state)
    elif callable(value):
        _expect_number(value(tf.constant(0.0)))
    else:
        _expect_number(value)


def follows_rate(build: Callable[[], Any], multiple: float) -> bool:
    """Whether an optimizer trains a parameter at a multiple of the rate as one like it does that has this rate.

    Both take three steps with a parameter each. Where a step fails, of such parameters nothing can be known: true.

    Args:
        build: makes the optimizer.
        multiple: of the rate.
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
        grouped = trained(rate, ParamOptions(multiple))
        alone = trained(rate * multiple, ParamOptions())
    except Exception:
        # Whatever a user's optimizer raises here, it may work with the model's parameters.
        return True
    return np.allclose(grouped, alone, rtol=1e-4, atol=1e-7)


def try_transform(transform: Any, params: Sequence[tf.Variable]) -> None:
    """Try one update of gradients that are zero.

    Args:
        transform: what a user's function returned.
        params: the parameters.
    """
    expect(
        transform, Transform, "a Transform(init, update) of tftrain.core.types"
    )
    expect_functions(transform, ("init", "update"))
    state = _to_tensors(transform.init(params))
    result = transform.update(
        [tf.zeros(param.shape) for param in params], state, params
    )
    grads, next_state, scalars = _of_length(result, "(grads, state, scalars)")
    _expect_gradients(grads, params)
    _expect_same(state, next_state)
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


def try_method(method: Any, objective: Objective, sample: Batch) -> None:
    """Trace one evaluation of a sample, which changes nothing.

    Args:
        method: what a user's function returned.
        objective: the model and its loss.
        sample: of the data.
    """
    expected = "an Evaluation(loss, grads, outputs) of tftrain.core.types"
    if not callable(method):
        raise TypeError(
            f"gave {describe_result(method)}; expected a function (objective, batch, carry) that gives {expected}"
        )
    results = []

    def evaluate(batch: Batch) -> int:
        results.append(method(objective, batch, ()))
        return 0

    batch = map_leaves(tf.convert_to_tensor, sample)
    tf.function(
        lambda: replication.run(evaluate, batch), autograph=False
    ).get_concrete_function()
    if not isinstance(results[0], LossAndGrads):
        raise TypeError(
            f"its function gave {describe_result(results[0])}; expected {expected}"
        )
    _expect_number(results[0].loss, "as the loss ")
    _expect_gradients(results[0].grads, objective.params)


def try_probe(
    probe: Probe, objective: Objective, names: Sequence[str], sample: Batch
) -> Any:
    """Return what a probe measures of a sample, as a run would pass it to `read`.

    The gradients, before and after the transforms, are those of the sample, the updates a thousandth of the weights.

    Args:
        probe: a user's.
        objective: the model and its loss.
        names: those of the parameters.
        sample: of the data.
    """
    batch = map_leaves(tf.convert_to_tensor, sample)
    packing = TensorPacker()

    def look() -> tuple[Tensor, Tensor]:
        with record_activations() as activations, tf.GradientTape() as tape:
            loss, outputs, _ = objective(batch, training=False)
        params = list(map(tf.convert_to_tensor, objective.params))
        grads = list(
            map(dense_or_zeros, tape.gradient(loss, objective.params), params)
        )
        step_outputs = StepOutputs(
            loss,
            outputs,
            params,
            grads,
            grads,
            [param / 1000 for param in params],
            tuple(names),
            activations,
        )
        return packing.packed(_check_measured(probe.measure(step_outputs)))

    with (
        preserve_state(objective.model),
        recording_enabled(objective.model),
        replication.first_of(objective.model.variables[0].value),
    ):
        traced = tf.function(look, autograph=False).get_concrete_function()
        return packing.each(*(part.numpy()[None] for part in traced()))[0]


def _check_measured(measured: Any) -> Tree:
    for leaf in tf.nest.flatten(measured):
        if (
            not tf.is_tensor(leaf)
            and not _is_numeric(leaf)
            or isinstance(leaf, tf.IndexedSlices)
        ):
            raise TypeError(
                f"its measure gave {describe_result(leaf)}; expected tensors, in dicts, lists or tuples"
            )
    return measured


def try_score(
    function: Callable, y: Any, outputs: Any, arguments: dict[str, Any]
) -> None:
    """Try a user's loss or metric on a sample.

    Args:
        function: of (y_true, y_pred).
        y: the targets.
        outputs: those of the model.
        arguments: further ones.
    """
    score = function(y, outputs, **arguments)
    if not _is_numeric(score):
        raise TypeError(
            f"gave {describe_result(score)}; expected a number for each example, or one for all"
        )


def expect_functions(record: Any, names: Sequence[str]) -> None:
    """Refuse a record whose fields are not functions.

    Args:
        record: such as a Transform.
        names: of the fields.
    """
    for name in names:
        if not callable(getattr(record, name)):
            kind = with_article(type(record).__name__)
            description = describe_result(getattr(record, name))
            raise TypeError(
                f"gave {kind} with {description} as its {name}; expected a function"
            )


def _of_length(result: Any, expected: str) -> Sequence[Any]:
    if (
        not isinstance(result, (tuple, list))
        or len(result) != expected.count(",") + 1
    ):
        raise TypeError(
            f"its update gave {describe_result(result)}; expected {expected}"
        )
    return result


def _is_numeric(value: Any) -> bool:
    try:
        dtype = tf.convert_to_tensor(value).dtype
    except (TypeError, ValueError):
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _expect_number(value: Any, role: str = "") -> None:
    if _is_numeric(value) and tf.convert_to_tensor(value).shape.rank in (
        0,
        None,
    ):
        return
    raise ValueError(
        f"gave {describe_result(value)} {role}where one number is expected"
    )


def _expect_gradients(grads: Any, params: Sequence[tf.Variable]) -> None:
    if not isinstance(grads, (tuple, list)):
        raise TypeError(
            f"gave {describe_result(grads)} as gradients; expected a list of {len(params)}, one for each parameter"
        )
    for item in grads:
        if not tf.is_tensor(item):
            raise TypeError(
                f"gave {describe_result(item)} as a gradient; expected a tensor for each parameter"
            )
    shapes = [tuple(grad.shape) for grad in grads]
    expected = [tuple(param.shape) for param in params]
    if shapes != expected:
        raise ValueError(
            f"gave gradients of the shapes {join_names(map(str, shapes))}; expected {join_names(map(str, expected))}"
        )


def _to_tensors(state: Tree) -> Tree:
    for leaf in tf.nest.flatten(state):
        if not _is_numeric(leaf):
            raise TypeError(
                f"its init gave {describe_result(leaf)} in its state; expected tensors, in tuples, lists or dicts"
            )
    return tf.nest.map_structure(tf.convert_to_tensor, state)


def _expect_same(state: Tree, next_state: Tree) -> None:
    """The variables that hold a state can take no other form of it."""
    given = str(tf.nest.map_structure(describe_result, next_state))
    expected = str(tf.nest.map_structure(describe_result, state))
    if given != expected:
        raise ValueError(
            f"its update gave the state {given}; expected the form that init gives: {expected}"
        )
