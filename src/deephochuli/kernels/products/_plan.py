"""What a back end has to know to form sums of products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from deephochuli.formats import BINARY32, BINARY64, Format, Rounding

Kind = Literal["chain", "aligned", "exact"]
Order = Literal["sequential", "pairwise", "interleaved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """How C[m, n], the sum over k of A[m, k] B[k, n], is formed.

    The k are cut into chunks. In each, a partial sum is formed as `kind` says, from zero; it is
    then added to the total, rounded to nearest in `outer`. Without `outer` there is one chunk, and
    its partial sum starts from the initial value.

    Attributes:
        kind: "chain": each addition rounded. "aligned": blocks of products and the sum so far are
            aligned to the largest exponent, cut, added exactly, rounded once. "exact": the exact
            sum of the sum so far and a block of products, rounded once.
        format: Format of partial sums.
        rounding: How they are rounded.
        inputs: Format of the operands; None: binary64.
        order: Of a chain: by ascending k, by a binary tree over neighbours (an odd one out is
            carried over), or even and odd k apart. The result of the last two is added to an
            initial value in the end.
        fused: Whether a product enters a chain unrounded; never in a tree.
        flush: Subnormal operands become +0, subnormal results of binary32 zeros of their sign.
        block: Products in a block, of aligned and exact sums; None: all of a chunk.
        fraction_bits: F, bits kept below the largest exponent, of aligned sums.
        floors: Whether alignment rounds down; else toward zero.
        zero_exponent: Least exponent that an aligned sum has; None: no such limit.
        late_bits: See `arithmetic.Sums`, as for `split`.
        split: Whether even and odd products of an aligned sum are added apart.
        chunk: Products in a chunk; None: all.
        halves_tail: Whether a rest of more than one and less than two chunks is cut in the middle.
        outer: Format of the total.
        swaps: Whether of each two neighbouring k the second comes first.
        pairs: Whether of each chunk every other pair of neighbours comes first, then the rest;
            the last chunk is filled up with zeros.
    """

    kind: Kind
    format: Format = BINARY32
    rounding: Rounding = Rounding.NEAREST_EVEN
    inputs: Format | None = BINARY32
    order: Order = "sequential"
    fused: bool = True
    flush: bool = False
    block: int | None = None
    fraction_bits: int = 0
    floors: bool = False
    zero_exponent: int | None = None
    late_bits: int | None = None
    split: bool = False
    chunk: int | None = None
    halves_tail: bool = False
    outer: Format | None = None
    swaps: bool = False
    pairs: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of operands and results."""
        wide = self.format == BINARY64 or self.inputs is None or self.inputs == BINARY64
        return torch.float64 if wide else torch.float32

    def chunk_starts(self, k: int) -> list[int]:
        """Where chunks begin, and k behind them."""
        if self.chunk is None or k == 0:
            return [0, k]
        starts = list(range(0, k, self.chunk))
        rest = k - starts[-1]
        if self.halves_tail and len(starts) > 1 and rest < self.chunk:
            starts[-1] = starts[-2] + (self.chunk + rest + 1) // 2
        return [*starts, k]


class ProductBackend(Protocol):
    """One way of forming sums of products."""

    name: str

    def multiply(
        self,
        plan: ProductPlan,
        a: torch.Tensor,
        b: torch.Tensor,
        initial: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Form all sums of a batch of matrix products.

        Args:
            plan: How.
            a: (batch, M, K), of the plan's dtype; its elements are values of `plan.inputs`.
            b: (batch, K, N), alike.
            initial: (batch, M, N), alike, values of the format that the sum starts in; None: +0.

        Returns:
            (batch, M, N), of the plan's dtype, values of `plan.outer` or `plan.format`.
        """
        ...
