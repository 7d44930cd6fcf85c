"""What the trainer must know of a gradient method before it builds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class MethodTraits(NamedTuple):
    """Properties of a gradient method; the defaults are those of plain back-propagation.

    Attributes:
        compares_passes: whether the gradient is computed from the losses of
            several passes, so that all of them must draw the same numbers.
        has_backward_pass: whether activations are kept for a backward pass,
            so that `gradients.remat` can save them.
        synchronizes_passes: whether the devices make the same passes at the
            same time, as synchronized batch normalization needs it.
    """

    compares_passes: bool = False
    has_backward_pass: bool = True
    synchronizes_passes: bool = True


def method_traits(**traits: bool) -> Callable[[Callable], Callable]:
    """Return a decorator for the function that builds a gradient method.

    Args:
        traits: fields of MethodTraits that differ from the default.
    """

    def decorate(builder: Callable) -> Callable:
        builder.method_traits = MethodTraits(**traits)
        return builder

    return decorate


def traits_of(builder: Any) -> MethodTraits:
    """Return the traits of the function that builds a gradient method."""
    return getattr(builder, "method_traits", MethodTraits())
