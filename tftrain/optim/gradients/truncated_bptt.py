"""Back-propagation through time that reaches back no further than a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tftrain.config.field_types import PositiveInt
from tftrain.core.recurrent import (
    first_carry,
    recurrent_layers,
    truncated_calls,
)
from tftrain.core.types import (
    Batch,
    GradientMethod,
    LossAndGrads,
    Objective,
    StatefulMethod,
    Tree,
)
from tftrain.optim.gradients.backprop import backprop
from tftrain.optim.gradients.method_traits import method_traits


@method_traits(synchronizes_passes=False)
def truncated_bptt(
    window: PositiveInt = 20,
    update: Literal["window", "sequence"] = "sequence",
    *,
    names: Sequence[str],
    model: Any,
    rows: int,
) -> GradientMethod | StatefulMethod:
    """Back-propagation through `window` time steps of recurrent layers, whose states go on from window to window.

    With one update for each `sequence` the loss is that of whole sequences, and its gradient is cut at the windows'
    borders; with one for each `window` a step is given a window of `[batch, window, features]`, and the states that the
    step before came to. The output that a layer repeats at masked steps goes on too, and its gradient is cut as that of
    the states is, but where padding alone follows. With a window of the whole sequence it is `backprop` (P. J. Werbos,
    1990; R. J. Williams and J. Peng, 1990).

    Args:
        window: time steps that the gradient reaches back.
        update: after each `window`, or after each `sequence`.
        names: those of the parameters.
        model: that of the run.
        rows: examples of a batch.


    Raises:
        ValueError: the model has no recurrent layer, or one that cannot be cut into windows.
    """
    layers, full_method = recurrent_layers(model), backprop(names=names)
    if update == "window":
        return StatefulMethod(full_method, first_carry(layers, rows))

    def evaluate(
        objective: Objective, batch: Batch, carry: Tree
    ) -> LossAndGrads:
        with truncated_calls(layers, window):
            return full_method(objective, batch, carry)

    return evaluate
