"""Which neighbour a rounding mode takes: the one decision that all of rounding rests on."""

from __future__ import annotations

from fractions import Fraction

from deephochuli.formats._lattice import Bracket
from deephochuli.formats._modes import Rounding

_HALF = Fraction(1, 2)


def picks_upper(place: Bracket, rounding: Rounding, *, is_negative: bool) -> bool:
    """Whether a magnitude strictly between two values goes to the one farther from zero.

    A tie goes to the even significand, and where both are odd to the larger magnitude (IEEE
    754-2019, 4.3.1). Both are odd only for p = 1, whose significands are all 1. Without subnormals
    both sides of the gap at zero are even: a tie goes to zero, and rounding to odd goes to
    `smallest_normal`, so that what was not zero stays so.

    Args:
        place: Two consecutive codes and a fraction other than 0.
        rounding: Any mode but the stochastic one, which needs random bits.
        is_negative: Sign of the number, which the directed modes depend on.
    """
    match rounding:
        case Rounding.NEAREST_EVEN:
            is_tie = place.fraction == _HALF
            return not place.lower_is_even if is_tie else place.fraction > _HALF
        case Rounding.NEAREST_AWAY:
            return place.fraction >= _HALF
        case Rounding.UP:
            return not is_negative
        case Rounding.DOWN:
            return is_negative
        case Rounding.ODD:
            return place.lower_is_even
        case Rounding.TOWARD_ZERO:
            return False
        case Rounding.STOCHASTIC:
            raise ValueError("stochastic rounding is decided with random bits")
