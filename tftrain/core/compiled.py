"""What XLA cannot compile, found out before the first step is taken."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context

from tftrain.core.types import Tree
from tftrain.runtime.tf_errors import cause


def obstacle(function: Any, argument: Tree) -> str | None:
    """Why XLA cannot compile a tf.function of one argument that was traced once; None where it can.

    Translates the function for the argument's shapes, which takes about a second, but does not make machine code of it.
    """
    (traced,) = function._list_all_concrete_functions()
    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    try:
        context.context().get_compiler_ir(
            device_name=device.name,
            platform_name=None,
            function_name=traced.name,
            flat_args=_whole(traced.structured_input_signature, argument),
            captured_inputs=traced.captured_inputs,
            stage="hlo_serialized",
        )
    except ValueError as error:
        return cause(str(error))
    return None


def _whole(signature: Tree, argument: Tree) -> list[tf.TensorSpec]:
    """What the signature asks for, with the sizes that it leaves open from the argument."""
    specs, given = ([one for one in tf.nest.flatten(tree) if one is not None] for tree in (signature, argument))
    return [
        tf.TensorSpec([size or there for size, there in zip(spec.shape, leaf.shape, strict=True)], spec.dtype)
        for spec, leaf in zip(specs, given, strict=True)
    ]
