"""Where the elements of an array lie between the values of a format, and which one they become.

The bits of a positive binary64 number are an integer that grows with it, and so is a magnitude
code. In the normal range of a format the one is the other, shifted and with another bias, and
rounding is an addition before the shift. Below it the significand is shifted by more, element by
element. There is no logarithm, no floating-point addition and no second rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deephochuli.formats._format import Format
from deephochuli.formats._modes import Rounding

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_STORED_BITS = 52
_BIAS = 1023
_HIDDEN = np.uint64(1 << _STORED_BITS)
_ONE = np.uint64(1)
_MAX_SHIFT = 63
# Below that of any number, so that zero lies in the lowest binade of each format.
_EXPONENT_OF_ZERO = -1100


@dataclass(frozen=True, slots=True)
class _Places:
    """The array counterpart of `Bracket`: the fraction is rest / 2^shift."""

    significand: Words
    lower: Integers
    upper: Integers
    rest: Words
    shift: Integers


def lattice_codes(magnitude: Words, is_negative: Mask, fmt: Format, mode: Rounding) -> Integers:
    """Round magnitudes, given as binary64 bits, to codes of the format or beyond its end.

    Infinities and NaN give codes beyond the end too.
    """
    code = _normal_codes(magnitude, is_negative, fmt, mode)
    is_low = magnitude < _bits_of_power(max(fmt.emin, 1 - _BIAS))
    if is_low.any():
        # Less than an eighth of the smallest value only matters in being zero or not.
        is_near = is_low & (magnitude >= _bits_of_power(fmt.emin - fmt.precision - 2))
        code[is_low] = 0
        if mode in (Rounding.UP, Rounding.DOWN, Rounding.ODD):
            is_near = is_low
        places = _places(magnitude[is_near], fmt)
        up = _picks_upper(places, mode, is_negative[is_near])
        code[is_near] = np.where(up, places.upper, places.lower)
    return code


def lattice_codes_at_random(
    magnitude: Words, fmt: Format, random_bits: Words, n_random_bits: int
) -> Integers:
    """Round magnitudes stochastically: up where floor(f 2^n) + r >= 2^n."""
    places = _places(magnitude, fmt)
    up = _picks_upper_at_random(places, random_bits, n_random_bits)
    return np.where(up, places.upper, places.lower)


def _bits_of_power(e: int) -> np.uint64:
    """Bits of 2^e as binary64; those of its smallest number where it has no 2^e."""
    return np.float64(math.ldexp(1.0, max(e, -1074))).view(np.uint64)


def _normal_codes(magnitude: Words, is_negative: Mask, fmt: Format, mode: Rounding) -> Integers:
    """Codes of magnitudes from 2^emin on; those of smaller ones are meaningless."""
    cut = _STORED_BITS + 1 - fmt.precision
    field_0 = fmt.emin + _BIAS - int(fmt.has_zero)
    # Modulo 2^64, because a format may begin below the normal range of binary64.
    shifted = magnitude - np.uint64((field_0 << _STORED_BITS) % (1 << 64))
    if cut == 0:
        return shifted.view(np.int64)
    below = np.uint64((1 << cut) - 1)
    step = np.uint64(cut)
    match mode:
        case Rounding.NEAREST_EVEN if fmt.precision > 1:
            is_odd = (shifted >> step) & _ONE
            shifted += is_odd
            shifted += below >> _ONE
        case Rounding.NEAREST_EVEN | Rounding.NEAREST_AWAY:
            shifted += (below >> _ONE) + _ONE
        case Rounding.UP | Rounding.DOWN:
            grows = is_negative if mode is Rounding.DOWN else ~is_negative
            shifted += grows * below
        case Rounding.ODD if fmt.precision > 1:
            shifted |= ((shifted & below) != 0).astype(np.uint64) << step
        case _:
            pass
    shifted >>= step
    return shifted.view(np.int64)


def _places(magnitude: Words, fmt: Format) -> _Places:
    """Find for each magnitude the code at or below it, and what is cut off (see `bracket`)."""
    p, stored = fmt.precision, _STORED_BITS
    e, significand = _split(magnitude)
    q = np.maximum(e, fmt.emin)
    shift = q - e + (stored + 1 - p)
    cut = np.minimum(shift, _MAX_SHIFT).astype(np.uint64)
    steps = significand >> cut
    hidden = 1 << (p - 1)
    lower = (q - fmt.emin) * hidden + steps.astype(np.int64) - (0 if fmt.has_zero else hidden)
    rest = significand - (steps << cut)
    if fmt.has_zero and fmt.has_subnormals:
        return _Places(steps, lower, lower + 1, rest, shift)
    is_below = steps < hidden
    steps, lower = np.where(is_below, 0, steps), np.where(is_below, 0, lower)
    if not fmt.has_zero:
        rest = np.where(is_below, 0, rest)
        return _Places(steps, lower, lower + 1, rest, shift)
    rest = np.where(is_below, significand, rest)
    return _Places(
        steps, lower, np.where(is_below, hidden, lower + 1), rest, shift + is_below * (p - 1)
    )


def _split(magnitude: Words) -> tuple[Integers, Words]:
    """Exponent e and 53-bit significand s with magnitude = s 2^(e - 52), normalised."""
    field = (magnitude >> np.uint64(_STORED_BITS)).astype(np.int64)
    significand = (magnitude & (_HIDDEN - _ONE)) | _HIDDEN
    e = field - _BIAS
    is_low = field == 0
    if is_low.any():
        # Subnormal numbers of binary64, and zero: frexp gives their leading bit exactly.
        fraction, exponent = np.frexp(magnitude[is_low].view(np.float64))
        e[is_low] = np.where(fraction == 0, _EXPONENT_OF_ZERO, exponent - 1)
        significand[is_low] = np.ldexp(fraction, _STORED_BITS + 1).astype(np.uint64)
    return e, significand


def _picks_upper(places: _Places, mode: Rounding, is_negative: Mask) -> Mask:
    """The array counterpart of `picks_upper`; False where nothing is cut off."""
    is_cut = places.rest != 0
    match mode:
        case Rounding.NEAREST_EVEN | Rounding.NEAREST_AWAY:
            whole = _ONE << np.minimum(places.shift, _MAX_SHIFT).astype(np.uint64)
            twice = places.rest << _ONE
            if mode is Rounding.NEAREST_AWAY:
                return twice >= whole
            # An odd significand lets the tie count as more than half.
            return twice + (places.significand & _ONE) > whole
        case Rounding.UP:
            return is_cut & ~is_negative
        case Rounding.DOWN:
            return is_cut & is_negative
        case Rounding.ODD:
            return is_cut & ((places.significand & _ONE) == 0)
        case _:
            return np.zeros_like(is_negative)


def _picks_upper_at_random(places: _Places, random_bits: Words, n_bits: int) -> Mask:
    """Whether floor(f 2^n) + r >= 2^n, where f = rest / 2^shift."""
    surplus = places.shift - n_bits
    right = np.clip(surplus, 0, _MAX_SHIFT).astype(np.uint64)
    left = np.clip(-surplus, 0, _MAX_SHIFT).astype(np.uint64)
    scaled = (places.rest >> right) << left
    return scaled + random_bits >= np.uint64(1 << n_bits)
