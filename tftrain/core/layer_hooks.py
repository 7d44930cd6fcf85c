"""Wrappers around live Keras objects: no other module assigns to an attribute of a layer, a model or a loss.

A wrapper is an attribute of one object that hides the method of its class; to take it off shows the method again. The
wrapper that is put on last is called first. Below, what is further in is called by the line above it:

    when                  attribute                    wrapper (the module that puts it on): how long
    --------------------  ---------------------------  ------------------------------------------------------------
    build                 layer.trainable              frozen (core/freezing): stays
                          model.get_config             recorded arguments (models/serialization): stays
                          generator.next               another seed for each replica (core/replication): stays
                          optimizer.update_step        a rate for each parameter (core/update): stays
                          layer.call                   multiplications counted (core/execution): one call
                          layer.call                   activations recorded (trainer/user_code): trial of a probe
    determinism check     layer.call                   random draws noticed (trainer/determinism_check): one trace
    trace of the steps    layer.call                   layer computed again (core/remat): the trace
                            layer.call                 activations recorded (core/layer_calls): the trace
                              model._run_through_graph   segments computed again (core/remat): the trace
                              layer.inner_loop         states go on (core/recurrent): one call of the model
                                layer.inner_loop       windows, or recorded by RTRL (optim/gradients): one gradient
                          loss.call                    masks recorded (core/objective): one loss
                          optimizer.update_step        fused kernels (core/update): one update
                            optimizer.update_step      a rate for each parameter, see above
                          optimizer._all_reduce_sum_gradients   sums taken already (core/replication): one update
    validation            layer.inner_loop             states go on (core/recurrent): one call of the model
                          loss.call                    masks recorded (core/objective): one loss
    plots, bad steps      layer.call, .activation      calls recorded (diagnostics/layer_trace): one pass
                          layer.inner_loop             calls counted (diagnostics/temporal_gradients): one pass
                            layer.inner_loop           unrolled, as in forward mode (core/recurrent): one pass
                              cell.call                states recorded (diagnostics/temporal_gradients): one pass
    a model is saved      layer._trainable             as before freezing (core/freezing): one file

What does not stay is put on by a context manager that takes it off, also when its block raises. A compiled step keeps
what its trace called, so no wrapper is needed while a graph runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


def all_layers(model: Any) -> list:
    """Return every layer of a model, itself included, once."""
    return list(
        {id(layer): layer for layer in model._flatten_layers()}.values()
    )


@contextmanager
def patched_attribute(
    objects: Iterable, make_value: Callable[[Any], Any], name: str = "call"
) -> Iterator[None]:
    """Replace an attribute of each object during the block.

    Args:
        objects: layers, models, losses or optimizers.
        make_value: returns the attribute's value for one of them, usually a function around the present one.
        name: of the attribute.
    """
    originals: list[tuple[Any, Any]] = []
    try:
        for patched in dict.fromkeys(objects):
            value = make_value(patched)
            originals.append((patched, vars(patched).get(name, _ABSENT)))
            replace_attribute(patched, name, value)
        yield
    finally:
        for patched, original in originals:
            if original is _ABSENT:
                restore_attribute(patched, name)
            else:
                replace_attribute(patched, name, original)


def replace_attribute(patched: Any, name: str, value: Any) -> None:
    """Replace an attribute of one object until `restore_attribute`, without Keras tracking the new value.

    Args:
        patched: a layer, a model, a loss or an optimizer.
        name: of the attribute.
        value: what it is from now on.
    """
    vars(patched)[name] = value


def restore_attribute(patched: Any, name: str) -> None:
    """Make an object use its class's attribute again; does nothing where it does so already.

    Args:
        patched: a layer, a model, a loss or an optimizer.
        name: of the attribute.
    """
    vars(patched).pop(name, None)


def freeze_layer(layer: Any) -> None:
    """Freeze a layer and those within it for good, by Keras's own setter."""
    layer.trainable = False
