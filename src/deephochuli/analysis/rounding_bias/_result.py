"""What a watch over rounding bias returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.swamping import Estimate

Direction = Literal["up", "outward", "drift"]
"""Along what a bias is looked for:

up: towards plus infinity.
outward: away from zero; truncation goes inward.
drift: where the rounding errors of the same element have gone so far; constant small updates that
are lost go there whatever their signs are.
"""


@dataclass(frozen=True, slots=True)
class BiasRow:
    """The rounding errors of one tensor along one direction.

    Attributes:
        layer: Name of the parameter, or path of the module.
        quantity: "w" for weights after a step, "z" for the output of a layer.
        direction: Along what errors are signed.
        format: Format that the numbers are kept in.
        n_steps: Steps that were looked at.
        n_elements: Elements of each that were.
        mean: Mean error of a step over the steps, in gaps between neighbouring numbers, with
            Student's interval over the steps.
        p_value: Of that mean being zero, from the same t; for one look at the end, not an alarm.
        evidence: log10 of the evidence against a rounding without bias, at its largest.
        alarm: Step at which the evidence passed its limit; None where it did not.
        part: Sum of the errors along the direction over the sum of the magnitudes of the updates;
            None for outputs.
    """

    layer: str
    quantity: str
    direction: Direction
    format: str
    n_steps: int
    n_elements: int
    mean: Estimate
    p_value: float
    evidence: float
    alarm: int | None
    part: float | None


@dataclass(frozen=True, slots=True)
class Bias:
    """Whether rounding pushed something to one side during a training.

    Attributes:
        model: Class of the model.
        alpha: Probability that there is any alarm at all in a run without rounding bias.
        n_wagers: Tensors times directions, among which it is shared.
        rows: A row for each of them, strongest evidence first.
        unseen: Tensors that were not looked at, and why.
        findings: What should be known, worst first.
    """

    model: str
    alpha: float
    n_wagers: int
    rows: tuple[BiasRow, ...]
    unseen: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def alarms(self) -> tuple[BiasRow, ...]:
        """The rows that gave an alarm."""
        return tuple(row for row in self.rows if row.alarm is not None)

    def sheet(self) -> Sheet:
        """The answer as tables and figures."""
        return sheet_for(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"Rounding bias in {self.model}: {len(self.alarms)} alarms among {self.n_wagers} "
            f"wagers (probability of any false one: {self.alpha:g})"
        ]
        lines += [
            f"  {row.layer} {row.quantity} {row.direction}: {row.mean.value:+.3g} gaps a step "
            f"[{row.mean.low:+.3g}, {row.mean.high:+.3g}], from step {row.alarm}"
            for row in self.alarms
        ]
        lines += [f"{finding.level}: {finding.title}" for finding in self.findings]
        return "\n".join(lines)
