"""How a sum of products is formed: a value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deephochuli.errors import ArithmeticSpecError, near_matches
from deephochuli.formats import BINARY32, BINARY64, Format, Rounding

_CALLED = {"SumKind": "kind of sum", "Order": "order of a sum"}
_ORDERS = "chains have every order but 'paired', aligned sums that one, and others none"


class _Choice(StrEnum):
    """Names that are looked up with a message which says what would have been right."""

    @classmethod
    def _missing_(cls, value: object) -> _Choice:
        names = [member.value for member in cls]
        raise ArithmeticSpecError(
            f"Unknown {_CALLED[cls.__name__]} {value!r}. {near_matches(str(value), names)}"
        )


class SumKind(_Choice):
    """What is done with the products; see `Sums`."""

    NATIVE = "native"
    CHAIN = "chain"
    ALIGNED = "aligned"
    EXACT = "exact"


class Order(_Choice):
    """Which addend comes when; see `Sums`."""

    SEQUENTIAL = "sequential"
    PAIRWISE = "pairwise"
    BLOCKED = "blocked"
    INTERLEAVED = "interleaved"
    SWAPPED = "swapped"
    PAIRED = "paired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """How the products a[k] b[k] of one output are added up.

    Attributes:
        kind: What is done.
            "native": torch's own product on this machine, in binary64 where `format` is binary64,
            else in binary32, or a narrower dtype of the operands; its order is not known.
            "chain": every addition is rounded to `format`.
            "aligned": tensor cores. `block` products and the running sum are aligned to the largest
            exponent, cut off `fraction_bits` below it, added exactly and rounded once to `format`;
            the result is the running sum of the next block.
            "exact": the exact sum of `block` products and the running sum, rounded once; of all
            products where there is no `block`.
        format: Format of every partial sum; its overflow policy applies to each.
        rounding: How a partial sum is rounded to it.
        order: Of a chain; of aligned sums "sequential" or "paired". "sequential": by ascending k.
            "swapped": the same, but of each two neighbours the second one first. "pairwise":
            neighbours, then neighbouring sums, and so on; at each level an odd one out is carried
            over. "interleaved": even and odd k as two chains, which are added in the end.
            "blocked": blocks of `block` neighbours are added up each for itself, in the order
            `within`, and their sums by ascending k. "paired": of every chunk the first, third,
            fifth ... pair of neighbours, then the second, fourth ...; what is missing in the last
            chunk counts as zeros.
        within: Order inside the blocks of a blocked chain; neither "blocked" nor "paired".
        block: Products in one block. None: all.
        halved_tail: A rest of more than one and less than two blocks is cut in the middle.
        fused: Chains: product and addition are rounded together (FMA). Else the product is rounded
            to `format` first, as it is in every "pairwise" order.
        flush_subnormals: Operands and results of every operation of a chain that are subnormal in
            binary32 (operands: in the format of the inputs) become zeros.
        fraction_bits: Aligned sums: bits that are kept below the largest exponent.
        alignment: Aligned sums: what becomes of bits that are cut off, "toward-zero" or "down".
        zero_exponent: Aligned sums: exponent that a zero term counts with.
        late_bits: Aligned sums: None where the running sum is aligned with the products. Else the
            products are added first, and then the running sum, which keeps `fraction_bits`, to that
            sum, which keeps `late_bits` + 1 bits; what is cut off both is rounded down, and the
            result is cut to `late_bits` before it is rounded.
        split: Aligned sums: even and odd products of a block are added apart, then joined.
        chunk: Two levels: number of products after which the partial sum is added, rounded to
            nearest, to an accumulator of format `outer`, and starts again from zero.
        outer: Format of that accumulator.

    Raises:
        ArithmeticSpecError: The attributes contradict each other; says which and why.

    Example:
        >>> Sums(kind="aligned", block=8, fraction_bits=24, zero_exponent=-132).format.name
        'fp32'
    """

    kind: SumKind | str = SumKind.NATIVE
    format: Format = BINARY32
    rounding: Rounding | str = Rounding.NEAREST_EVEN
    order: Order | str = Order.SEQUENTIAL
    within: Order | str = Order.SEQUENTIAL
    block: int | None = None
    halved_tail: bool = False
    fused: bool = True
    flush_subnormals: bool = False
    fraction_bits: int | None = None
    alignment: Rounding | str = Rounding.TOWARD_ZERO
    zero_exponent: int | None = None
    late_bits: int | None = None
    split: bool = False
    chunk: int | None = None
    outer: Format | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", SumKind(self.kind))
        object.__setattr__(self, "order", Order(self.order))
        object.__setattr__(self, "within", Order(self.within))
        object.__setattr__(self, "rounding", Rounding(self.rounding))
        object.__setattr__(self, "alignment", Rounding(self.alignment))
        _check(self)

    @property
    def is_emulated(self) -> bool:
        """Whether the sum is formed here, and not by torch."""
        return self.kind is not SumKind.NATIVE

    def __str__(self) -> str:
        """One line for tables."""
        if self.kind is SumKind.NATIVE:
            return f"native ({self.format.name})"
        parts = [str(self.kind), f"{self.format.name} {self.rounding}"]
        if self.kind is SumKind.CHAIN or self.order is not Order.SEQUENTIAL:
            parts.append(str(self.order))
        if self.kind is SumKind.CHAIN:
            parts.append("FMA" if self.fused else "product rounded")
        if self.block is not None:
            parts.append(f"{self.block} a block")
        if self.fraction_bits is not None:
            parts.append(f"{self.fraction_bits} fraction bits")
        if self.chunk is not None and self.outer is not None:
            parts.append(f"{self.outer.name} after every {self.chunk}")
        return ", ".join(parts)


def _check(sums: Sums) -> None:
    for name in ("block", "chunk"):
        size = getattr(sums, name)
        if size is not None and (not isinstance(size, int) or size < 1):
            raise _fault(sums, f"{name}={size!r}; it must be a whole number of at least 1")
    if sums.rounding is Rounding.STOCHASTIC:
        raise _fault(sums, "rounding='stochastic'; sums have deterministic roundings only")
    if (sums.chunk is None) != (sums.outer is None):
        raise _fault(sums, "chunk and outer belong together: give both or neither")
    if sums.kind is SumKind.NATIVE:
        _check_native(sums)
        return
    for fmt in filter(None, (sums.format, sums.outer)):
        _check_format(sums, fmt)
    _check_chain(sums)
    _check_aligned(sums)
    if sums.chunk is not None and sums.block is not None and sums.chunk % sums.block:
        raise _fault(sums, f"chunk={sums.chunk} must be a multiple of block={sums.block}")


def _check_native(sums: Sums) -> None:
    if sums.format not in (BINARY32, BINARY64):
        raise _fault(
            sums,
            f"format={sums.format.name}; torch adds in fp32 or fp64. For an accumulator of another "
            "format use kind='chain'",
        )
    if sums.block is not None or sums.chunk is not None or sums.fraction_bits is not None:
        raise _fault(sums, "the order of native sums cannot be chosen; use kind='chain'")


def _check_format(sums: Sums, fmt: Format) -> None:
    """Only formats inside binary32, or binary64 itself: others would need wider words."""
    if fmt == BINARY64:
        return
    if fmt.precision > BINARY32.precision or fmt.emin < BINARY32.emin or fmt.emax > BINARY32.emax:
        raise _fault(sums, f"format={fmt.name} does not fit into fp32, and is not fp64")
    plain = fmt.is_signed and fmt.has_zero and fmt.has_negative_zero and fmt.has_subnormals
    if not plain:
        raise _fault(sums, f"format={fmt.name}; partial sums need signed zeros and subnormals")


def _check_chain(sums: Sums) -> None:
    is_chain = sums.kind is SumKind.CHAIN
    is_blocked = sums.order is Order.BLOCKED
    of_kind = {SumKind.CHAIN: set(Order) - {Order.PAIRED}, SumKind.ALIGNED: {Order.PAIRED}}
    if sums.order not in {Order.SEQUENTIAL, *of_kind.get(SumKind(sums.kind), ())}:
        raise _fault(sums, f"order={str(sums.order)!r}; {_ORDERS}")
    if sums.order is Order.PAIRED and (sums.chunk is None or sums.chunk % 4):
        raise _fault(sums, f"order='paired' with chunk={sums.chunk}; it needs a multiple of 4")
    if sums.within in (Order.BLOCKED, Order.PAIRED) or (
        not is_blocked and sums.within is not Order.SEQUENTIAL
    ):
        raise _fault(sums, f"within={str(sums.within)!r} is for order='blocked', and not blocked")
    if is_chain and is_blocked != (sums.block is not None):
        raise _fault(sums, f"order={str(sums.order)!r} with block={sums.block}")
    if is_chain and is_blocked and sums.chunk is not None:
        raise _fault(sums, "a blocked chain has two levels already; leave chunk and outer out")
    if sums.format == BINARY64 and is_chain and sums.rounding is not Rounding.NEAREST_EVEN:
        raise _fault(sums, f"rounding={sums.rounding}; chains round to nearest-even in fp64")
    if sums.halved_tail and not (is_chain and is_blocked):
        raise _fault(sums, "halved_tail is for order='blocked'")
    if sums.flush_subnormals and (not is_chain or sums.format != BINARY32):
        raise _fault(sums, "flush_subnormals is for chains in fp32")


def _check_aligned(sums: Sums) -> None:
    if sums.kind is not SumKind.ALIGNED:
        if sums.fraction_bits is not None or sums.late_bits is not None or sums.split:
            raise _fault(sums, "fraction_bits, late_bits and split are for kind='aligned'")
        return
    if sums.block is None or sums.fraction_bits is None:
        raise _fault(sums, "kind='aligned' needs block and fraction_bits")
    if sums.format == BINARY64:
        raise _fault(sums, "aligned sums end in a format inside fp32")
    if not 1 <= sums.fraction_bits <= 40 or sums.block > 256:
        raise _fault(sums, "fraction_bits must be 1 to 40, and block at most 256")
    if sums.alignment not in (Rounding.TOWARD_ZERO, Rounding.DOWN):
        raise _fault(sums, f"alignment={sums.alignment}; it must be 'toward-zero' or 'down'")
    if sums.split and sums.late_bits is None:
        raise _fault(sums, "split needs late_bits")
    if sums.late_bits is not None and not sums.fraction_bits <= sums.late_bits <= 40:
        raise _fault(sums, f"late_bits={sums.late_bits}; it must be fraction_bits to 40")


def _fault(sums: Sums, what: str) -> ArithmeticSpecError:
    return ArithmeticSpecError(f"Sums of kind {str(sums.kind)!r} are contradictory: {what}.")
