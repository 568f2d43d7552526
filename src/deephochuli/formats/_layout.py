"""The codes of a number format, as frozen data, and the magnitude that each stands for.

A format is a set of codes. Without its sign a code is an integer that grows with the magnitude it
stands for: its upper bits are the exponent field, its lower p - 1 bits the significand without
the leading bit. From the top downwards come the NaN codes, the infinity, and the finite values:

    code   0 ............ max_finite_code | infinity? | n_high_nans NaN codes
    value  0 or smallest ...... max_finite |   inf     | nan

The magnitude of a code is

    s * 2^(e - p + 1)   with   e = emin, s = code               in the subnormal range
                               e = emin + code / 2^(p-1) - 1,
                               s = code mod 2^(p-1) + 2^(p-1)   above it

Source of the layout: IEEE 754-2019, 3.4; OCP OFP8 (2023) for the kinds that reserve fewer codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from deephochuli.formats._exact import power_of_two


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which codes a format has; see `Format` for the attributes."""

    name: str
    exponent_bits: int
    precision: int
    bias: int
    n_high_nans: int = 0
    has_infinities: bool = True
    has_subnormals: bool = True
    has_zero: bool = True
    has_negative_zero: bool = True
    is_signed: bool = True

    # Widths and codes.

    @property
    def p(self) -> int:
        """Precision: bits of the significand with the leading one."""
        return self.precision

    @property
    def bits(self) -> int:
        """Width of a code: sign, exponent field and the p - 1 stored bits of the significand."""
        return int(self.is_signed) + self.exponent_bits + self.precision - 1

    @property
    def n_codes(self) -> int:
        """Number of codes, 2^bits; values, infinities and NaN together."""
        return 2**self.bits

    @property
    def n_magnitude_codes(self) -> int:
        """Number of codes without their sign, 2^(exponent_bits + p - 1)."""
        return 2 ** (self.exponent_bits + self.precision - 1)

    @property
    def max_finite_code(self) -> int:
        """Code of `max_finite`: the largest below the infinity and the NaN codes."""
        return self.n_magnitude_codes - 1 - self.n_high_nans - int(self.has_infinities)

    @property
    def nan_codes(self) -> tuple[int, ...]:
        """All codes that are NaN, ascending."""
        high = range(self.n_magnitude_codes - self.n_high_nans, self.n_magnitude_codes)
        if not self.is_signed:
            return tuple(high)
        sign = self.n_magnitude_codes
        zero = () if self.has_negative_zero else (sign,)
        return (*high, *zero, *(sign + code for code in high))

    @property
    def has_nan(self) -> bool:
        """Whether any code is NaN."""
        return self.n_high_nans > 0 or (self.is_signed and not self.has_negative_zero)

    # Relative accuracy.

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding to nearest in the normal range, u = 2^-p."""
        return math.ldexp(1.0, -self.precision)

    @property
    def epsilon(self) -> float:
        """Gap above 1, 2^(1-p) = 2u, also where 1 lies outside the format."""
        return math.ldexp(1.0, 1 - self.precision)

    @property
    def eps(self) -> float:
        """`epsilon`, under the name that `finfo` objects use."""
        return self.epsilon

    # Range.

    @property
    def emin(self) -> int:
        """Exponent of `smallest_normal`: 1 - bias, or -bias where field 0 is a normal one."""
        return int(self.has_zero) - self.bias

    @property
    def emax(self) -> int:
        """Exponent of `max_finite`: floor(log2(max_finite))."""
        return math.frexp(self.max_finite)[1] - 1

    @property
    def max_finite(self) -> float:
        """Largest finite value."""
        return float(magnitude(self, self.max_finite_code))

    @property
    def max(self) -> float:
        """`max_finite`, under the name that `finfo` objects use."""
        return self.max_finite

    @property
    def smallest_normal(self) -> float:
        """Smallest magnitude with a full significand, 2^emin."""
        return math.ldexp(1.0, self.emin)

    @property
    def tiny(self) -> float:
        """`smallest_normal`, under the name that `finfo` objects use."""
        return self.smallest_normal

    @property
    def smallest_subnormal(self) -> float:
        """Smallest magnitude above zero: 2^(emin-p+1), or 2^emin without subnormals."""
        steps = self.precision - 1 if self.has_subnormals else 0
        return math.ldexp(1.0, self.emin - steps)

    @property
    def dynamic_range(self) -> int:
        """Number of binades that hold a value, subnormal ones included."""
        return self.emax - (math.frexp(self.smallest_subnormal)[1] - 1) + 1


def magnitude(layout: Layout, code: int) -> Fraction:
    """Exact magnitude that a magnitude code stands for, as if exponents had no upper end."""
    stored_bits = layout.precision - 1
    field, significand = code >> stored_bits, code & ((1 << stored_bits) - 1)
    if field == 0 and layout.has_zero:
        return significand * power_of_two(layout.emin - stored_bits) * layout.has_subnormals
    return (significand + (1 << stored_bits)) * power_of_two(field - layout.bias - stored_bits)
