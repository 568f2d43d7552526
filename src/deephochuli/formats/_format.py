"""What a number format is: frozen data, and the quantities that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from deephochuli.formats import _absorption, _codes, _lattice, _validation
from deephochuli.formats._absorption import Threshold, Toward
from deephochuli.formats._exact import Real
from deephochuli.formats._layout import Layout
from deephochuli.formats._modes import Overflow, Rounding

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(Layout):
    """A binary floating-point format whose values all fit into binary64.

    Attributes:
        name: Name in messages, tables and `get_format`.
        exponent_bits: Width of the exponent field.
        precision: p, bits of the significand with the leading one.
        bias: Exponent field minus exponent, for normal numbers.
        n_high_nans: How many of the largest codes of each sign are NaN.
        has_infinities: Whether the code below those NaN codes is an infinity.
        has_subnormals: Whether the exponent field 0 holds subnormal numbers. Where it does not,
            all codes with that field are zero, and the neighbour of zero is `smallest_normal`.
        has_zero: Whether there is a zero. Where there is none, exponent field 0 is a normal one.
        has_negative_zero: Whether the code of -0 is a zero. Where it is not, that code is a NaN.
        is_signed: Whether the top bit of a code is a sign.
        overflow: What stands for a result beyond `max_finite`, unless a call says otherwise.
        aliases: Further names that `get_format` knows.
        description: One line for tables.

    Raises:
        FormatError: The attributes contradict each other, or a value would not fit into binary64.

    Numerics:
        All derived quantities are exact. Those that are floats are powers of two times a short
        integer and inside binary64; thresholds that can lie outside it (binary64's own) are
        rational numbers in `Threshold`.

    Example:
        >>> Format(name="half", exponent_bits=5, precision=11, bias=15, n_high_nans=1023).max_finite
        65504.0
    """

    overflow: Overflow = Overflow.INFINITY
    aliases: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "overflow", Overflow(self.overflow))
        _validation.check(self, self.overflow)

    def __str__(self) -> str:
        return self.name

    # Where rounding to nearest, ties to even, leaves the range.

    @property
    def zero_threshold(self) -> float:
        """Largest binary64 magnitude that rounds to zero: smallest_subnormal / 2, tie included.

        0.0 for binary64 itself, from which nothing rounds to zero, and where there is no zero.
        """
        return self.smallest_subnormal / 2 if self.has_zero else 0.0

    @property
    def overflow_limit(self) -> Threshold:
        """Exact magnitude up to which rounding stays within `max_finite`, and its tie rule.

        It is the middle of `max_finite` and the value that would follow if exponents went on. The
        tie goes to the even significand: out of the format when that of `max_finite` is odd (all
        IEEE formats), back to `max_finite` when it is even (E4M3FN, whose next code is the NaN).
        """
        code = self.max_finite_code
        half = _absorption.gap_threshold(self, code, away=True, rounding=Rounding.NEAREST_EVEN)
        return Threshold(Fraction(self.max_finite) + half.value, half.inclusive)

    @property
    def overflow_threshold(self) -> float:
        """Smallest binary64 magnitude that rounds to more than `max_finite`; inf if none does.

        This is `overflow_limit` itself when its tie overflows, else the binary64 number above it:
        65520.0 for FP16, the number after 464.0 for E4M3FN, inf for binary64.
        """
        limit = self.overflow_limit
        if limit.value >= Fraction(2) ** 1024 - Fraction(2) ** 970:
            return math.inf
        middle = float(limit.value)
        return math.nextafter(middle, math.inf) if limit.inclusive else middle

    # Places in the format.

    def ulp(self, x: Real) -> float:
        """Gap between consecutive values in the binade of x: 2^(max(e, emin) - p + 1).

        At a power of two 2^e this is the gap above it; the gap below is half as large (e > emin).
        Below 2^emin it is the distance of `smallest_subnormal` from zero, beyond `max_finite` the
        gap of the last binade, and nan for inf and NaN. x need not be a value of the format.
        """
        return _lattice.ulp(self, x)

    def next_up(self, x: Real) -> float:
        """Smallest value above x, which need not be a value itself (IEEE 754-2019, 5.3.1).

        Above `max_finite` follows inf; nan stands for it where the format has none, and for NaN.
        """
        return _lattice.next_up(self, x)

    def next_down(self, x: Real) -> float:
        """Largest value below x, which need not be a value itself; see `next_up`."""
        return _lattice.next_down(self, x)

    def is_representable(self, x: Real) -> bool:
        """Whether x, with the sign of a zero, is a value of this format."""
        return _codes.is_representable(x, self)

    def values(self) -> Iterator[float]:
        """All values in the order of their codes, infinities and NaN included."""
        return (_codes.decode(code, self) for code in range(self.n_codes))

    # Swamping.

    def absorption_threshold(
        self, a: Real, toward: Toward = "away", rounding: Rounding | str = Rounding.NEAREST_EVEN
    ) -> Threshold:
        """Exact magnitude up to which an addend is absorbed: fl(a + x) == a though x != 0.

        Under rounding to nearest it is half the gap between a and its neighbour on the side of x:
        ulp(a) / 2, but ulp(a) / 4 below a power of two 2^e, e > emin. It is inclusive when the
        tie comes back to a, that is when the significand of a is even. Rounding toward zero
        absorbs what is below one whole gap away from zero, and nothing toward zero.

        Args:
            a: Accumulator, a finite value of the format other than zero.
            toward: Where the addend points: "away" from zero, towards "zero", or its own sign,
                "positive" or "negative".
            rounding: Rounding of the sum; not stochastic, which has no threshold.

        Returns:
            The threshold on abs(x), with its tie rule. Its value is 0 when nothing is absorbed.

        Raises:
            FormatError: a is zero, or the rounding is stochastic.
            NotRepresentableError: a is not a finite value of the format.

        Numerics:
            Exact, in rational numbers. Exponents go on above `max_finite`: that a sum saturates
            there does not count as absorption.

        Example:
            >>> from deephochuli.formats import BINARY32
            >>> threshold = BINARY32.absorption_threshold(1.0)
            >>> float(threshold), threshold.inclusive
            (5.960464477539063e-08, True)
        """
        return _absorption.absorption_threshold(self, a, toward, Rounding(rounding))

    def absorbs(self, a: Real, x: Real, rounding: Rounding | str = Rounding.NEAREST_EVEN) -> bool:
        """Whether fl(a + x) == a though x != 0, decided on the exact sum.

        The conditions on a and the rounding are those of `absorption_threshold`; x is any number.
        """
        return _absorption.absorbs(self, a, x, Rounding(rounding))
