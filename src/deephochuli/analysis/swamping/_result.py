"""What a swamping analysis returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.swamping._interval import Estimate


@dataclass(frozen=True, slots=True)
class SumRow:
    """What the additions of one kind of sum in one layer swallow, in one order.

    Attributes:
        layer: Path of the module; from its second operator of this kind on with a number.
        operator: Operator of torch.
        sum: "forward", "bias add", "weight gradient", "input gradient", "bias gradient", "mean",
            "variance", "residual add", "gradient joint", "sum", ...
        direction: "forward" or "backward".
        order: Order of the replay; "aligned" for tensor cores, which cut all terms of a block at
            one place: absorbed are those of which nothing is left.
        format: Format of the partial sums.
        n_addends: K, addends of one sum.
        n_sums: Sums in the operator.
        n_sampled: Sums that were replayed.
        zero_share: Share of addends that are zero; they are in none of the numbers below.
        absorbed: Additions whose result is the larger operand, over those with two operands that
            are not zero.
        lost_mass: Sum of the magnitudes absorbed over the sum of the magnitudes of all addends.
        bits_lost: Median over the sums of p + log2(|result - exact| / |exact|), from 0 to p: bits
            that are wrong beyond half an ulp of the exact sum.
        bits_lost_high: 95 % quantile of that.
        error: Mean over the sums of |result - exact| / sum of the magnitudes of the addends.
        n_underflowed: Addends that became zero when rounded to the format, before any addition.
        n_overflowed: Additions or addends beyond the largest number.
        growth: Pairs of K and the share of absorbed additions predicted for it, for sequential
            sums of more than two addends; empty for others.
    """

    layer: str
    operator: str
    sum: str
    direction: str
    order: str
    format: str
    n_addends: int
    n_sums: int
    n_sampled: int
    zero_share: float
    absorbed: Estimate
    lost_mass: Estimate
    bits_lost: float
    bits_lost_high: float
    error: float
    n_underflowed: int
    n_overflowed: int
    growth: tuple[tuple[int, float], ...]

    @property
    def predicted(self) -> float | None:
        """Share of absorbed additions that is predicted for this K; None for other orders."""
        return self.growth[0][1] if self.growth else None


@dataclass(frozen=True, slots=True)
class Swamping:
    """What the sums of a model swallow on one batch.

    Attributes:
        model: Class of the model.
        arithmetic: Name of the arithmetic, or "" for the dtypes of the model.
        confidence: Of all intervals.
        rows: Sums in the order in which they were computed, and by order of addition.
        not_replayed: Operators with sums inside that were met and are not replayed, by layer; and
            sums that were given NaN or infinity.
        findings: What should be known, worst first.
    """

    model: str
    arithmetic: str
    confidence: float
    rows: tuple[SumRow, ...]
    not_replayed: tuple[str, ...]
    findings: tuple[Finding, ...]

    def of(
        self, layer: str | None = None, sum: str | None = None, order: str | None = None
    ) -> tuple[SumRow, ...]:
        """The rows of a layer, of a kind of sum, of an order."""
        return tuple(
            row
            for row in self.rows
            if layer in (None, row.layer) and sum in (None, row.sum) and order in (None, row.order)
        )

    def table(self) -> list[dict[str, Any]]:
        """The rows as mappings."""
        return [asdict(row) for row in self.rows]

    def sheet(self) -> Sheet:
        """The answer as tables and figures, for the page and the terminal."""
        return sheet_for(self)

    def __str__(self) -> str:
        """The rows as text."""
        lines = [
            f"{'layer':24} {'sum':16} {'order':10} {'K':>7} {'absorbed':>10} {'[low, high]':>22} "
            f"{'lost mass':>10} {'bits lost':>9}"
        ]
        lines += [
            f"{named(row.layer)[:24]:24} {row.sum:16} {row.order:10} {row.n_addends:7} "
            f"{row.absorbed.value:10.3g} [{row.absorbed.low:9.2g}, {row.absorbed.high:9.2g}] "
            f"{row.lost_mass.value:10.2g} {row.bits_lost:9.1f}"
            for row in self.rows
        ]
        if not self.rows:
            lines.append("no sum of two or more numbers was replayed")
        return "\n".join(lines + [f"not replayed: {name}" for name in self.not_replayed])


def named(layer: str) -> str:
    """A layer as people read it; what belongs to no layer below the model is the model's.

    Example:
        >>> named("#2"), named("blocks.0")
        ('(model)#2', 'blocks.0')
    """
    return f"(model){layer}" if not layer or layer.startswith("#") else layer
