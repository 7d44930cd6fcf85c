"""The two ways in which TensorFlow runs the operations of a graph, and which of them fits a model."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from tftrain.core.layer_hooks import all_layers, patched_attribute
from tftrain.core.types import Tensor, Tree
from tftrain.runtime.tf_errors import short_message

DEFAULT = ""  # several threads take what is ready, and loops become part of the graph: for large operations
SERIAL = "SINGLE_THREADED_EXECUTOR"  # one after another, without a queue between them: for small ones

# Multiplications in an operation, on the average of a model. Measured on 2 cores: dense layers of 0.3 million are up to
# twice as fast in series, a convolution of 6 million half as fast, which is also given other kernels by TensorFlow.
SMALL = 2**19


@contextlib.contextmanager
def using_executor(executor: str) -> Iterator[None]:
    """While it lasts, this thread's graphs are made for this executor, and run by it."""
    if executor == DEFAULT:
        yield
        return
    with context.function_executor_type(executor):
        options = context.context().function_call_options
        config = tf.compat.v1.ConfigProto.FromString(
            options.config_proto_serialized
        )
        # The rewriting of graphs does not enter loops that stay loops, but reads all of them: 3 s for 200 layers.
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        options.config_proto_serialized = config
        yield


def choose_executor(model: Any, sample: Tree, batch_size: int) -> str:
    """Choose TensorFlow's executor for a model: by a rule, not a race, because kernels differ in their last bits.

    The serial one knows neither several devices nor accelerators. Calls the model once, on `sample`.

    Args:
        model: it is called once.
        sample: a few examples.
        batch_size: that of training.
    """
    if tf.distribute.has_strategy() or tf.config.list_logical_devices("GPU"):
        return DEFAULT
    with _counting_products(model, batch_size) as products:
        model(sample, training=False)
    return (
        SERIAL
        if products and sum(products) / len(products) < SMALL
        else DEFAULT
    )


@contextlib.contextmanager
def _counting_products(model: Any, batch_size: int) -> Iterator[list[int]]:
    """How many multiplications each kernel takes part in, in one call of the model on a batch."""
    products: list[int] = []
    layers = [layer for layer in all_layers(model) if not layer._layers]
    with patched_attribute(
        layers,
        lambda layer: _count_products(layer, layer.call, batch_size, products),
    ):
        yield products


def _count_products(
    layer: Any, call: Callable, batch_size: int, products: list[int]
) -> Callable:
    @functools.wraps(call)
    def counting_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        places = _positions_per_example(outputs) * batch_size
        products.extend(
            places * math.prod(weight.shape) for weight in _kernels_of(layer)
        )
        return outputs

    return counting_call


def _positions_per_example(outputs: Any) -> int:
    """At how many places of an example a kernel is used, such as pixels; the first and the last axis are not such."""
    first: Tensor = tf.nest.flatten(outputs)[0]
    return int(tf.TensorShape(first.shape[1:-1]).num_elements() or 1)


def _kernels_of(layer: Any) -> list:
    if isinstance(layer, keras.layers.Embedding):  # which multiplies nothing
        return []
    return [weight for weight in layer.weights if len(weight.shape) > 1]


def xla_obstacle(function: Any, argument: Tree) -> str | None:
    """Return why XLA cannot compile a tf.function of one argument that was traced once; None where it can.

    Translates the function for the argument's shapes, which takes about a second, but does not make machine code of it.

    Args:
        function: a tf.function.
        argument: what it is called with; its shapes are what counts.
    """
    (traced,) = function._list_all_concrete_functions()
    device = (
        tf.config.list_logical_devices("GPU")
        or tf.config.list_logical_devices("CPU")
    )[0]
    try:
        context.context().get_compiler_ir(
            device_name=device.name,
            platform_name=None,
            function_name=traced.name,
            flat_args=_complete_specs(
                traced.structured_input_signature, argument
            ),
            captured_inputs=traced.captured_inputs,
            stage="hlo_serialized",
        )
    except ValueError as error:
        return short_message(str(error))
    return None


def _complete_specs(signature: Tree, argument: Tree) -> list[tf.TensorSpec]:
    """What the signature asks for, with the sizes that it leaves open from the argument."""
    specs, leaves = (
        [
            leaf_or_none
            for leaf_or_none in tf.nest.flatten(tree)
            if leaf_or_none is not None
        ]
        for tree in (signature, argument)
    )
    return [
        tf.TensorSpec(
            [
                size or known_size
                for size, known_size in zip(spec.shape, leaf.shape, strict=True)
            ],
            spec.dtype,
        )
        for spec, leaf in zip(specs, leaves, strict=True)
    ]


LOOP = "loop"  # the scope of what repeats the step, which is left out


def step_graph(graph: Any, scope: str) -> Any:
    """Return the GraphDef of what lies in a scope of a graph, named as if the scope were all there is.

    Args:
        graph: that of the step.
        scope: its name.
    """
    definition = graph.as_graph_def()
    step_nodes = {}
    for node in definition.node:
        node.name = _strip_scope(node.name, scope)
        if not _is_of_loop(node, scope):
            step_nodes[node.name] = node
    for node in step_nodes.values():
        inputs = [_strip_scope(name, scope) for name in node.input]
        del node.input[:]
        node.input.extend(
            name
            for name in inputs
            if name.lstrip("^").partition(":")[0] in step_nodes
        )
    return type(definition)(
        node=step_nodes.values(),
        library=definition.library,
        versions=definition.versions,
    )


def _strip_scope(name: str, scope: str) -> str:
    return name.replace(f"{scope}/", "")


def _is_of_loop(node: Any, scope: str) -> bool:
    """What enters and leaves the loop stands in no scope, as a step does that is a compiled function."""
    head, _, path = node.name.partition("/")
    return (
        head in (LOOP, scope.partition("/")[0])
        if path
        else not node.op.endswith("PartitionedCall")
    )
