"""Layers that keep no activations for the backward pass, but compute them again there (Chen et al., 2016)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.backend.common import (
    global_state,
)  # there is no public way to call a layer as within another one
from tensorflow.python.ops import control_flow_util

from tftrain.core.determinism import (
    REPEATABLE,
    NotRepeatable,
    Operations,
    find_random_op,
)
from tftrain.core.layer_hooks import patched_attribute
from tftrain.core.masks import leaves_and_masks, mask_of, packed_like, with_mask
from tftrain.core.remat_segments import Segment, Segments
from tftrain.core.types import Tensor, Tree

_AROUND = (
    "current_call_ctx",
    "autocast_scope",
)  # what Keras' layers are told by the layers around them


class RematSpec(NamedTuple):
    """What is computed again: layers, each by itself, and stretches of a functional model."""

    layers: Sequence[Any] = ()
    segments: Sequence[Segments] = ()


@contextmanager
def rematerialized(blocks: RematSpec) -> Iterator[None]:
    """While it lasts, what is traced of the blocks keeps their inputs alone, and computes the rest again.

    The gradient is the same to the bit: a second time the same random numbers are drawn, from the seeds of the first,
    and moving averages and the like stay. Raises NotRepeatable, when a gradient is traced.
    """
    by_functional = {
        segments.functional: segments for segments in blocks.segments
    }
    with (
        patched_attribute(
            blocks.layers, lambda layer: recomputed(layer.call, [layer])
        ),
        patched_attribute(
            by_functional,
            lambda functional: _in_segments(by_functional[functional]),
            "_run_through_graph",
        ),
    ):
        yield


def _in_segments(segments: Segments) -> Callable:
    def run(inputs: Tree, operation_fn: Callable) -> Tree:
        known = segments.given(inputs)
        for segment in segments.all:
            call = functools.partial(segments.run, segment, operation_fn)
            if segment.again:
                call = recomputed(call, segment.layers)
            known |= call(_needed_tensors(segment, known))
        return segments.packed(known)

    return run


def _needed_tensors(
    segment: Segment, known: dict[int, Tensor]
) -> dict[int, Tensor]:
    return {key: known[key] for key in segment.needs}


def recomputed(function: Callable, layers: Iterable[Any]) -> Callable:
    """Return a function whose activations are computed again in the backward pass.

    Args:
        function: it calls the layers.
        layers: whose variables it uses.
    """
    variables = list(
        {
            id(held): held for layer in layers for held in layer.variables
        }.values()
    )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tree:
        arguments = _Given(args, kwargs)
        repeated = _as_now(function)
        old_values = [
            (variable, tf.identity(variable._value)) for variable in variables
        ]
        outputs: list[Tree] = []

        @tf.custom_gradient
        def forward(*flowing: Tensor) -> tuple:
            outputs[:] = [arguments.to(function, flowing)]

            def backward(
                *arriving: Tensor, variables: Sequence[tf.Variable] = ()
            ) -> Any:
                work = functools.partial(
                    _gradients_again,
                    repeated,
                    arguments,
                    old_values,
                    (flowing, arriving, variables),
                )
                gradients = _kept_apart(work, [*flowing, *variables], arriving)
                input_gradients = gradients[: len(flowing)]
                if not variables:
                    return input_gradients
                return input_gradients, gradients[len(flowing) :]

            return _differentiable_leaves(tf.nest.flatten(outputs[0])), backward

        gradients = iter(forward(*arguments.flowing))
        leaves = [
            next(gradients) if _is_differentiable(leaf) else leaf
            for leaf in tf.nest.flatten(outputs[0])
        ]
        return packed_like(
            outputs[0], leaves + leaves_and_masks(outputs[0])[len(leaves) :]
        )

    return call


class _Given:
    """What a function was called with; gradients flow to some of it."""

    def __init__(self, args: tuple, kwargs: dict):
        self._all = (args, kwargs)
        self._leaves = tf.nest.flatten(self._all)
        self.flowing = _differentiable_leaves(self._leaves)

    def to(self, function: Callable, flowing: Sequence[Tensor]) -> Tree:
        """What the function gives for other tensors in the place of those."""
        replacements = iter(flowing)
        leaves = [
            with_mask(next(replacements), mask_of(leaf))
            if _is_differentiable(leaf)
            else leaf
            for leaf in self._leaves
        ]
        args, kwargs = tf.nest.pack_sequence_as(self._all, leaves)
        return function(*args, **kwargs)


def _gradients_again(
    function: Callable,
    arguments: _Given,
    old_values: list[tuple],
    flows: tuple[Sequence, Sequence, Sequence],
) -> list:
    """The gradients that flow on to inputs and to variables, from those that arrive, with all as it was before."""
    inputs, arriving, variables = flows
    ops, trained = Operations(), {id(tensor.handle) for tensor in variables}
    # What could begin before a gradient arrives, or be taken for what the forward pass did, would save no memory.
    with tf.control_dependencies(arriving):
        inputs = [tf.identity(tensor) for tensor in inputs]
        # Weights are read as they are: nothing has changed them since, and a function with a gradient of its own that
        # takes one from around it has to find the variable there.
        constants = [
            pair
            for pair in old_values
            if id(pair[0]._value.handle) not in trained
        ]
        state = [
            (variable, tf.identity(value)) for variable, value in constants
        ]
        scope = keras.StatelessScope(
            state, collect_losses=True, initialize_variables=False
        )
        known = set(scope.state_mapping)
        with tf.GradientTape(watch_accessed_variables=False) as tape, scope:
            tape.watch([*inputs, *variables])
            outputs = _differentiable_leaves(
                tf.nest.flatten(arguments.to(function, inputs))
            )
    changed = scope.state_mapping.keys() - known
    _expect_standing(
        changed,
        [
            variable
            for variable, _ in old_values
            if id(variable._value.handle) in trained
        ],
    )
    _expect_repeatable(ops.since(), changed)
    return tape.gradient(outputs, [*inputs, *variables], arriving)


def _kept_apart(
    work: Callable[[], list], like: Sequence[Tensor], arriving: Sequence[Tensor]
) -> list:
    """What `work` gives, tensors like those; XLA goes by no control dependencies, but enters a branch when it must."""
    if not control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    ):
        return work()
    first = tf.math.real(tf.reshape(arriving[0], [-1])[:1])
    always = tf.reduce_all(
        (first <= 0) | (first > 0) | (first != first)
    )  # which XLA does not know
    return tf.cond(
        always,
        lambda: [
            tf.zeros_like(tensor)
            if grad is None
            else tf.convert_to_tensor(grad)
            for grad, tensor in zip(work(), like, strict=True)
        ],
        lambda: [tf.zeros_like(tensor) for tensor in like],
    )


def _expect_repeatable(nodes: Sequence[Any], changed: Iterable[int]) -> None:
    drawing = find_random_op(nodes)
    if drawing:
        raise NotRepeatable(f"{drawing}; expected such as {REPEATABLE}")
    if list(changed):
        raise NotRepeatable(
            "a variable is changed that is none of the layer's own, such as the seed that keras.random takes where it "
            "is given none; expected a keras.random.SeedGenerator, or a weight, as an attribute of the layer"
        )


def _expect_standing(changed: Iterable[int], trained: Iterable[Any]) -> None:
    moved = [variable.path for variable in trained if id(variable) in changed]
    if moved:
        raise NotRepeatable(
            f"the layer changes a weight that is trained, {moved[0]}, in its forward pass, like SpectralNormalization"
        )


def _is_differentiable(leaf: Any) -> bool:
    return isinstance(leaf, tf.Tensor) and (
        leaf.dtype.is_floating or leaf.dtype.is_complex
    )


def _differentiable_leaves(leaves: Iterable[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if _is_differentiable(leaf)]


def _as_now(function: Callable) -> Callable:
    """The function, always called among the layers that are around it now; Keras changes what it knows of them."""
    enclosing = [
        copy.copy(global_state.get_global_attribute(name)) for name in _AROUND
    ]

    def call(*args: Any, **kwargs: Any) -> Any:
        previous = [global_state.get_global_attribute(name) for name in _AROUND]
        try:
            _set_attributes(enclosing)
            return function(*args, **kwargs)
        finally:
            _set_attributes(previous)

    return call


def _set_attributes(values: Sequence[Any]) -> None:
    for name, value in zip(_AROUND, values, strict=True):
        global_state.set_global_attribute(name, value)
