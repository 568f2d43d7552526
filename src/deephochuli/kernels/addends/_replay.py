"""Replay of sums: what each addition of a reduction swallows, in an order and a format."""

# Numba ships no types for what it compiles.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from deephochuli.errors import ArithmeticSpecError, near_matches
from deephochuli.formats import BINARY64, Format, Overflow, Rounding
from deephochuli.kernels.addends import _exact, _loops, _tensor_cores

Float64s = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
ReplayOrder = Literal["sequential", "pairwise", "blocked"]

ORDERS: Final[tuple[ReplayOrder, ...]] = ("sequential", "pairwise", "blocked")
_ROUNDINGS = (Rounding.NEAREST_EVEN, Rounding.TOWARD_ZERO)


@dataclass(frozen=True, slots=True)
class Replay:
    """Sums of the rows of a matrix, replayed; an entry for each row.

    Attributes:
        n_addends: Addends that are not zero before they are rounded.
        n_additions: Additions with two operands that are not zero.
        n_absorbed: Of these, those whose result is the larger operand alone.
        n_underflowed: Addends that became zero when they were rounded, before any addition.
        n_overflowed: Addends and sums beyond the largest finite number.
        result: Sums as the replay forms them.
        lost: Sum of the magnitudes of the absorbed operands.
        mass: Sum of the magnitudes of the exact addends.
        error: Result minus exact sum, to 2^-50 of itself; nan after an overflow to infinity.
        exact: Exact sums, rounded to binary64.
    """

    n_addends: Integers
    n_additions: Integers
    n_absorbed: Integers
    n_underflowed: Integers
    n_overflowed: Integers
    result: Float64s
    lost: Float64s
    mass: Float64s
    error: Float64s
    exact: Float64s


class Addends:
    """The addends of several sums of equal length, and their exact sums."""

    def __init__(self, a: npt.ArrayLike, b: npt.ArrayLike | None = None) -> None:
        """Sum the rows of `a`, or of the products of `a` and `b`, two matrices of binary64 numbers.

        Raises:
            ArithmeticSpecError: They are no matrices of one shape, or not finite.
        """
        self.a = np.ascontiguousarray(a, np.float64)
        self.b = None if b is None else np.ascontiguousarray(b, np.float64)
        if self.a.ndim != 2 or (self.b is not None and self.b.shape != self.a.shape):
            shapes = [list(each.shape) for each in (self.a, self.b) if each is not None]
            raise ArithmeticSpecError(f"Cannot replay sums of {shapes}: expected equal matrices.")
        if not all(np.isfinite(each).all() for each in (self.a, self.b) if each is not None):
            raise ArithmeticSpecError("Cannot replay sums with infinite or NaN addends.")
        self._limbs = np.zeros((len(self.a), _exact.N_LIMBS), np.int64)
        _exact.accumulate_rows(self.a, self._factors, self.b is not None, self._limbs)

    @property
    def _factors(self) -> Float64s:
        return self.a if self.b is None else self.b

    def minus(self, numbers: Float64s) -> Float64s:
        """The exact sums minus binary64 numbers, rounded once."""
        out = np.empty(len(self.a))
        _exact.value_rows(self._limbs, numbers, out)
        return out

    def values(self) -> Float64s:
        """The addends, products rounded to binary64."""
        return self.a if self.b is None else self.a * self.b

    def replay(
        self,
        fmt: Format,
        *,
        order: ReplayOrder | str = "sequential",
        block: int = 32,
        fused: bool = False,
        rounding: Rounding | str = Rounding.NEAREST_EVEN,
    ) -> Replay:
        """Form the sums in a format and an order, and count what every addition swallows.

        Args:
            fmt: Format of every addend and of every partial sum.
            order: "sequential"; "pairwise": neighbours, then neighbouring sums, an odd one out is
                carried over; "blocked": blocks of neighbours, then their sums, each one after the
                other.
            block: Addends in one block.
            fused: Whether a product is added without being rounded before (FMA).
            rounding: "nearest-even" or "toward-zero".

        Raises:
            ArithmeticSpecError: The order, the rounding or the format cannot be replayed.

        Numerics:
            Every addition is rounded once. Results are those of binary64 numbers whose products are
            exact, that is of factors with at most 26 bits; in binary64 itself products are rounded
            to it first.
        """
        _check(fmt, order, block, Rounding(rounding))
        counts = np.zeros((len(self.a), _loops.N_COUNTS), np.int64)
        values = np.zeros((len(self.a), _loops.N_VALUES))
        _loops.replay_rows(
            self.a,
            self._factors,
            self.b is not None,
            fused,
            _parameters(fmt, Rounding(rounding)),
            order == "pairwise",
            block if order == "blocked" else max(1, self.a.shape[1]),
            counts,
            values,
        )
        return _made(self, counts, values)

    def replay_aligned(
        self,
        fmt: Format,
        *,
        inputs: Format,
        block: int,
        fraction_bits: int,
        rounding: Rounding | str = Rounding.TOWARD_ZERO,
        alignment: Rounding | str = Rounding.TOWARD_ZERO,
        zero_exponent: int | None = None,
        chunk: int | None = None,
        outer: Format | None = None,
    ) -> Replay:
        """Form the sums as tensor cores do, and count the terms that alignment cuts off whole.

        Args:
            fmt: Format of the running sum.
            inputs: Format of the factors; its smallest exponent is that of subnormal factors.
            block: Products that are aligned, with the running sum, to the largest exponent.
            fraction_bits: Bits that are kept below that exponent.
            rounding: How the exact sum of what is left is rounded: "nearest-even", "toward-zero".
            alignment: What becomes of cut bits, "toward-zero" or "down".
            zero_exponent: Least exponent that terms are aligned to.
            chunk: Products after which the running sum is added to one of format `outer`, rounded
                to nearest, and starts again from zero.
            outer: That format.

        Raises:
            ArithmeticSpecError: There are no factors, or the rounding cannot be replayed.

        Numerics:
            A term, product or running sum, counts as absorbed where none of its bits is left; n
            terms that are not zero make n - 1 additions.
        """
        _check(fmt, "sequential", block, Rounding(rounding))
        if self.b is None:
            raise ArithmeticSpecError("Tensor cores sum products: give both factors.")
        counts = np.zeros((len(self.a), _loops.N_COUNTS), np.int64)
        values = np.zeros((len(self.a), _loops.N_VALUES))
        least = -900 if zero_exponent is None else zero_exponent
        floors = Rounding(alignment) is Rounding.DOWN
        _tensor_cores.aligned_rows(
            self.a,
            self.b,
            (inputs.emin, fraction_bits, least, floors),
            block,
            chunk or 0,
            _parameters(fmt, Rounding(rounding)),
            _parameters(outer or fmt, Rounding.NEAREST_EVEN),
            counts,
            values,
        )
        return _made(self, counts, values)


def _made(addends: Addends, counts: Integers, values: Float64s) -> Replay:
    result = values[:, _loops.RESULT].copy()
    return Replay(
        n_addends=counts[:, _loops.N_ADDENDS],
        n_additions=counts[:, _loops.N_ADDITIONS],
        n_absorbed=counts[:, _loops.N_ABSORBED],
        n_underflowed=counts[:, _loops.N_UNDERFLOWED],
        n_overflowed=counts[:, _loops.N_OVERFLOWED],
        result=result,
        lost=values[:, _loops.LOST],
        mass=values[:, _loops.MASS],
        error=-addends.minus(result),
        exact=addends.minus(np.zeros(len(result))),
    )


def _parameters(fmt: Format, rounding: Rounding) -> tuple[Any, ...]:
    """Precision, emin, largest number, what stands beyond it, and whether it is truncated."""
    truncates = rounding is Rounding.TOWARD_ZERO
    beyond = {Overflow.INFINITY: math.inf, Overflow.NAN: math.nan}.get(fmt.overflow, fmt.max_finite)
    return (
        fmt.precision,
        fmt.emin,
        fmt.max_finite,
        fmt.max_finite if truncates else beyond,
        truncates,
    )


def _check(fmt: Format, order: str, block: int, rounding: Rounding) -> None:
    if order not in ORDERS:
        raise ArithmeticSpecError(
            f"Unknown order of a sum {order!r}. {near_matches(order, ORDERS)}"
        )
    if block < 1:
        raise ArithmeticSpecError(f"block={block!r} is out of range: expected 1 or more.")
    if rounding not in _ROUNDINGS:
        raise ArithmeticSpecError(
            f"Cannot replay sums that are rounded {str(rounding)!r}: expected 'nearest-even' or "
            "'toward-zero'."
        )
    is_plain = fmt.is_signed and fmt.has_zero and fmt.has_subnormals
    if fmt != BINARY64 and (not is_plain or fmt.precision > 26 or fmt.emin < -900):
        raise ArithmeticSpecError(
            f"Cannot replay sums in {fmt.name}: expected fp64, or a signed format of at most 26 "
            "bits with zero and subnormals."
        )
