"""The recurrent layers of a model: their states across windows of a sequence, and how far back a gradient reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.types import Carry, Tensor, Tree

LOOP = "inner_loop"  # of a Keras layer: (sequences, initial_state, mask, training) -> (last output, outputs, states)


def recurrent_layers(model: Any) -> list:
    """The recurrent layers of a model, those inside of others too; raises ValueError where one cannot go on.

    A sequence can be cut into windows where each layer goes through it once, forward in time.
    """
    layers = all_layers(model)
    recurrent = [
        layer for layer in layers if isinstance(layer, keras.layers.RNN)
    ]
    if not recurrent:
        raise ValueError(
            "the model has no recurrent layer, so there is nothing to go on from one window to the next"
        )
    for layer in layers:
        if isinstance(layer, keras.layers.Bidirectional) or getattr(
            layer, "go_backwards", False
        ):
            raise ValueError(
                f"{layer.name} ({type(layer).__name__}) goes backwards through time, so its states cannot go on "
                "from one window to the next; expected recurrent layers that go forward"
            )
        if getattr(layer, "stateful", False) and isinstance(
            layer, keras.layers.RNN
        ):
            raise ValueError(
                f"{layer.name} keeps a state of its own (stateful); leave that to the gradient method"
            )
    return recurrent


def first_carry(layers: Sequence[Any], rows: int) -> Carry:
    """Return the states before a sequence, zeros, and for each layer its last output, zeros too.

    Args:
        layers: the recurrent layers of a model.
        rows: how many sequences.
    """
    return Carry([_first_states(layer, rows) for layer in layers])


def _first_states(layer: Any, rows: int) -> list[Tensor]:
    states = tf.nest.flatten(layer.get_initial_state(rows))
    size = getattr(layer.cell, "output_size", None)
    if size is None:
        # The output of such a cell is like its first state.
        output = tf.zeros_like(states[0])
    else:
        output = tf.zeros([rows, size], states[0].dtype)
    return [*states, output]


@contextmanager
def unrolled(model: Any) -> Iterator[None]:
    """While it lasts the recurrent layers of a model stand in the graph step by step; the values are those of a loop.

    Raises ValueError where a layer gets sequences of a length that is not fixed.
    """
    layers = [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.RNN)
    ]
    with patched_attribute(layers, _unrolled_loop, LOOP):
        yield


def _unrolled_loop(layer: Any) -> Callable:
    """The layer's loop, step by step, and forward through what is reversed where the layer goes backwards.

    Keras' own would set outputs to zero by the mask as it is, though it goes through the mask from its end.
    """
    inner = getattr(layer, LOOP)

    def loop(
        sequences: Tensor,
        initial_state: Tree,
        mask: Tree,
        training: bool = False,
    ) -> tuple:
        if sequences.shape[1] is None:
            error = ValueError(
                f"{layer.name} gets sequences of a length that is not fixed, and cannot be unrolled"
            )
            error._keras_call_info_injected = (
                True  # else Keras adds all arguments of the layer's call
            )
            raise error
        mask = tf.nest.flatten(mask)[0]
        if layer.go_backwards:
            sequences = tf.reverse(sequences, [1])
            mask = None if mask is None else mask[:, ::-1]
        with (
            patched_attribute([layer], lambda _: True, "unroll"),
            patched_attribute([layer], lambda _: False, "go_backwards"),
        ):
            return inner(sequences, initial_state, mask, training)

    return loop


@contextmanager
def stateful_calls(
    layers: Sequence[Any], states: Sequence[list], starts: Tensor
) -> Iterator[list[list]]:
    """Have recurrent layers continue from given states during the block; yields a list that fills with the next states.

    The states are those of a Carry, each layer's last output behind them: where a window begins masked, a layer repeats
    it as it does within a sequence.

    Raises ValueError where a layer is called more than once, or not at all.

    Args:
        layers: the recurrent layers of a model.
        states: those of a Carry.
        starts: [batch], whether a sequence begins with this window.
    """
    numbers = {id(layer): number for number, layer in enumerate(layers)}
    next_states = [None] * len(layers)

    def going_on(layer: Any) -> Callable:
        inner = _window_loop(layer)
        number = numbers[id(layer)]

        def loop(
            sequences: Tensor,
            initial_state: Tree,
            mask: Tree,
            training: bool = False,
        ) -> tuple:
            if next_states[number] is not None:
                raise ValueError(
                    f"{layer.name} is called more than once, so it has more than one state to go on with"
                )
            first = [
                *tf.nest.flatten(initial_state),
                tf.zeros_like(states[number][-1]),
            ]
            chosen = []
            for fresh, state in zip(first, states[number], strict=True):
                is_first = expand_rank(starts, state)
                kept_state = tf.cast(state, fresh.dtype)
                chosen.append(tf.where(is_first, fresh, kept_state))
            *begun, output = chosen
            previous = output, tf.nest.pack_sequence_as(initial_state, begun)
            mask = tf.nest.flatten(mask)[0]
            last, outputs, ends = inner(sequences, previous, mask, training)
            next_states[number] = [*tf.nest.flatten(ends), last]
            return last, outputs, ends

        return loop

    with patched_attribute(layers, going_on, LOOP):
        yield next_states
    missed = []
    for layer, layer_states in zip(layers, next_states, strict=True):
        if layer_states is None:
            missed.append(layer.name)
    if missed:
        listing = ", ".join(missed)
        raise ValueError(
            f"the model does not call {listing}, so it has no state to go on with"
        )


@contextmanager
def truncated_calls(layers: Sequence[Any], window: int) -> Iterator[None]:
    """Stop the gradient between windows of time steps during the block; the values are the same.

    The last window may be shorter, or the first one where a layer gives its last step alone: there the gradient
    reaches back a whole window from the end.

    At a masked time step a layer repeats its output of the step before. Such an output is carried from window to window
    as the states are, and cut with them. An example is cut only where it goes on: behind its last step that counts
    there is padding alone, through which the gradient passes.

    Args:
        layers: the recurrent layers of a model.
        window: time steps.
    """
    from_end = not all(layer.return_sequences for layer in layers)

    def truncated_loop(layer: Any) -> Callable:
        return _truncated_loop(layer, window, from_end)

    with patched_attribute(layers, truncated_loop, LOOP):
        yield


def _truncated_loop(layer: Any, longest: int, from_end: bool) -> Callable:
    full_loop = getattr(layer, LOOP)
    inner = _window_loop(layer)

    def truncated_loop(
        sequences: Tensor,
        initial_state: Tree,
        mask: Tree,
        training: bool = False,
    ) -> tuple:
        time = sequences.shape[1]
        mask = tf.nest.flatten(mask)[0]
        if time is None:
            raise ValueError(
                f"{layer.name} gets sequences of a length that is not fixed; windows need a fixed one"
            )
        if longest >= time:
            return full_loop(sequences, initial_state, mask, training)
        first = longest
        if from_end and time % longest:
            first = time % longest
        # Windows apart from the first and the last.
        between = max(0, (time - first - 1) // longest)
        # Whether a time step that counts follows, [batch, time].
        on = None
        if mask is not None:
            on = tf.cumsum(tf.cast(mask, tf.float32), 1, reverse=True) > 0

        def run_window(start: int, stop: int, previous: tuple) -> tuple:
            part = None if mask is None else mask[:, start:stop]
            return inner(sequences[:, start:stop], previous, part, training)

        last, window_outputs, state = run_window(
            0, first, (None, initial_state)
        )
        outputs = [window_outputs]
        if between:
            middle = slice(first, first + between * longest)
            parts = [
                None if leaf is None else leaf[:, middle]
                for leaf in (sequences, mask, on)
            ]
            last, window_outputs, state = _each_window(
                lambda *part: inner(*part, training),
                parts,
                between,
                (last, state),
            )
            outputs.append(window_outputs)
        end = first + between * longest
        on_at_end = None if on is None else on[:, end]
        previous = _stop_gradients((last, state), on_at_end)
        last, window_outputs, state = run_window(end, time, previous)
        outputs.append(window_outputs)
        if layer.return_sequences:
            return last, tf.concat(outputs, 1), state
        return last, window_outputs, state

    return truncated_loop


def _window_loop(layer: Any) -> Callable:
    """The layer's loop over a window, going on from its last output too, which a window that begins masked repeats.

    (sequences [batch, time, ...], (output [batch, ...] or None, states) before them, mask [batch, time] or None,
    training) -> (last output, outputs [batch, time or 1, ...], states). With None for an output that of Keras, zeros.
    """
    inner = getattr(layer, LOOP)

    def window_loop(
        sequences: Tensor, previous: tuple, mask: Tensor | None, training: bool
    ) -> tuple:
        output, state = previous
        if mask is None:
            return inner(sequences, state, None, training)
        # cuDNN takes no window that is masked as a whole.
        with patched_attribute([layer], lambda _: False, "use_cudnn"):
            last, outputs, ends = inner(sequences, state, mask, training)
        if output is None or layer.zero_output_for_mask:
            return last, outputs, ends
        # Floats, which a GPU can sum up too.
        mask = tf.cast(mask, tf.float32)
        if layer.return_sequences:
            seen = tf.cumsum(mask, 1)
        else:
            seen = tf.reduce_sum(mask, 1, keepdims=True)
        new_axes = [1] * (outputs.shape.rank - 2)
        shape = tf.concat([tf.shape(seen)[:2], new_axes], 0)
        seen = tf.reshape(seen > 0, shape)
        repeated = tf.cast(output, outputs.dtype)[:, tf.newaxis]
        outputs = tf.where(seen, outputs, repeated)
        return outputs[:, -1], outputs, ends

    return window_loop


def _each_window(
    inner: Callable, parts: Sequence[Tensor | None], count: int, previous: tuple
) -> tuple:
    """The last output, the outputs over so many windows, [batch, time, ...], and the states; one traced loop for all.

    `before` has the last output and the states before them.
    """
    arrays = [
        None if part is None else _split_windows(part, count) for part in parts
    ]
    shapes = [leaf.shape for leaf in tf.nest.flatten(previous)]

    def run_next(
        index: Tensor, leaves: list[Tensor], outputs: tf.TensorArray
    ) -> tuple:
        sequences, mask, on = (
            None if array is None else array.read(index) for array in arrays
        )
        begun = tf.nest.pack_sequence_as(
            previous, _stop_gradients(leaves, None if on is None else on[:, 0])
        )
        last, window_outputs, state = inner(sequences, begun, mask)
        ends = tf.nest.flatten((last, state))
        ends = [
            tf.ensure_shape(leaf, shape)
            for leaf, shape in zip(ends, shapes, strict=True)
        ]
        return index + 1, ends, outputs.write(index, window_outputs)

    start = (
        tf.constant(0),
        tf.nest.flatten(previous),
        tf.TensorArray(previous[0].dtype, count),
    )
    _, leaves, outputs = tf.while_loop(
        lambda index, *_: index < count,
        run_next,
        start,
        parallel_iterations=1,
        maximum_iterations=count,
    )
    last, state = tf.nest.pack_sequence_as(previous, leaves)
    return last, _join_windows(outputs.stack()), state


def _split_windows(part: Tensor, count: int) -> tf.TensorArray:
    """[batch, time, ...] as an array of so many windows."""
    shape = tf.shape(part)
    cut = tf.reshape(
        part,
        tf.concat([shape[:1], [count, part.shape[1] // count], shape[2:]], 0),
    )
    cut = tf.ensure_shape(
        cut, [None, count, part.shape[1] // count, *part.shape[2:]]
    )
    cut = tf.transpose(cut, [1, 0, *range(2, cut.shape.rank)])
    return tf.TensorArray(
        part.dtype, count, element_shape=cut.shape[1:]
    ).unstack(cut)


def _join_windows(windows: Tensor) -> Tensor:
    """[windows, batch, time, ...] as [batch, time, ...]."""
    transposed = tf.transpose(windows, [1, 0, *range(2, windows.shape.rank)])
    shape = tf.shape(transposed)
    return tf.reshape(
        transposed, tf.concat([shape[:1], [shape[1] * shape[2]], shape[3:]], 0)
    )


def _stop_gradients(tensors: Tree, on: Tensor | None) -> Tree:
    """Without a gradient, in the rows that go `on`, [batch], where not all do."""

    def stop_leaf(leaf: Tensor) -> Tensor:
        cut = tf.stop_gradient(leaf)
        return cut if on is None else tf.where(expand_rank(on, leaf), cut, leaf)

    return tf.nest.map_structure(stop_leaf, tensors)


def expand_rank(rows: Tensor, values: Tensor) -> Tensor:
    """Return [batch] as [batch, 1, ...], to go with values of a higher rank.

    Args:
        rows: [batch].
        values: [batch, ...].
    """
    return tf.reshape(rows, [-1] + [1] * (values.shape.rank - 1))
