"""What an analysis of the kink returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deephochuli.analysis._finding import Finding, percent
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.kink._causes import Cause
from deephochuli.analysis.swamping import Estimate


@dataclass(frozen=True, slots=True)
class ZeroRow:
    """How often the input of one activation lies exactly at its kink, in one execution.

    Attributes:
        execution: Its name.
        layer: Path of the module that holds the activation.
        n: Elements of pre-activations, over all batches.
        n_zero: Of these, exactly at the kink.
        share: n_zero / n with an interval over batches.
        causes: How often each cause; empty where causes were not asked for.
        n_numerical: Elements at the kink for another cause than a structural one.
    """

    execution: str
    layer: str
    n: int
    n_zero: int
    share: Estimate
    causes: Mapping[Cause, int]
    n_numerical: int


@dataclass(frozen=True, slots=True)
class PoolRow:
    """How often a window of a max pooling has more than one largest element.

    Attributes:
        execution: Name of the execution.
        layer: Path of the module.
        n_windows: Windows, over all batches.
        n_tied: Windows with a tie.
    """

    execution: str
    layer: str
    n_windows: int
    n_tied: int


@dataclass(frozen=True, slots=True)
class BatchChange:
    """What hangs on the slopes at kinks in one batch.

    Attributes:
        n_zero: Elements at a kink.
        n_numerical: Of these, not for a structural cause; 0 where causes were not asked for.
        sizes: Pairs of alpha and r = ||g_alpha - g_0|| / ||g_0||, over all parameters.
        layers: Pairs of the path of a module with parameters and its part of r at the largest
            alpha: ||g_alpha - g_0|| over its parameters / ||g_0|| over all.
        weights: Share of the elements of the gradient that differ at the largest alpha.
        pooling: r between the first and the last of tied elements; 0 where ties change nothing.
        is_sure: Whether the same slopes gave the same gradient again.
    """

    n_zero: int
    n_numerical: int
    sizes: tuple[tuple[float, float], ...]
    layers: tuple[tuple[str, float], ...]
    weights: float
    pooling: float
    is_sure: bool

    @property
    def is_changed(self) -> bool:
        """Whether any element of the gradient hangs on ReLU'(0)."""
        return self.weights > 0


@dataclass(frozen=True, slots=True)
class KinkRun:
    """All batches in one execution.

    Attributes:
        execution: Its name.
        n_batches: Batches.
        changed: Share of the batches whose gradient hangs on ReLU'(0), with a Clopper-Pearson
            interval.
        unit_roundoff: Of the format that gradients are kept in.
        batches: Batch by batch.
    """

    execution: str
    n_batches: int
    changed: Estimate
    unit_roundoff: float
    batches: tuple[BatchChange, ...]

    @property
    def n_zero(self) -> int:
        """Elements at a kink, over all batches."""
        return sum(batch.n_zero for batch in self.batches)

    @property
    def n_numerical(self) -> int:
        """Elements at a kink for another cause than a structural one."""
        return sum(batch.n_numerical for batch in self.batches)

    def size(self, alpha: float) -> float:
        """Median of r over the batches, those without a change included."""
        sizes = sorted(dict(batch.sizes)[alpha] for batch in self.batches)
        middle = len(sizes) // 2
        return (sizes[middle] + sizes[~middle]) / 2

    @property
    def tied(self) -> tuple[float, ...]:
        """Changes by ties of max pooling beyond what another order of the same sums makes.

        Numerics:
            Equal inputs make equal elements, and then it is the same gradient, added in another
            order: differences up to 2 u are that.
        """
        floor = 2 * self.unit_roundoff
        return tuple(b.pooling for b in self.batches if b.is_sure and b.pooling > floor)

    @property
    def largest(self) -> float:
        """The largest r of any batch and alpha."""
        return max(size for batch in self.batches for _, size in batch.sizes)

    def told(self, alphas: tuple[float, ...]) -> str:
        """What became of this execution, in one sentence."""
        changed = self.changed
        sizes = ", ".join(f"r({alpha:g}) = {self.size(alpha):.2g}" for alpha in alphas)
        return (
            f"{self.execution}: {percent(changed.value)} "
            f"[{percent(changed.low)}, {percent(changed.high)}] of {self.n_batches} batches "
            f"change, {sizes} in the median"
        )


@dataclass(frozen=True, slots=True)
class Kink:
    """What hangs on ReLU'(0) in a model.

    Attributes:
        model: Class of the model.
        alphas: Slopes at the kink that were compared with 0.
        confidence: Of all intervals.
        zeros: A row for each execution and activation.
        pools: A row for each execution and max pooling.
        runs: All batches, for each execution.
        findings: What should be known, worst first.
    """

    model: str
    alphas: tuple[float, ...]
    confidence: float
    zeros: tuple[ZeroRow, ...]
    pools: tuple[PoolRow, ...]
    runs: tuple[KinkRun, ...]
    findings: tuple[Finding, ...]

    def sheet(self) -> Sheet:
        """The answer as tables and figures."""
        return sheet_for(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"ReLU'(0) in {self.model}: alpha = {', '.join(map(str, self.alphas))} against 0"]
        for run in self.runs:
            lines.append(f"  {run.told(self.alphas)}")
            lines += [
                f"    {row.layer or '(model)'}: {row.n_zero} of {row.n} at the kink, "
                f"{row.n_numerical} of them not by structure"
                for row in self.zeros
                if row.execution == run.execution and row.n_zero
            ]
        lines += [f"{finding.level}: {finding.title}" for finding in self.findings]
        return "\n".join(lines)
