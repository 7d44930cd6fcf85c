"""Parts of a user's own, as a config names them by `mine:name`; nothing here is ever called."""

from __future__ import annotations

from functools import partial, wraps
from typing import Literal, Optional

import elsewhere_and_missing  # checking a config must not import this file


def typed(
    width: int,
    rate: float = 0.5,
    bias: bool = True,
    mode: Literal["soft", "hard"] = "soft",
    label: str = "a",
    depth: Optional[int] = None,  # noqa: UP045
    sizes: list[int] = [3, 3],  # noqa: B006
    pair: tuple[int, float] = (1, 0.5),
    table: dict[str, int] = {},  # noqa: B006
    anything=None,
    guessed=0.1,
    activation="relu",
    *,
    input_shape: tuple,
    classes: int,
    outputs: int,
    **more,
):
    """Everything that can be annotated."""


def bounded(
    share: Annotated[float, Range(-1, 1, above=True)] = 0.5,  # noqa: F821
    called: Annotated[float, print("nothing")] = 0.5,  # noqa: F821
):
    """Bounds that are written out, and what nobody runs."""


class Base:
    """A constructor to inherit."""

    def __init__(self, units: int, **kwargs):
        pass


class Child(Base):
    """Inherits it."""


class Grandchild(Child):
    def __init__(self, units: int = 4, kernel_initializer="glorot_uniform"):
        super().__init__(units)


def marked(function):
    @wraps(function)
    def inner(*arguments, **named):
        return function(*arguments, **named)

    return inner


@marked
def decorated(x, slope: float = 0.1):
    return x * slope


def odd_defaults(count: int = None, size: int = 0.5, share: float = 1):  # noqa: RUF013
    """Defaults that their annotations do not allow."""


def unknown_types(
    path: elsewhere_and_missing.Thing,
    callback: "Callable | None" = None,  # noqa: F821, UP037
):
    """Annotations that YAML cannot be checked against."""


def loss(y_true, y_pred, power: float = 2.0):
    return abs(y_true - y_pred) ** power


shortened = partial(typed, width=3)
