"""Between the values of a format and their codes, both ways and exactly."""

from __future__ import annotations

import math

from deephochuli.errors import FormatError, NotRepresentableError
from deephochuli.formats._exact import Exact, Real, exact, signed
from deephochuli.formats._lattice import bracket, next_down, next_up
from deephochuli.formats._layout import Layout, magnitude


def decode(code: int, fmt: Layout) -> float:
    """Value that a code stands for.

    Args:
        code: Integer from 0 up to, but without, `fmt.n_codes`.
        fmt: Format of the code.

    Returns:
        The value; inf, -0.0 and nan where the format has them at this code.

    Raises:
        FormatError: The code is outside its range.

    Numerics:
        Exact: all values of all formats are binary64 numbers.

    Example:
        >>> from deephochuli.formats import get_format
        >>> decode(0x3C01, get_format("fp16"))
        1.0009765625
    """
    if not 0 <= code < fmt.n_codes:
        raise FormatError(
            f"{code} is no code of {fmt.name}: its codes are the integers 0 to {fmt.n_codes - 1}."
        )
    is_negative, magnitude_code = divmod(code, fmt.n_magnitude_codes)
    if magnitude_code >= fmt.n_magnitude_codes - fmt.n_high_nans:
        return math.nan
    if magnitude_code > fmt.max_finite_code:
        return signed(math.inf, bool(is_negative))
    if is_negative and magnitude_code == 0 and not fmt.has_negative_zero:
        return math.nan
    value = signed(magnitude(fmt, magnitude_code), bool(is_negative))
    return value if value or fmt.has_negative_zero else 0.0


def encode(x: Real, fmt: Layout) -> int:
    """Code of a number that is a value of the format; nothing is rounded.

    Args:
        x: Finite value, infinity or NaN of the format. The sign of a zero counts.
        fmt: Format of the code.

    Returns:
        The code. NaN has one canonical code, see `canonical_nan`.

    Raises:
        NotRepresentableError: x is not a value of the format; round it first.

    Example:
        >>> from deephochuli.formats import get_format
        >>> hex(encode(-448.0, get_format("fp8_e4m3fn")))
        '0xfe'
    """
    number = exact(x)
    if number is None:
        return canonical_nan(fmt)
    code = _magnitude_code(number, fmt)
    if code is None or not _has_sign(number, fmt):
        raise NotRepresentableError(_not_a_value(x, fmt))
    return code + number.is_negative * fmt.n_magnitude_codes


def canonical_nan(fmt: Layout) -> int:
    """Code that stands for NaN when a number becomes NaN.

    It is the positive quiet NaN of IEEE 754-2019, 6.2.1 (top bit of the stored significand set)
    where the format has it, else the largest NaN code, else the code of the absent -0.

    Raises:
        NotRepresentableError: The format has no NaN.
    """
    if not fmt.has_nan:
        raise NotRepresentableError(
            f"{fmt.name} has no NaN, and NaN has no other place in it. Replace NaN before rounding."
        )
    if not fmt.n_high_nans:
        return fmt.n_magnitude_codes
    quiet = 2 ** (fmt.precision - 2) if fmt.precision > 1 else 1
    return fmt.n_magnitude_codes - (quiet if fmt.n_high_nans >= quiet else 1)


def is_representable(x: Real, fmt: Layout) -> bool:
    """See `Format.is_representable`."""
    try:
        encode(x, fmt)
    except NotRepresentableError:
        return False
    return True


def _magnitude_code(number: Exact, fmt: Layout) -> int | None:
    """Magnitude code of a number, None when the format lacks it."""
    if number.magnitude is None:
        return fmt.max_finite_code + 1 if fmt.has_infinities else None
    place = bracket(fmt, number.magnitude)
    is_value = place.lower <= fmt.max_finite_code and number.magnitude == magnitude(
        fmt, place.lower
    )
    return place.lower if is_value else None


def _has_sign(number: Exact, fmt: Layout) -> bool:
    """Whether the format has the sign of a number whose magnitude it has."""
    if not number.is_negative:
        return True
    return fmt.is_signed and (fmt.has_negative_zero or number.magnitude != 0)


def _not_a_value(x: Real, fmt: Layout) -> str:
    below, above = next_down(fmt, x), next_up(fmt, x)
    return (
        f"{x!r} is not a value of {fmt.name}, whose neighbouring values are {below!r} and "
        f"{above!r}. Round it first: round_scalar(x, {fmt.name!r})."
    )
