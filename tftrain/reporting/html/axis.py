"""Where values stand along an axis, and its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_STEPS = (1, 2, 5, 10)
RATIO = 100  # from the least to the most, above which an axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, which are logarithms where it is logarithmic, over `length` units from `start` on."""

    low: float
    high: float
    start: float
    length: float
    logarithmic: bool = False

    def places(self, values: np.ndarray) -> np.ndarray:
        """[points] -> [points]."""
        scaled = np.log10(values) if self.logarithmic else np.asarray(values, float)
        return self.start + (scaled - self.low) / (self.high - self.low) * self.length

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values and their words, `most` at most."""
        exponents = decades(self.low, self.high, most) if self.logarithmic else []
        if len(exponents) > 1:
            return [(10.0**exponent, power(exponent)) for exponent in exponents]
        if self.logarithmic and self.high - self.low >= 0.7:
            return [(value, brief(value)) for value in finer(self.low, self.high)]
        low, high = (
            (10**self.low, 10**self.high) if self.logarithmic else (self.low, self.high)
        )
        return [(value, brief(value)) for value in round_numbers(low, high, most)]

    def whole_ticks(self, most: int) -> list[tuple[float, str]]:
        """Those that are whole numbers, such as steps."""
        return [
            (value, words)
            for value, words in self.ticks(most)
            if float(value).is_integer()
        ]


def spanning(
    values: np.ndarray, start: float, length: float, logarithmic: bool
) -> Axis:
    """The axis for values that are finite, and above 0 where it is logarithmic, with a little room at either end."""
    scaled = np.log10(values) if logarithmic else values
    low, high = (
        (float(scaled.min()), float(scaled.max())) if len(scaled) else (0.0, 1.0)
    )
    room = 0.04 * (high - low) or (0.5 if logarithmic else 0.1 * abs(low) or 1.0)
    return Axis(low - room, high + room, start, length, logarithmic)


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(one * unit for one in _STEPS if one * unit >= rough * 0.999)
    return [
        at * step
        for at in range(
            math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1
        )
    ]


def decades(low: float, high: float, most: int) -> list[int]:
    """Exponents between two logarithms."""
    step = max(1, math.ceil((high - low) / most))
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))


def finer(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 of each decade between two logarithms."""
    numbers = [
        by * 10.0**exponent
        for exponent in range(math.floor(low), math.floor(high) + 1)
        for by in _STEPS[:3]
    ]
    return [one for one in numbers if low <= math.log10(one) <= high]


def power(exponent: int) -> str:
    """10⁻³ of -3."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def brief(value: float) -> str:
    """A tick's number: 1200, 0.05, 5e-7."""
    text = f"{value:.6g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text
