"""What the compiled loops read of a plan: a short table of words.

The loops do not take numbers apart. The bits of a positive number are an integer that grows with
it, and rounding in the normal range of a format is an addition and a mask at a fixed bit. Below
that range (*low*) the significand is cut at another bit for each binade, and the number of steps
that is left is made a number again.

Where a format reaches below the normal range of its carrier (*deep*: E8M0 in binary32), the
exponents of all patterns are first lifted, so that those numbers look normal too.
"""

from __future__ import annotations

import functools
import itertools
import math
from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.formats import Format, Rounding, round_scalar
from deephochuli.kernels.rounding._contract import CARRIER32, N_RANDOM_BITS, Carrier, RoundingPlan


class Mode(IntEnum):
    """How a loop decides; what differs inside a mode is in the table."""

    NEAREST = 0
    DIRECTED = 1
    ODD = 2
    STOCHASTIC = 3


class Variant(IntFlag):
    """Which parts a loop has."""

    PLAIN = 0
    LOW = 1
    """Some numbers are below the normal range of the format."""
    SUM = 2
    """The low range can be rounded by a floating-point addition: nearest-even, far from both ends
    of the carrier, so that no operand whose value matters is subnormal."""
    DEEP = 4
    """The format reaches below the normal range of the carrier."""
    SCALED = 16
    """The low range can be counted in its steps by floating-point products with powers of two: far
    enough from both ends of the carrier that what is subnormal there is far below every step."""
    CALM = 8
    """There is no number above `max_finite`, no infinity and no NaN, and what is decided by random
    bits in the low range is decided by as many of them as the carrier has place for."""
    DOUBLED = 32
    """Of deep formats those that reach one binade below the carrier's normal range, and no further
    towards zero: it is enough to double all numbers."""
    UNSIGNED = 64
    """The format has no signs."""
    ONE_ZERO = 128
    """The format has signs, but no -0."""


N_PLACES: Final = 16
"""Places of a lattice, which a vector of binary32 has lanes for."""

N_MAGNITUDES: Final = 8
"""Magnitudes that a format may have to have a lattice: half of the places; what is too large for
the format and what is a little below zero have places too."""

MOST_CARDS: Final = 256
"""Cards that there is place for, one for each scale."""

LEAST_STEP: Final = 2.0**-60
"""The smallest step of a block; the largest one is one over it."""

# The bits that binary64 has and binary32 has not.
_CUT_OFF: Final = (1 << 29) - 1

LOW_RANGE: Final = Variant.LOW | Variant.SUM | Variant.SCALED
"""Ways of rounding below the normal range; loops with none of them have no such range."""


class Word(IntEnum):
    """Places in the table. Patterns are those of the carrier; lifted where that is said."""

    CUT = 0  # how many bits the normal range cuts off
    BELOW = 1  # those bits, set
    PARITY = 2  # 1 where the last bit that stays decides ties, or whether an odd number is odd
    TIE = 3  # 1 where ties go up
    LOW_PARITY = 4  # the same in the low range
    LOW_TIE = 5
    GROWS_POSITIVE = 6  # whether a directed mode rounds up magnitudes of this sign
    GROWS_NEGATIVE = 7
    LOW_LIMIT = 8  # lifted pattern of the smallest normal number; 0 where nothing is low
    LOW_FIELD = 9  # its exponent field
    LOW_CUT = 10  # how many bits the binade just below it would cut off, less 1
    LOW_STEP = 11  # how many steps up is
    LOW_SCALE = 12  # what added to the pattern of a number of steps makes it that many steps
    LOW_NORMAL = 13  # from how many steps on that is a normal number of the carrier
    LOW_SHIFT = 14  # how far fewer steps are shifted to be a subnormal one
    FLOOR = 15  # lifted pattern of the smallest value where there is no zero
    MAX = 16
    BEYOND_POSITIVE = 17
    BEYOND_NEGATIVE = 18
    INFINITE = 19
    CAP_NEGATIVE = 20  # negative magnitudes above this are NaN
    SIGN = 21  # mask of the sign; 0 for unsigned formats
    LEAST_SIGNED = 22  # magnitudes that keep the sign: from here on,
    N_SIGNED = 23  # and this many
    SUMMAND = 24  # the number whose last bit is the smallest subnormal number
    STEP = 25  # the smallest subnormal number
    STEPS = 26  # one over it


def lift_of(carrier: Carrier) -> int:
    """By how much exponent fields are lifted."""
    return carrier.stored + 1


def variant_of(plan: RoundingPlan) -> Variant:
    """Which loop a plan needs for blocks of any content."""
    fmt, lowest = plan.fmt, plan.carrier.fmt.emin
    ends = Variant.PLAIN if fmt.is_signed else Variant.UNSIGNED
    if fmt.is_signed and not fmt.has_negative_zero:
        ends |= Variant.ONE_ZERO
    if fmt.emin < lowest:
        ends |= Variant.DEEP
    if fmt.emin == lowest - 1 and not fmt.has_zero:
        ends |= Variant.DOUBLED
    goes_on = fmt.emin == lowest and fmt.has_subnormals and fmt.precision > 1
    if goes_on or not fmt.has_zero:
        return ends
    if _is_far_inside(plan):
        is_sum = plan.rounding is Rounding.NEAREST_EVEN
        return ends | (Variant.SUM if is_sum else Variant.SCALED)
    return ends | Variant.LOW


def _is_far_inside(plan: RoundingPlan) -> bool:
    """Whether steps of the low range, their inverse, and 2^-32 of one are normal numbers."""
    fmt, lowest = plan.fmt, plan.carrier.fmt.emin
    unit = fmt.emin - fmt.precision + 1
    return fmt.has_subnormals and fmt.precision > 1 and lowest + N_RANDOM_BITS < unit < -lowest


def can_be_moved(fmt: Format) -> bool:
    """Whether a format can be rounded to with all its exponents moved, anywhere inside binary32.

    That is: with its largest binade that of any number from 2^-60 to 2^104, its steps, and 2^-32 of
    one, stay normal numbers; and what is added to numbers so that they are cut stays finite.
    """
    is_usual = fmt.has_subnormals and fmt.has_zero and fmt.has_negative_zero
    unit = fmt.emin - fmt.precision + 1
    return is_usual and 2 <= fmt.precision <= 22 and fmt.emax - unit < 34


def has_lattice(fmt: Format) -> bool:
    """Whether a format is rounded to by looking up where a number lies between its magnitudes.

    These are few and have two bits, none far below 1, and zero has both signs.
    """
    is_short = fmt.precision == 2 and fmt.emin >= 0 and fmt.n_magnitude_codes <= N_MAGNITUDES
    return is_short and fmt.has_subnormals and fmt.has_zero and fmt.has_negative_zero


def has_cards(fmt: Format, unit: float) -> bool:
    """Whether scales are few enough for a card each, of few bits, and near 1, also times a unit."""
    if not (2 <= fmt.precision <= 4 and fmt.has_subnormals and fmt.has_zero):
        return False
    least, most = fmt.smallest_subnormal, fmt.max_finite
    if not (LEAST_STEP <= least * min(unit, 1.0) and most * max(unit, 1.0) <= 1 / LEAST_STEP):
        return False
    return _n_cards(fmt) <= MOST_CARDS


@functools.lru_cache(maxsize=512)
def _n_cards(fmt: Format) -> int:
    """One for each number of the precision of a format between its ends, and one for zero."""
    ends = fmt.smallest_subnormal, fmt.max_finite
    first, last = (CARRIER32.pattern(x) >> (24 - fmt.precision) for x in ends)
    return last - first + 2


def mode_of(rounding: Rounding) -> Mode:
    """Which loop a mode needs."""
    match rounding:
        case Rounding.NEAREST_EVEN | Rounding.NEAREST_AWAY:
            return Mode.NEAREST
        case Rounding.ODD:
            return Mode.ODD
        case Rounding.STOCHASTIC:
            return Mode.STOCHASTIC
        case _:
            return Mode.DIRECTED


def calm_limit(plan: RoundingPlan) -> int:
    """Up to which magnitude a block is calm."""
    return plan.max_finite


@functools.lru_cache(maxsize=512)
def table_of(plan: RoundingPlan) -> NDArray[np.unsignedinteger[Any]]:
    """The table of a plan, in words of the width of its carrier."""
    words = {**_decisions(plan), **_low_range(plan), **_ends(plan)}
    # Patterns are integers modulo 2^width.
    width = plan.carrier.width
    return np.array([words[word] % (1 << width) for word in Word], f"u{width // 8}")


def _decisions(plan: RoundingPlan) -> dict[Word, int]:
    """How the normal range is cut, and which neighbour is taken."""
    fmt, mode = plan.fmt, plan.rounding
    cut = plan.carrier.stored + 1 - fmt.precision
    is_even_mode = mode in (Rounding.NEAREST_EVEN, Rounding.ODD)
    # With one bit of precision all significands are odd.
    looks = is_even_mode and fmt.precision > 1 and cut > 0
    goes_up = mode is Rounding.NEAREST_AWAY or (is_even_mode and fmt.precision == 1)
    return {
        Word.CUT: cut,
        Word.BELOW: (1 << cut) - 1,
        Word.PARITY: int(looks),
        Word.TIE: int(goes_up and cut > 0),
        Word.LOW_PARITY: int(is_even_mode),
        Word.LOW_TIE: int(mode is Rounding.NEAREST_AWAY),
        Word.GROWS_POSITIVE: int(mode is Rounding.UP),
        Word.GROWS_NEGATIVE: int(mode is Rounding.DOWN),
    }


def _low_range(plan: RoundingPlan) -> dict[Word, int]:
    """How the range below the normal one is cut, and made numbers again."""
    fmt, carrier, variant = plan.fmt, plan.carrier, variant_of(plan)
    lift = lift_of(carrier) if variant & Variant.DEEP else 0
    stored, field = carrier.stored, fmt.emin + carrier.bias + lift
    unit = fmt.emin - (fmt.precision - 1)
    normal_from = 1 if lift else max(1, 1 << max(0, carrier.fmt.emin - unit))
    shift = unit - (carrier.fmt.emin - stored)
    start = field << stored
    return {
        Word.LOW_LIMIT: start if fmt.has_zero and variant & LOW_RANGE else 0,
        Word.LOW_FIELD: field,
        Word.LOW_CUT: stored + 1 - fmt.precision if fmt.has_subnormals else stored,
        Word.LOW_STEP: 1 if fmt.has_subnormals else 1 << (fmt.precision - 1),
        Word.LOW_SCALE: (unit + lift) << stored,
        Word.LOW_NORMAL: normal_from,
        Word.LOW_SHIFT: shift if normal_from > 1 else 0,
        Word.FLOOR: 0 if fmt.has_zero else start,
        Word.SUMMAND: (unit + stored + carrier.bias) << stored,
        Word.STEP: (carrier.bias + unit) << stored,
        Word.STEPS: (carrier.bias - unit) << stored,
    }


def _ends(plan: RoundingPlan) -> dict[Word, int]:
    """What becomes of the largest numbers, of infinities, and of signs."""
    fmt, carrier = plan.fmt, plan.carrier
    least = 0 if fmt.has_negative_zero else 1
    return {
        Word.MAX: plan.max_finite,
        Word.BEYOND_POSITIVE: plan.beyond(is_negative=False),
        Word.BEYOND_NEGATIVE: plan.beyond(is_negative=True),
        Word.INFINITE: plan.infinite,
        Word.CAP_NEGATIVE: carrier.infinity if fmt.is_signed else 0,
        Word.SIGN: carrier.sign if fmt.is_signed else 0,
        Word.LEAST_SIGNED: least,
        Word.N_SIGNED: carrier.infinity + 1 - least,
    }


@functools.lru_cache(maxsize=512)
def lattice_of(plan: RoundingPlan) -> NDArray[np.uint64]:
    """The magnitudes of a format of few values, and where rounding turns from one to the next.

    For compiled code, each in `N_PLACES` words: values, and above each the threshold from which on
    a number has the next one, both in binary64; and what to add to the pattern of the product of a
    threshold and a step so that cut to binary32 it is the first number that has the upper value.

    A number x goes to the place that the last four bits of its pattern tell, cut as the format cuts
    its normal range, once it is doubled or, below the smallest normal number, that number is added:
    then all magnitudes, from zero on, follow one another without gaps. Behind the last one all
    places have its value, but for the place before that of zero, which has zero.
    """
    magnitudes = magnitudes_of(plan.fmt)
    values, thresholds = np.full(N_PLACES, magnitudes[-1]), np.full(N_PLACES, np.inf)
    bumps = np.full(N_PLACES, _CUT_OFF)
    zero = 2 * (plan.carrier.bias + plan.fmt.emin)
    places = [(zero + i) % N_PLACES for i in range(-1, len(magnitudes))]
    values[places] = [0.0, *magnitudes]
    for place, (low, high) in zip(places[1:], itertools.pairwise(magnitudes), strict=False):
        middle = high if plan.rounding is Rounding.TOWARD_ZERO else (low + high) / 2
        thresholds[place] = middle
        is_low = plan.rounding is not Rounding.STOCHASTIC and _rounded(middle, plan) == low
        bumps[place] += int(is_low)
    return np.concatenate(
        [values.view(np.uint64), thresholds.view(np.uint64), bumps.view(np.uint64)]
    )


def magnitudes_of(fmt: Format) -> list[float]:
    """The finite magnitudes of a format, the smallest one first."""
    return sorted({abs(value) for value in fmt.values() if math.isfinite(value)})


def _rounded(value: float, plan: RoundingPlan) -> float:
    return float(round_scalar(value, plan.fmt, plan.rounding, plan.overflow))
