"""The values of a format in their order, and where a number lies between them.

All of this works on magnitude codes, the codes without their sign. Their magnitudes go on above
`max_finite_code`; there the codes stand for what the format would hold if it had larger exponents,
which is where overflow is decided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from deephochuli.formats._exact import Real, exact, floor_log2, power_of_two
from deephochuli.formats._layout import Layout, magnitude


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where a magnitude lies: between two consecutive codes, or on the lower one.

    Attributes:
        lower: Code of the largest value that is not larger.
        upper: Code of the value that follows.
        fraction: Place between the two, in [0, 1); 0 when the magnitude is a value.
        lower_is_even: Whether the significand at `lower` is even. For p = 1 only that of zero is.
    """

    lower: int
    upper: int
    fraction: Fraction
    lower_is_even: bool


def bracket(fmt: Layout, x: Fraction) -> Bracket:
    """Find the two consecutive codes around a magnitude x >= 0.

    What is below the smallest value of a format without zero counts as that value.
    """
    hidden = 1 << (fmt.precision - 1)
    e = max(fmt.emin, floor_log2(x)) if x else fmt.emin
    steps = x / power_of_two(e - fmt.precision + 1)
    significand = int(steps)
    is_even = significand % 2 == 0
    if significand >= hidden:
        field_0 = 0 if fmt.has_zero else hidden
        code = (e - fmt.emin) * hidden + significand - field_0
        return Bracket(code, code + 1, steps - significand, is_even)
    if not fmt.has_zero:
        return Bracket(0, 1, Fraction(0), lower_is_even=False)
    if not fmt.has_subnormals:
        return Bracket(0, hidden, steps / hidden, lower_is_even=True)
    return Bracket(significand, significand + 1, steps - significand, is_even)


def gap_below(fmt: Layout, value: Fraction) -> Bracket:
    """Give the gap that ends at a value above the smallest one; its fraction lies inside."""
    # Half of the smallest gap leads into any gap.
    return bracket(fmt, value - power_of_two(fmt.emin - fmt.precision))


def ulp(fmt: Layout, x: Real) -> float:
    """See `Format.ulp`."""
    number = exact(x)
    if number is None or number.magnitude is None:
        return math.nan
    if number.magnitude < Fraction(fmt.smallest_normal):
        return fmt.smallest_subnormal
    e = min(floor_log2(number.magnitude), fmt.emax)
    return math.ldexp(1.0, e - fmt.precision + 1)


def next_up(fmt: Layout, x: Real) -> float:
    """See `Format.next_up`."""
    number = exact(x)
    if number is None:
        return math.nan
    if not number.is_negative or number.magnitude == 0:
        return _next_away(fmt, number.magnitude)
    if not fmt.is_signed:
        return float(magnitude(fmt, 0))
    below = _next_toward_zero(fmt, number.magnitude)
    return -below if below or fmt.has_negative_zero else 0.0


def next_down(fmt: Layout, x: Real) -> float:
    """See `Format.next_down`."""
    number = exact(x)
    if number is None:
        return math.nan
    if not number.is_negative and number.magnitude != 0:
        return _next_toward_zero(fmt, number.magnitude)
    return -_next_away(fmt, number.magnitude) if fmt.is_signed else math.nan


def _next_away(fmt: Layout, x: Fraction | None) -> float:
    """Smallest value above a magnitude; None is infinity."""
    if not fmt.has_zero and x is not None and x < Fraction(fmt.smallest_normal):
        return fmt.smallest_normal
    code = fmt.max_finite_code + 1 if x is None else bracket(fmt, x).upper
    if code > fmt.max_finite_code:
        return math.inf if fmt.has_infinities else math.nan
    return float(magnitude(fmt, code))


def _next_toward_zero(fmt: Layout, x: Fraction | None) -> float:
    """Largest value below a magnitude above zero; None is infinity."""
    if x is None or x > Fraction(fmt.max_finite):
        return fmt.max_finite
    if not fmt.has_zero and x <= Fraction(fmt.smallest_normal):
        return math.nan
    place = bracket(fmt, x)
    return float(magnitude(fmt, place.lower if place.fraction else gap_below(fmt, x).lower))
