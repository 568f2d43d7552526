"""Numbers as exact rationals, with what rationals lack: the sign of a zero, infinities, NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from typing import SupportsFloat

Real = float | int | Fraction
"""What scalar functions accept; numpy scalars work too, without a rounding on the way."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Sign and magnitude of a number; the magnitude is None for an infinity."""

    is_negative: bool
    magnitude: Fraction | None


def exact(x: Real) -> Exact | None:
    """Sign and magnitude of x without any rounding; None for NaN."""
    if isinstance(x, Rational):
        # int() because numpy integers are rational numbers too, but wrap around.
        value = Fraction(int(x.numerator), int(x.denominator))
        return Exact(value < 0, abs(value))
    is_negative = math.copysign(1.0, x) < 0
    if math.isnan(x):
        return None
    if math.isinf(x):
        return Exact(is_negative, None)
    return Exact(is_negative, abs(Fraction(*x.as_integer_ratio())))


def floor_log2(x: Fraction) -> int:
    """Exponent e of the binade of x > 0: 2^e <= x < 2^(e+1), by integers alone."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= power_of_two(e) else e - 1


def power_of_two(e: int) -> Fraction:
    """2^e, exactly."""
    return Fraction(1 << e) if e >= 0 else Fraction(1, 1 << -e)


def signed(value: SupportsFloat, is_negative: bool) -> float:
    """The magnitude as a float, with a sign that a zero keeps as well."""
    return -float(value) if is_negative else float(value)
