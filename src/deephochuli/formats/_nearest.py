"""Which neighbour a rounding mode takes: the one decision that all of rounding rests on."""

from __future__ import annotations

from fractions import Fraction

from deephochuli.formats._lattice import Bracket
from deephochuli.formats._modes import Rounding

_HALF = Fraction(1, 2)


def picks_upper(place: Bracket, rounding: Rounding, *, is_negative: bool) -> bool:
    """Whether a magnitude strictly between two values goes to the one farther from zero.

    Ties to even look at the codes. For p >= 2 an even code is an even significand. For p = 1 all
    significands are 1, and the even code is the even exponent field (as OCP MX conversions do).
    Without subnormals the two values around the gap at zero both have even codes: a tie goes to
    zero, and rounding to odd goes to `smallest_normal`, so that it stays unequal to zero.

    Args:
        place: Two consecutive codes and a fraction other than 0.
        rounding: Any mode but the stochastic one, which needs random bits.
        is_negative: Sign of the number, which the directed modes depend on.
    """
    match rounding:
        case Rounding.NEAREST_EVEN:
            goes_up_from_tie = place.lower % 2 == 1
            return place.fraction > _HALF or (place.fraction == _HALF and goes_up_from_tie)
        case Rounding.NEAREST_AWAY:
            return place.fraction >= _HALF
        case Rounding.UP:
            return not is_negative
        case Rounding.DOWN:
            return is_negative
        case Rounding.ODD:
            return place.lower % 2 == 0
        case Rounding.TOWARD_ZERO:
            return False
        case Rounding.STOCHASTIC:
            raise ValueError("stochastic rounding is decided with random bits")
