"""What a significance analysis returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for

THRESHOLDS = (1, 2, 4, 8, 16)
"""Shares of elements with fewer guaranteed significant bits than these are told."""


@dataclass(frozen=True, slots=True)
class LayerBits:
    """Significant bits of one tensor of one layer.

    Bits of an element are -log2(deviation / |mean|) over the samples, from 0 to `precision`.

    Attributes:
        layer: Path of the module, with the number of its call from the second one on; or name of
            the parameter.
        quantity: "a" output, "da" gradient of the loss by it, "g" gradient of a parameter, "dw"
            what a step of the optimizer adds to it.
        format: dtype of the tensor.
        precision: p of that dtype, which caps the bits.
        n_elements: Elements of the tensor.
        n_followed: Elements that were looked at.
        n_zero: Of these, zero in every run; without digits, and in none of the numbers below.
        n_nonfinite: Of these, infinite or NaN in some run; likewise.
        n_resolution_limited: Of the others, equal to the last bit in all samples: `precision`
            stands for them, the true number of bits may be larger than what samples can show.
        median: Median of the estimated bits; nan where no element is left.
        quantiles: 5, 25, 75 and 95 % quantiles of the estimated bits.
        guaranteed: Median of the bits that the CNH bound guarantees.
        agreed: Median of the bits to which all samples agree (Bernoulli estimate).
        share_below: Pairs of k and the share of elements with fewer than k guaranteed bits.
        bias: Mean over the elements of (mean of samples - run without errors) / standard error.
    """

    layer: str
    quantity: str
    format: str
    precision: int
    n_elements: int
    n_followed: int
    n_zero: int
    n_nonfinite: int
    n_resolution_limited: int
    median: float
    quantiles: tuple[float, float, float, float]
    guaranteed: float
    agreed: float
    share_below: tuple[tuple[int, float], ...]
    bias: float

    @property
    def is_resolution_limited(self) -> bool:
        """Whether the median itself stands for samples that agree to the last bit."""
        n_used = self.n_followed - self.n_zero - self.n_nonfinite
        return 2 * self.n_resolution_limited >= n_used > 0


@dataclass(frozen=True, slots=True)
class BranchStability:
    """How many decisions of one layer rounding could turn.

    Attributes:
        layer: Path of the module; "output" for the model's own decision.
        kind: "relu", "max-pool" or "argmax".
        n_decisions: Decisions made: elements, windows, rows.
        n_followed: Decisions that were looked at.
        n_ties: Of these, margins that are zero in every run: nothing to decide.
        n_turned: Of the others, decided otherwise in some run.
        n_unstable: Of the others, turned, or with a mean margin within the bound of its deviation.
        share: n_unstable over the decisions that are no ties; nan where there is none.
    """

    layer: str
    kind: str
    n_decisions: int
    n_followed: int
    n_ties: int
    n_turned: int
    n_unstable: int
    share: float


@dataclass(frozen=True, slots=True)
class Significance:
    """Significant bits of a model on one batch.

    Attributes:
        model: Class of the model.
        n_samples: Runs with random errors.
        precision_bits: Size of the errors; None: one ulp of each tensor's own dtype.
        probability: Probability that the guaranteed bits of an element are right in one run.
        confidence: Confidence of that statement (one-sided).
        penalty: Bits between the estimate and the guarantee: `penalty_bits`.
        bernoulli_probability: Probability that goes with `LayerBits.agreed`.
        layers: Tensors in the order in which they were first seen.
        branches: Decisions likewise.
        lost: Places whose shape changed between runs, so that nothing can be said.
        findings: What should be known, worst first.
    """

    model: str
    n_samples: int
    precision_bits: int | None
    probability: float
    confidence: float
    penalty: float
    bernoulli_probability: float
    layers: tuple[LayerBits, ...]
    branches: tuple[BranchStability, ...]
    lost: tuple[str, ...]
    findings: tuple[Finding, ...]

    def of(self, quantity: str) -> tuple[LayerBits, ...]:
        """The rows of one quantity: "a", "da", "g" or "dw"."""
        return tuple(row for row in self.layers if row.quantity == quantity)

    def rows(self) -> list[dict[str, Any]]:
        """The table of significant bits, a mapping for each row."""
        return [asdict(row) for row in self.layers]

    def branch_rows(self) -> list[dict[str, Any]]:
        """The table of decisions, a mapping for each row."""
        return [asdict(row) for row in self.branches]

    def sheet(self) -> Sheet:
        """The answer as tables and figures, for the page and the terminal."""
        return sheet_for(self)

    def __str__(self) -> str:
        """Both tables as text."""
        lines = [f"{'layer':32} {'':3} {'median':>7} {'sure':>6} {'5 %':>6} {'< 4 bits':>9}"]
        for row in self.layers:
            share = dict(row.share_below)[4]
            mark = "*" if row.is_resolution_limited else " "
            lines.append(
                f"{(row.layer or '(model)')[:32]:32} {row.quantity:3} {row.median:6.1f}{mark} "
                f"{row.guaranteed:6.1f} {row.quantiles[0]:6.1f} {share:9.2%}"
            )
        lines += [
            f"{row.layer or '(model)'} {row.quantity}: {row.n_nonfinite} of {row.n_followed} "
            "elements are infinite or NaN in some run, and have no bits"
            for row in self.layers
            if row.n_nonfinite
        ]
        lines += [
            f"{row.layer[:32]:32} {row.kind}: {row.n_unstable} of {row.n_followed - row.n_ties} "
            "decisions not significant"
            for row in self.branches
        ]
        return "\n".join(lines)
