"""When an addend is too small to move an accumulator: swamping, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from deephochuli.errors import FormatError, NotRepresentableError
from deephochuli.formats._codes import is_representable
from deephochuli.formats._exact import Exact, Real, exact
from deephochuli.formats._lattice import bracket, gap_below
from deephochuli.formats._layout import Layout, magnitude
from deephochuli.formats._modes import Rounding
from deephochuli.formats._nearest import picks_upper

Toward = Literal["away", "zero", "positive", "negative"]
"""Direction of an addend: relative to the accumulator's own sign, or by its own."""

_QUARTER = Fraction(1, 4)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A magnitude that separates two outcomes, and the outcome on it.

    Attributes:
        value: The magnitude, exact; `float(threshold)` where binary64 is enough.
        inclusive: Whether the magnitude itself still belongs to what is below it.
    """

    value: Fraction
    inclusive: bool

    def __float__(self) -> float:
        return float(self.value)

    def __contains__(self, x: Real) -> bool:
        """Whether a magnitude (a number, regardless of its sign) is on the lower side."""
        number = exact(x)
        if number is None or number.magnitude is None:
            return False
        return number.magnitude < self.value or (self.inclusive and number.magnitude == self.value)


def gap_threshold(
    fmt: Layout, code: int, *, away: bool, rounding: Rounding, is_negative: bool = False
) -> Threshold:
    """How far one can go from a value into the gap beside it and still round back to it.

    Args:
        fmt: Format of the value.
        code: Magnitude code of the value.
        away: Whether to go away from zero, into the gap above, or toward zero.
        rounding: Any mode but the stochastic one.
        is_negative: Sign of the value, which directed rounding depends on.
    """
    value = magnitude(fmt, code)
    if code == 0 and not away and not fmt.has_zero:
        return Threshold(value, inclusive=False)
    gap = bracket(fmt, value) if away else gap_below(fmt, value)
    width = magnitude(fmt, gap.upper) - magnitude(fmt, gap.lower)

    def returns_from(part: Fraction) -> bool:
        fraction = part if away else 1 - part
        place = replace(gap, fraction=fraction)
        return picks_upper(place, rounding, is_negative=is_negative) is not away

    if not returns_from(_QUARTER):
        return Threshold(Fraction(0), inclusive=False)
    if returns_from(3 * _QUARTER):
        return Threshold(width, inclusive=False)
    return Threshold(width / 2, inclusive=returns_from(2 * _QUARTER))


def absorption_threshold(fmt: Layout, a: Real, toward: Toward, rounding: Rounding) -> Threshold:
    """See `Format.absorption_threshold`."""
    number = _accumulator(fmt, a, rounding)
    away = {
        "away": True,
        "zero": False,
        "positive": not number.is_negative,
        "negative": number.is_negative,
    }
    if toward not in away:
        raise FormatError(f"toward={toward!r} is not a direction; use one of {', '.join(away)}.")
    code = bracket(fmt, number.magnitude or Fraction(0)).lower
    return gap_threshold(
        fmt, code, away=away[toward], rounding=rounding, is_negative=number.is_negative
    )


def absorbs(fmt: Layout, a: Real, x: Real, rounding: Rounding) -> bool:
    """See `Format.absorbs`."""
    number, addend = _accumulator(fmt, a, rounding), exact(x)
    if addend is None or not addend.magnitude or number.magnitude is None:
        return False
    step = addend.magnitude if addend.is_negative == number.is_negative else -addend.magnitude
    total = number.magnitude + step
    if total <= 0:
        return False
    place = bracket(fmt, total)
    up = place.fraction > 0 and picks_upper(place, rounding, is_negative=number.is_negative)
    return magnitude(fmt, place.upper if up else place.lower) == number.magnitude


def _accumulator(fmt: Layout, a: Real, rounding: Rounding) -> Exact:
    """Check what absorption is defined for, and give the accumulator as an exact number."""
    if rounding is Rounding.STOCHASTIC:
        raise FormatError(
            "Stochastic rounding has no absorption threshold: an addend x below ulp(a) is "
            "absorbed with probability 1 - |x| / ulp(a)."
        )
    number = exact(a)
    if number is None or number.magnitude is None or not is_representable(a, fmt):
        raise NotRepresentableError(
            f"The accumulator {a!r} is not a finite value of {fmt.name}. Round it first: "
            f"round_scalar(a, {fmt.name!r})."
        )
    if number.magnitude == 0:
        raise FormatError(
            f"The accumulator is zero: absorption is defined for a != 0. What rounds to zero in "
            f"{fmt.name} is underflow, see Format.zero_threshold."
        )
    return number
