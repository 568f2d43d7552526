"""Exact rounding of one number: the oracle that faster code is tested against.

The number becomes a rational, its place between two consecutive values is found by integers, and
one decision follows. There is no intermediate format, so nothing is rounded twice.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from deephochuli.errors import FormatError
from deephochuli.formats._codes import canonical_nan, decode
from deephochuli.formats._exact import Exact, Real, exact
from deephochuli.formats._lattice import Bracket, bracket
from deephochuli.formats._modes import Overflow, Rounding
from deephochuli.formats._nearest import picks_upper
from deephochuli.formats._validation import check_overflow

if TYPE_CHECKING:
    from deephochuli.formats._format import Format


def round_scalar(
    x: Real,
    fmt: Format,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    overflow: Overflow | str | None = None,
    *,
    random_bits: int | None = None,
    n_random_bits: int = 32,
    generator: random.Random | None = None,
) -> float:
    """Round a number to a format, once.

    Args:
        x: Float, int or Fraction of any size; all of its digits count.
        fmt: Format to round to.
        rounding: Mode or its name.
        overflow: What stands for a result beyond `max_finite`; `fmt.overflow` when not given.
        random_bits: For stochastic rounding: an integer r, 0 <= r < 2^n. With the place f of the
            number between its neighbours the result is the one farther from zero when
            floor(f 2^n) + r >= 2^n, which is what adding r to the cut-off bits does.
        n_random_bits: The n above. Over all r the upper neighbour has the probability
            floor(f 2^n) / 2^n, which is f itself where f has at most n bits.
        generator: For stochastic rounding, instead of `random_bits`: the upper neighbour is taken
            with probability f exactly, whatever the number of its bits.

    Returns:
        A value of the format.
        A zero result keeps the sign of x where the format has -0 and is +0 elsewhere.
        NaN gives NaN. An infinity stays one where the format has infinities and the policy is not
        "saturate"; else it follows the policy. Where there is no zero, what is below the smallest
        value (zero too) gives the smallest value. A negative number gives NaN in an unsigned
        format.

    Raises:
        FormatError: The policy needs a code that the format lacks; the random bits are missing,
            outside of their range, or given twice.
        NotRepresentableError: NaN, or a negative number for an unsigned format, and the format has
            no NaN.

    Numerics:
        Exact rational arithmetic, one rounding. Overflow is what would exceed `max_finite` if
        exponents had no upper end; a mode that rounds toward zero there gives `max_finite`.

    Example:
        >>> from deephochuli.formats import get_format
        >>> round_scalar(1 + 2**-11 + 2**-40, get_format("fp16"))
        1.0009765625
    """
    return decode(
        round_to_code(
            x,
            fmt,
            rounding,
            overflow,
            random_bits=random_bits,
            n_random_bits=n_random_bits,
            generator=generator,
        ),
        fmt,
    )


def round_to_code(
    x: Real,
    fmt: Format,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    overflow: Overflow | str | None = None,
    *,
    random_bits: int | None = None,
    n_random_bits: int = 32,
    generator: random.Random | None = None,
) -> int:
    """Round a number as `round_scalar` does, and give the code of the result."""
    mode, policy = Rounding(rounding), resolve_overflow(fmt, overflow)
    number = exact(x)
    if number is None:
        return canonical_nan(fmt)
    if number.is_negative and not fmt.is_signed:
        return canonical_nan(fmt) if number.magnitude != 0 else 0
    if number.magnitude is None:
        code = infinity_code(fmt, policy)
    else:
        place = bracket(fmt, number.magnitude)
        if mode is Rounding.STOCHASTIC:
            up = _picks_upper_at_random(place, random_bits, n_random_bits, generator)
        else:
            up = place.fraction > 0 and picks_upper(place, mode, is_negative=number.is_negative)
        code = _within_range(place.upper if up else place.lower, number, fmt, mode, policy)
    return _with_sign(code, number, fmt)


def resolve_overflow(fmt: Format, overflow: Overflow | str | None) -> Overflow:
    """Give the policy in force: the one of the call, else the one of the format.

    Raises:
        FormatError: The policy is unknown, or needs a code that the format lacks.
    """
    policy = fmt.overflow if overflow is None else Overflow(overflow)
    check_overflow(fmt, policy)
    return policy


def stays_in_range(rounding: Rounding, *, is_negative: bool) -> bool:
    """Whether a mode never leaves `max_finite` from below, whatever the size of the number."""
    directed = Rounding.UP if is_negative else Rounding.DOWN
    return rounding in (Rounding.TOWARD_ZERO, Rounding.ODD, directed)


def _picks_upper_at_random(
    place: Bracket, bits: int | None, n_bits: int, generator: random.Random | None
) -> bool:
    """The stochastic counterpart of `picks_upper`; see `round_scalar` for the probabilities."""
    if (bits is None) == (generator is None):
        raise FormatError("Stochastic rounding needs either random_bits=... or generator=...")
    if generator is not None:
        return generator.randrange(place.fraction.denominator) < place.fraction.numerator
    if bits is None or n_bits < 1 or not 0 <= bits < 1 << n_bits:
        raise FormatError(
            f"random_bits={bits} is outside of the range of n_random_bits={n_bits}; it must be an "
            f"integer from 0 to 2^n - 1 with n at least 1."
        )
    return math.floor(place.fraction * (1 << n_bits)) + bits >= 1 << n_bits


def _within_range(code: int, number: Exact, fmt: Format, mode: Rounding, policy: Overflow) -> int:
    """Apply the overflow policy to a code of the lattice that may be beyond `max_finite`."""
    if code <= fmt.max_finite_code:
        return code
    if stays_in_range(mode, is_negative=number.is_negative) or policy is Overflow.SATURATE:
        return fmt.max_finite_code
    return canonical_nan(fmt) if policy is Overflow.NAN else fmt.max_finite_code + 1


def infinity_code(fmt: Format, policy: Overflow) -> int:
    if policy is Overflow.SATURATE:
        return fmt.max_finite_code
    return fmt.max_finite_code + 1 if fmt.has_infinities else canonical_nan(fmt)


def _with_sign(code: int, number: Exact, fmt: Format) -> int:
    """Set the sign bit of a magnitude code; a NaN or an absent -0 has none."""
    is_nan = code >= fmt.n_magnitude_codes - fmt.n_high_nans
    is_absent_zero = code == 0 and not fmt.has_negative_zero
    if not number.is_negative or is_nan or is_absent_zero:
        return code
    return code + fmt.n_magnitude_codes
