"""Where activation functions are flat, so that no gradient comes through."""

DEAD_AT_ZERO = (
    "relu",
    "relu6",
)  # with no gradient there either: a unit that is never above 0 has stopped learning
SATURATION_RANGE = {  # the range in which an activation is not saturated
    "sigmoid": (0.05, 0.95),
    "hard_sigmoid": (0.05, 0.95),
    "tanh": (-0.95, 0.95),
    "hard_tanh": (-0.95, 0.95),
    "softsign": (-0.95, 0.95),
}
