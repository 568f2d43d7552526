"""What property tests draw: numbers at the places where rounding goes wrong, and formats."""

import math

from hypothesis import strategies as st

from deephochuli.formats import Overflow, define_format, list_formats

BINARY64_RANGE = (-1074, 1023)


@st.composite
def formats(draw, max_bits=64):
    """A format of the catalogue or a made-up one, contradictions left out."""
    known = [fmt for fmt in list_formats() if fmt.bits <= max_bits]
    return draw(st.one_of(st.sampled_from(known), user_formats(max_bits=max_bits)))


@st.composite
def user_formats(draw, max_bits=64):
    """A format with any widths, bias and special codes that binary64 can hold."""
    exponent_bits = draw(st.integers(2, min(10, max_bits - 2)))
    precision = draw(st.integers(1, min(53, max_bits - exponent_bits)))
    has_infinities = draw(st.booleans())
    has_negative_zero = draw(st.booleans())
    room = 2 ** (precision - 1) * (2**exponent_bits - 1) - 1 - has_infinities
    n_high_nans = draw(st.integers(0, min(3, room)))
    # Around the usual one, so that 1.0 is usually inside; 30 off reaches past both ends for some.
    half = 2 ** (exponent_bits - 1) - 1
    policies = [Overflow.SATURATE]
    if has_infinities:
        policies.append(Overflow.INFINITY)
    if n_high_nans or not has_negative_zero:
        policies.append(Overflow.NAN)
    return define_format(
        exponent_bits=exponent_bits,
        precision=precision,
        bias=half + draw(st.integers(-30, 30)),
        overflow=draw(st.sampled_from(policies)),
        n_high_nans=n_high_nans,
        has_infinities=has_infinities,
        has_subnormals=draw(st.booleans()),
        has_negative_zero=has_negative_zero,
    )


@st.composite
def floats(draw, fmt=None):
    """A finite binary64 number: exponent and significand drawn apart, ends and ties often.

    With a format, exponents lie around its range, and half of the numbers are its values, the
    middles between two of them, or the binary64 neighbours of those.
    """
    low, high = (fmt.emin - fmt.precision - 2, fmt.emax + 2) if fmt else BINARY64_RANGE
    e = draw(st.integers(max(low, BINARY64_RANGE[0]), min(high, BINARY64_RANGE[1])))
    sign = draw(st.sampled_from([1.0, -1.0]))
    if fmt is None or draw(st.booleans()):
        significand = draw(st.integers(2**52, 2**53 - 1))
        return sign * math.ldexp(significand, e - 52)
    # One bit more than the format has: values when it is 0, middles when it is 1.
    p = min(fmt.precision + 1, 53)
    x = math.ldexp(draw(st.integers(2 ** (p - 1), 2**p - 1)), e - p + 1)
    toward = draw(st.sampled_from([x, 0.0, math.inf]))
    x = math.nextafter(x, toward)
    return sign * (x if math.isfinite(x) else 1.0)


@st.composite
def formats_and_floats(draw, n=1, max_bits=64):
    """A format and n numbers around its range."""
    fmt = draw(formats(max_bits=max_bits))
    return fmt, *(draw(floats(fmt)) for _ in range(n))
