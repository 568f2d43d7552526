"""Exact rounding of arrays; the results are those of the scalar functions, the oracle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deephochuli.errors import FormatError, NotRepresentableError
from deephochuli.formats._array_codes import (
    Codes,
    Float64s,
    as_binary64,
    code_dtype,
    decode_array,
)
from deephochuli.formats._array_lattice import (
    Integers,
    Mask,
    Words,
    lattice_codes,
    lattice_codes_at_random,
)
from deephochuli.formats._codes import canonical_nan
from deephochuli.formats._format import Format
from deephochuli.formats._modes import Overflow, Rounding
from deephochuli.formats._rounding import infinity_code, resolve_overflow, stays_in_range

# Keeps the dozen arrays of one step inside the second-level cache.
_CHUNK = 1 << 14
_SIGN = np.uint64(1 << 63)
_INFINITY = np.uint64(0x7FF << 52)
_MAX_RANDOM_BITS = 62


def round_array(
    x: npt.ArrayLike,
    fmt: Format,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    overflow: Overflow | str | None = None,
    *,
    random_bits: npt.ArrayLike | None = None,
    n_random_bits: int = 32,
) -> Float64s:
    """Round every element as `round_scalar` does, with the same arguments and results.

    Args:
        x: Array that binary64 holds exactly: any float up to 64 bits, integers up to 32.
        fmt: Format to round to.
        rounding: Mode or its name.
        overflow: What stands for a result beyond `max_finite`; `fmt.overflow` when not given.
        random_bits: For stochastic rounding, one integer from 0 to 2^n - 1 for each element.
        n_random_bits: The n above, at most 62.

    Returns:
        A new float64 array of values of the format, of the shape of x.

    Numerics:
        Exact integer arithmetic, one rounding; each element depends on itself alone.
    """
    codes = round_to_codes(
        x, fmt, rounding, overflow, random_bits=random_bits, n_random_bits=n_random_bits
    )
    return decode_array(codes, fmt)


def round_to_codes(
    x: npt.ArrayLike,
    fmt: Format,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    overflow: Overflow | str | None = None,
    *,
    random_bits: npt.ArrayLike | None = None,
    n_random_bits: int = 32,
) -> Codes:
    """Round as `round_array` does, and give the codes in the narrowest unsigned dtype."""
    mode, policy = Rounding(rounding), resolve_overflow(fmt, overflow)
    values = as_binary64(x)
    flat = np.ascontiguousarray(values).reshape(-1)
    bits = _random_words(mode, random_bits, n_random_bits, flat.size)
    codes = np.empty(flat.size, code_dtype(fmt))
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        random_part = None if bits is None else bits[part]
        codes[part] = _round_chunk(flat[part], fmt, mode, policy, random_part, n_random_bits)
    return codes.reshape(values.shape)


def encode_array(x: npt.ArrayLike, fmt: Format) -> Codes:
    """Give the codes of numbers that are values of the format; nothing is rounded.

    Raises:
        NotRepresentableError: An element is not a value of the format; the first one is named.
    """
    values = as_binary64(x)
    codes = round_to_codes(values, fmt)
    back = decode_array(codes, fmt)
    same = (back == values) & (np.signbit(back) == np.signbit(values))
    wrong = np.argwhere(~(same | np.isnan(values)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        raise NotRepresentableError(
            f"{len(wrong)} of {values.size} elements are not values of {fmt.name}, the first is "
            f"{float(values[index])!r} at index {index}. Round them first: round_array."
        )
    return codes


def _random_words(
    mode: Rounding, bits: npt.ArrayLike | None, n_bits: int, size: int
) -> Words | None:
    """Check that random bits are given when, and only when, the mode needs them."""
    if mode is not Rounding.STOCHASTIC:
        return None
    words = None if bits is None else np.asarray(bits).reshape(-1)
    if words is None or words.size != size or words.dtype.kind not in "ui":
        found = "none" if words is None else f"{words.size} of {words.dtype}"
        raise FormatError(
            f"Stochastic rounding needs random_bits with one integer for each of the {size} "
            f"elements; given: {found}."
        )
    if not 1 <= n_bits <= _MAX_RANDOM_BITS:
        raise FormatError(f"n_random_bits={n_bits} must be 1 to {_MAX_RANDOM_BITS}.")
    if size and (int(words.min()) < 0 or int(words.max()) >> n_bits):
        raise FormatError(f"random_bits must be 0 to 2^{n_bits} - 1, as n_random_bits={n_bits}.")
    return words.astype(np.uint64)


def _round_chunk(
    x: Float64s,
    fmt: Format,
    mode: Rounding,
    policy: Overflow,
    random_bits: Words | None,
    n_random_bits: int,
) -> Words:
    words = x.view(np.uint64)
    is_negative = words >= _SIGN
    magnitude = words & ~_SIGN
    if random_bits is None:
        code = lattice_codes(magnitude, is_negative, fmt, mode)
    else:
        code = lattice_codes_at_random(magnitude, fmt, random_bits, n_random_bits)
    _limit(code, fmt, mode, policy, is_negative)
    return _finish(code, magnitude, is_negative, fmt, policy)


def _limit(
    code: Integers, fmt: Format, mode: Rounding, policy: Overflow, is_negative: Mask
) -> None:
    """Apply the overflow policy in place to what is beyond `max_finite`."""
    is_beyond = code > fmt.max_finite_code
    if not is_beyond.any():
        return
    if policy is Overflow.SATURATE:
        beyond = fmt.max_finite_code
    else:
        beyond = canonical_nan(fmt) if policy is Overflow.NAN else fmt.max_finite_code + 1
    for sign in (False, True):
        stays = stays_in_range(mode, is_negative=sign)
        code[is_beyond & (is_negative == sign)] = fmt.max_finite_code if stays else beyond


def _finish(
    code: Integers, magnitude: Words, is_negative: Mask, fmt: Format, policy: Overflow
) -> Words:
    """Put in infinities, NaN and signs."""
    is_nan = magnitude > _INFINITY
    is_infinite = magnitude == _INFINITY
    if is_infinite.any():
        code[is_infinite] = infinity_code(fmt, policy)
    if not fmt.is_signed:
        is_nan |= is_negative & (magnitude != 0)
        is_negative = np.zeros_like(is_negative)
    if is_nan.any():
        code[is_nan] = canonical_nan(fmt)
    keeps_sign = is_negative & (code < fmt.n_magnitude_codes - fmt.n_high_nans)
    if not fmt.has_negative_zero:
        keeps_sign &= code != 0
    return code.astype(np.uint64) + keeps_sign * np.uint64(fmt.n_magnitude_codes)
