"""What every back end of the rounding must deliver, and all that it has to know of a format.

Values are *carried* in a tensor of a wider type. All work is done on the bit patterns of one of
two carriers, binary32 and binary64; bfloat16 and binary16 tensors are widened to binary32 patterns
and narrowed again, both exactly. The rules of the contract:

- The result is that of `formats.round_scalar`, bit for bit, for every format that the carrier
  holds, every mode and every overflow policy. NaN becomes the positive quiet NaN of the carrier,
  also where the format has no NaN: there a NaN says that there is no value.
- Integer operations only decide: so flush-to-zero flags change nothing, nor does the number of
  threads, the chunking or the device.
- A tensor is read and written in place of memory order; source and target may be the same.
- Random bits are a function of the key and of the index of the element alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from deephochuli.errors import FormatError
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format, Overflow, Rounding
from deephochuli.formats._rounding import resolve_overflow

if TYPE_CHECKING:
    import torch

N_RANDOM_BITS: Final = 32
"""Random bits for each element: the n of `formats.round_scalar`."""

HALF: Final = 16
"""Bits of the upper and of the lower half of them. They come from two series of counters, so that
whoever can decide by the upper half alone need not make the lower one."""

LANES: Final = 128
"""Counters of Philox in one group. Each gives 4 words of two halves. Half h (0: lower, 1: upper) of
word w of counter c in group g belongs to the element with the index (8 g + 2 w + h) LANES + c, so
that neighbours come out of a vector without a shuffle."""

GROUP: Final = 8 * LANES
"""Elements of one group."""

LOWER_SERIES: Final = 1 << 63
"""What is added to the lower 64 bits of the counter that has the upper half of the random bits of
an element: the half at the same place there is the lower one. No tensor has so many groups."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A binary interchange format whose patterns the loops work on."""

    fmt: Format

    @property
    def width(self) -> int:
        """Bits of a pattern."""
        return self.fmt.bits

    @property
    def stored(self) -> int:
        """Bits of the stored significand."""
        return self.fmt.precision - 1

    @property
    def bias(self) -> int:
        """Exponent field minus exponent."""
        return self.fmt.bias

    @property
    def hidden(self) -> int:
        """The leading bit of a significand, which is not stored."""
        return 1 << self.stored

    @property
    def sign(self) -> int:
        """Pattern of -0."""
        return 1 << (self.width - 1)

    @property
    def infinity(self) -> int:
        """Pattern of the infinity."""
        return (2 * self.bias + 1) << self.stored

    @property
    def nan(self) -> int:
        """Pattern of the NaN that every NaN becomes."""
        return self.infinity | self.hidden >> 1

    def pattern(self, value: float) -> int:
        """Pattern of a finite value >= 0 that the carrier has."""
        numerator, denominator = value.as_integer_ratio()
        if numerator == 0:
            return 0
        # In units of the smallest subnormal number, which is a whole number of them.
        units = int(Fraction(numerator, denominator) / self._unit)
        e = max(units.bit_length() - 1 - self.stored, 0)
        return (units >> e) + (e << self.stored)

    @property
    def _unit(self) -> Fraction:
        return Fraction(2) ** (self.fmt.emin - self.stored)


CARRIER32: Final = Carrier(BINARY32)
CARRIER64: Final = Carrier(BINARY64)
CARRIERS: Final = {
    "float64": BINARY64,
    "float32": BINARY32,
    "bfloat16": BFLOAT16,
    "float16": BINARY16,
}
"""What the tensors that are rounded may hold, by the name of their type."""


@dataclass(frozen=True, slots=True)
class RoundingPlan:
    """Where to round to and how: all that is the same for every element.

    Patterns are those of the carrier, without a sign unless it says so.
    """

    fmt: Format
    rounding: Rounding
    overflow: Overflow
    carrier: Carrier

    def __hash__(self) -> int:
        # Of all fields it takes microseconds, and plans are looked up several times in a call.
        return hash(self.fmt.name)

    @property
    def max_finite(self) -> int:
        """Pattern of the largest finite value."""
        return self.carrier.pattern(self.fmt.max_finite)

    def beyond(self, *, is_negative: bool) -> int:
        """Pattern of what stands for a finite number that rounds to more than `max_finite`."""
        directed = Rounding.UP if is_negative else Rounding.DOWN
        stays = self.rounding in (Rounding.TOWARD_ZERO, Rounding.ODD, directed)
        if stays or self.overflow is Overflow.SATURATE:
            return self.max_finite
        return self.carrier.infinity if self.overflow is Overflow.INFINITY else self.carrier.nan

    @property
    def infinite(self) -> int:
        """Pattern of what stands for an infinity."""
        if self.overflow is Overflow.SATURATE:
            return self.max_finite
        return self.carrier.infinity if self.fmt.has_infinities else self.carrier.nan


@dataclass(frozen=True, slots=True)
class StochasticKey:
    """Where random bits come from: the key and the upper half of the counter of Philox4x32-10.

    The lower half of the counter is made from the index of the element in the logical (contiguous)
    order of its tensor; its top bit says which half of the random bits it is for. Equal keys give
    equal bits, on every device, whatever the number of threads and whatever was rounded before: so
    each tensor of a model needs a stream of its own, and each step of a training another `step`.

    Attributes:
        seed: 0 to 2^64 - 1.
        stream: Which tensor, 0 to 2^32 - 1.
        step: Which time, 0 to 2^32 - 1.

    Raises:
        FormatError: A number is outside of its range.
    """

    seed: int
    stream: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        # In one go: two keys are made in a call, and each function called would take its time.
        if type(self.seed) is type(self.stream) is type(self.step) is int:
            if not (self.seed >> 64 or self.stream >> 32 or self.step >> 32):
                return
        _check_word("seed", self.seed, 64)
        _check_word("stream", self.stream, 32)
        _check_word("step", self.step, 32)

    @property
    def words(self) -> tuple[int, int, int, int]:
        """Lower and upper half of the seed, stream, step: 32 bits each."""
        return self.seed & 0xFFFFFFFF, self.seed >> 32, self.stream, self.step


def _check_word(name: str, value: object, bits: int) -> None:
    if not isinstance(value, int) or not 0 <= value < 1 << bits or isinstance(value, bool):
        raise FormatError(
            f"StochasticKey: {name}={value!r} must be an integer from 0 to 2^{bits} - 1."
        )


class Rounder(Protocol):
    """One way of rounding tensors."""

    name: str

    def round(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        key: StochasticKey | None,
    ) -> None:
        """Round all elements of a tensor into another one, or into itself.

        Args:
            source: Tensor that fills one run of memory, of a type in `CARRIERS`.
            target: Tensor of the same type, shape, strides and device; it may be `source`.
            plan: For the carrier of that type.
            key: For stochastic rounding, when memory order must be logical order.
        """
        ...


def carrier_of(dtype: str) -> Carrier:
    """The carrier on whose patterns tensors of a type are rounded."""
    return CARRIER64 if dtype == "float64" else CARRIER32


def holds(carrier: Format, fmt: Format) -> bool:
    """Whether every value of one format is a value of another one of the IEEE 754 kind."""
    return (
        fmt.precision <= carrier.precision
        and fmt.emin - fmt.precision >= carrier.emin - carrier.precision
        and fmt.max_finite <= carrier.max_finite
    )


@functools.lru_cache(maxsize=512)
def plan_for(
    fmt: Format, rounding: Rounding, overflow: Overflow | None, dtype: str
) -> RoundingPlan:
    """Make the plan for tensors of a type.

    Args:
        fmt: Format to round to.
        rounding: Mode.
        overflow: Policy; that of the format when not given.
        dtype: A name in `CARRIERS`.

    Raises:
        FormatError: The policy needs a code that the format lacks, the type cannot carry anything,
            or it cannot hold all values of the format.
    """
    carrier = CARRIERS.get(dtype)
    if carrier is None:
        raise FormatError(
            f"Cannot round a tensor of dtype {dtype}: its values are carried in one of "
            f"{', '.join(CARRIERS)}. Convert it first, for instance with x.float()."
        )
    if not holds(carrier, fmt):
        raise FormatError(_does_not_hold(carrier, fmt, dtype))
    return RoundingPlan(fmt, rounding, resolve_overflow(fmt, overflow), carrier_of(dtype))


def _does_not_hold(carrier: Format, fmt: Format, dtype: str) -> str:
    fit = [name for name, other in CARRIERS.items() if holds(other, fmt)]
    return (
        f"A {dtype} tensor cannot hold the values of {fmt.name}: that takes p = {fmt.precision}, "
        f"gaps from 2^{fmt.emin - fmt.precision + 1} and values up to {fmt.max_finite:.6g}; "
        f"{dtype} has p = {carrier.precision}, gaps from "
        f"2^{carrier.emin - carrier.precision + 1} and values up to {carrier.max_finite:.6g}. "
        f"Convert the tensor first; {' or '.join(fit)} would do."
    )


@dataclass(frozen=True, slots=True)
class BlockScale:
    """A scale of blocks that is no power of two.

    Attributes:
        plan: How the scale is rounded, in binary64.
        unit: What scales are multiples of, a value of binary32.
    """

    plan: RoundingPlan
    unit: float


@runtime_checkable
class BlockRounder(Protocol):
    """A back end that rounds blocks with a common scale in one pass."""

    def round_blocks(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        block: int,
        key: StochasticKey | None,
        scale: BlockScale | None = None,
    ) -> bool:
        """Round elements that share scales; see `round_blocks_into`."""
        ...
