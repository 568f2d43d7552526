"""Whether the attributes of a format agree with each other."""

from __future__ import annotations

from deephochuli.errors import FormatError
from deephochuli.formats._layout import Layout, magnitude
from deephochuli.formats._modes import Overflow

# Of binary64, which has to hold all values of all formats.
_MAX_PRECISION = 53
_MAX_EXPONENT_BITS = 11
_MAX_EMAX = 1023
_MIN_EXPONENT = -1074


def check(fmt: Layout, overflow: Overflow) -> None:
    """Refuse a format whose attributes contradict each other.

    Raises:
        FormatError: Says which attribute of which format, what it is, and what it may be.
    """
    _check_widths(fmt)
    _check_signs(fmt)
    _check_codes(fmt)
    check_overflow(fmt, overflow)
    _check_range(fmt)


def check_overflow(fmt: Layout, overflow: Overflow) -> None:
    """Refuse an overflow policy that needs a code the format does not have."""
    if overflow is Overflow.INFINITY and not fmt.has_infinities:
        raise _fault(fmt, "overflow='infinity' needs infinities; use 'saturate' or 'nan'")
    if overflow is Overflow.NAN and not fmt.has_nan:
        raise _fault(fmt, "overflow='nan' needs a NaN code; use 'saturate' or give it one")


def _check_widths(fmt: Layout) -> None:
    if not fmt.name:
        raise FormatError("A format needs a name that is not empty.")
    if not 1 <= fmt.precision <= _MAX_PRECISION:
        raise _fault(fmt, f"precision={fmt.precision}; it must be 1 to {_MAX_PRECISION} bits")
    if not 1 <= fmt.exponent_bits <= _MAX_EXPONENT_BITS:
        raise _fault(
            fmt, f"exponent_bits={fmt.exponent_bits}; it must be 1 to {_MAX_EXPONENT_BITS}"
        )


def _check_signs(fmt: Layout) -> None:
    if fmt.has_zero:
        return
    if fmt.is_signed:
        raise _fault(fmt, "has_zero=False needs is_signed=False")
    if fmt.has_subnormals:
        raise _fault(fmt, "has_zero=False needs has_subnormals=False: subnormals end at zero")


def _check_codes(fmt: Layout) -> None:
    if not 0 <= fmt.n_high_nans < fmt.n_magnitude_codes:
        raise _fault(
            fmt, f"n_high_nans={fmt.n_high_nans}; it must be 0 to {fmt.n_magnitude_codes - 1}"
        )
    smallest_normal_code = 2 ** (fmt.precision - 1) if fmt.has_zero else 0
    if fmt.max_finite_code < smallest_normal_code:
        raise _fault(
            fmt,
            f"n_high_nans={fmt.n_high_nans} and has_infinities={fmt.has_infinities} leave no "
            f"normal number among its {fmt.n_magnitude_codes} magnitude codes",
        )


def _check_range(fmt: Layout) -> None:
    """Both ends must be binary64 values; exact integers decide, before any float is made."""
    smallest_gap = fmt.emin - fmt.precision + 1
    if smallest_gap < _MIN_EXPONENT:
        raise _fault(
            fmt,
            f"bias={fmt.bias} makes its smallest gap 2^{smallest_gap}; binary64, which must hold "
            f"all values, has gaps down to 2^{_MIN_EXPONENT}",
        )
    if magnitude(fmt, fmt.max_finite_code) >= 2 ** (_MAX_EMAX + 1):
        raise _fault(
            fmt,
            f"bias={fmt.bias} puts its largest value beyond that of binary64, which must hold "
            "all values",
        )


def _fault(fmt: Layout, what: str) -> FormatError:
    return FormatError(f"Format {fmt.name!r} is contradictory: {what}.")
