"""Between arrays of values and arrays of codes, exactly."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from deephochuli.errors import FormatError
from deephochuli.formats._format import Format

Codes = npt.NDArray[np.unsignedinteger[Any]]
Float64s = npt.NDArray[np.float64]

_MAX_TABLE_BITS = 16


def decode_array(codes: npt.ArrayLike, fmt: Format) -> Float64s:
    """Give the value of each code, exactly.

    Raises:
        FormatError: A code is outside of 0 to `fmt.n_codes` - 1, or no integer.
    """
    words = np.asarray(codes)
    if words.dtype.kind not in "ui":
        raise FormatError(f"Codes of {fmt.name} must be integers, not {words.dtype}.")
    if words.size and (int(words.min()) < 0 or int(words.max()) >= fmt.n_codes):
        raise FormatError(
            f"Codes of {fmt.name} are the integers 0 to {fmt.n_codes - 1}; these reach from "
            f"{int(words.min())} to {int(words.max())}."
        )
    flat = words.reshape(-1)
    if fmt.bits <= _MAX_TABLE_BITS:
        return _value_table(fmt)[flat].reshape(words.shape)
    return _decode_words(flat.astype(np.uint64), fmt).reshape(words.shape)


@lru_cache(maxsize=64)
def _value_table(fmt: Format) -> Float64s:
    """Value of every code, in the order of the codes."""
    return _decode_words(np.arange(fmt.n_codes, dtype=np.uint64), fmt)


def _decode_words(words: npt.NDArray[np.uint64], fmt: Format) -> Float64s:
    """Decode by arithmetic. Every step gives a binary64 number exactly."""
    is_negative = words >= fmt.n_magnitude_codes
    magnitude = (words % np.uint64(fmt.n_magnitude_codes)).astype(np.int64)
    field = magnitude >> (fmt.precision - 1)
    is_low = (field == 0) & fmt.has_zero
    hidden = 1 << (fmt.precision - 1)
    significand = (magnitude & (hidden - 1)) + np.where(is_low, 0, hidden)
    significand[is_low & (not fmt.has_subnormals)] = 0
    exponent = np.where(is_low, fmt.emin, field - fmt.bias) - (fmt.precision - 1)
    # Exponents of NaN and infinity codes may lie beyond binary64; their values are replaced.
    exponent[magnitude > fmt.max_finite_code] = 0
    value = np.ldexp(significand.astype(np.float64), exponent)
    value[magnitude > fmt.max_finite_code] = np.inf
    value[magnitude >= fmt.n_magnitude_codes - fmt.n_high_nans] = np.nan
    zero = 0.0 if fmt.has_negative_zero else np.nan
    value = np.where(is_negative & (words == fmt.n_magnitude_codes), zero, value)
    return np.where(is_negative, -value, value)


def as_binary64(x: npt.ArrayLike) -> Float64s:
    """Give x as float64, refusing what float64 cannot hold exactly."""
    values = np.asarray(x)
    is_wide_integer = values.dtype.kind in "ui" and values.dtype.itemsize > 4
    if is_wide_integer or not np.can_cast(values.dtype, np.float64, "safe"):
        raise FormatError(
            f"Arrays to round must be exact in float64, which {values.dtype} is not. Convert the "
            "array, or use round_scalar, which takes numbers of any size."
        )
    with np.errstate(invalid="ignore"):  # A signalling NaN becomes a quiet one.
        return values.astype(np.float64, copy=False)


def code_dtype(fmt: Format) -> np.dtype[np.unsignedinteger[Any]]:
    """Narrowest unsigned dtype that holds all codes."""
    return np.min_scalar_type(fmt.n_codes - 1)
