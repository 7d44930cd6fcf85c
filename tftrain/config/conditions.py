"""Plain Python conditions and loops in users' own functions, which a graph follows by TensorFlow's AutoGraph.

Our own functions do without, because to convert them took seconds of every start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status

# The fields that run in the graph, of a Transform, a Rate, a Preprocess or a Probe.
_IN_RECORDS = ("update", "apply", "measure")


def followed(part: Any) -> Any:
    """What a user's builder gave, with all that will run in the graph followed there; anything else as it is."""
    functions = {name: function for name in _IN_RECORDS if callable(function := getattr(part, name, None))}
    if isinstance(part, tuple) and functions:
        return part._replace(**{name: _followed(function) for name, function in functions.items()})
    return _followed(part) if callable(part) else part


def _followed(function: Callable) -> Callable:
    converted = tf.__internal__.autograph.tf_convert(function, ControlStatusCtx(Status.ENABLED))

    def call(*given: Any, **named: Any) -> Any:
        return (converted if tf.inside_function() else function)(*given, **named)

    return call
