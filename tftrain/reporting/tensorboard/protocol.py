"""How an event file holds the map of gradients, parameters x steps: words shared by who writes it and who draws it."""

from __future__ import annotations

PLUGIN = "tftrain_gradients"
VERSION = 1
# Of each tensor, [parameters, quantities], what its columns are. The second is written where a point is measured.
# Columns are only ever added at the end: a run that is older has fewer.
TENSORS = {
    "gradients/norms": ("grad_norm", "clipped_grad_norm"),
    "gradients/measured": (
        "update_ratio",
        "weight_norm",
        "zero_grads",
        "dead_units",
        "saturated",
    ),
}
OF_LAYERS = (
    "dead_units",
    "saturated",
)  # the same for all parameters of a layer
NONE = -1.0  # stands for a number that there is not: all quantities are at least 0, or NaN
