"""What a look at the backward pass returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from deephochuli.analysis._finding import Finding, percent
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.backward._fate import Fate
from deephochuli.analysis.backward._likeness import Likeness
from deephochuli.analysis.backward._scale import LossScale
from deephochuli.analysis.swamping import SumRow

LOST_SHARE = 0.01
"""Share of lost elements from which on a gradient vanishes to the format."""

DECAY_BINADES = 10.0
"""Decay of the exact gradient, towards the input, from which on it vanishes by itself."""

Vanishing = Literal["no", "microscopic", "ordinary", "both"]


@dataclass(frozen=True, slots=True)
class Range:
    """Where the magnitudes of a gradient lie.

    Attributes:
        rms: Root mean square over all elements.
        low: Binade of the 1 % quantile of the nonzero magnitudes; None where all are zero.
        median: Of the median.
        high: Of the 99 % quantile.
    """

    rms: float
    low: int | None
    median: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class GradientRow:
    """One gradient in one arithmetic, beside the exact one.

    Attributes:
        arithmetic: Name of the execution.
        layer: Layer that computes it: path of the module, and which call of it.
        kind: Class of the module.
        order: Place of the call in the forward; the backward goes from the last to the first.
        tensor: "input" (the gradient that the layer hands down), or the name of a parameter.
        format: Format that it has to fit into.
        exact: Where the exact gradient lies.
        judged: Where the gradient of the arithmetic lies, divided by the loss scale.
        decay: Binades from the exact gradient of the layer next to the loss, of the same tensor, to
            this one, in rms; negative where gradients get smaller towards the input. nan where one
            of them is zero.
        fate: What became of the elements.
        effective: Of the vanished elements of a parameter, those whose exact step would have moved
            the stored weight; None for "input".
        unmoved: Elements with a gradient that is not zero in the arithmetic, whose update is zero
            although the exact one is not; None without an optimizer and for "input".
        likeness: Angle, length and bias against the exact gradient.
    """

    arithmetic: str
    layer: str
    kind: str
    order: int
    tensor: str
    format: str
    exact: Range
    judged: Range
    decay: float
    fate: Fate
    effective: int | None
    unmoved: int | None
    likeness: Likeness

    @property
    def vanishing(self) -> Vanishing:
        """Whether the gradient vanishes: to the format, by itself, both, or not.

        "microscopic": at least 1 % of the elements that are not zero in exact arithmetic vanish in
        the backward, other decisions of the forward left out. "ordinary": the exact gradient is at
        least 10 binades below that of the layer next to the loss.
        """
        to_format = self.fate.vanished_share >= LOST_SHARE
        by_itself = self.decay <= -DECAY_BINADES
        if to_format and by_itself:
            return "both"
        if to_format:
            return "microscopic"
        return "ordinary" if by_itself else "no"


@dataclass(frozen=True, slots=True)
class Backward:
    """What arithmetics do to the backward pass of a model on one batch.

    Attributes:
        model: Class of the model.
        arithmetics: Names of the executions, in the order asked for.
        scale: Loss scale that they ran with.
        confidence: Of all intervals.
        rows: Gradients by execution, in the order of the layers.
        sums: Sums of the backward by execution, replayed addition by addition; nothing for an
            execution of which `not_replayed` says why.
        not_replayed: Reasons, by execution.
        scales: Loss scales that the exact gradients need and allow, by execution.
        findings: What should be known, worst first.
    """

    model: str
    arithmetics: tuple[str, ...]
    scale: float
    confidence: float
    rows: tuple[GradientRow, ...]
    sums: dict[str, tuple[SumRow, ...]]
    not_replayed: dict[str, str]
    scales: dict[str, LossScale]
    findings: tuple[Finding, ...]

    def of(
        self, arithmetic: str | None = None, layer: str | None = None, tensor: str | None = None
    ) -> tuple[GradientRow, ...]:
        """The rows of an execution, of a layer, of a tensor."""
        return tuple(
            row
            for row in self.rows
            if arithmetic in (None, row.arithmetic)
            and layer in (None, row.layer)
            and tensor in (None, row.tensor)
        )

    def table(self) -> list[dict[str, Any]]:
        """The rows as mappings."""
        return [asdict(row) | {"vanishing": row.vanishing} for row in self.rows]

    def sheet(self) -> Sheet:
        """The answer as data: tables and figures."""
        return sheet_for(self)

    def __str__(self) -> str:
        """The rows as text."""
        head = (
            f"{'arithmetic':14} {'layer':20} {'tensor':10} {'exact rms':>10} {'lost':>8} "
            f"{'decided':>8} {'here':>8} {'in sums':>8} {'before':>8} {'cosine':>10} "
            f"{'scale':>8} {'bias':>9} vanishing"
        )
        lines = [head, *(_line(row) for row in self.rows)]
        for name, found in self.scales.items():
            lines.append(
                f"{name}: loss scale {found.lowest:g} ({found.demanding or 'none needs one'}) to "
                f"{found.highest:g} ({found.limiting}), advised {found.advised:g}"
            )
        lines += [f"{name}: sums not replayed: {why}" for name, why in self.not_replayed.items()]
        return "\n".join(lines)


def _line(row: GradientRow) -> str:
    fate, whole = row.fate, max(1, row.fate.n_nonzero)
    parts = (fate.lost, fate.decided, fate.rounded, fate.inside)
    shares = (percent(part / whole) for part in parts)
    cells = " ".join(f"{share:>8}" for share in (*shares, percent(fate.inherited / whole)))
    like = row.likeness
    return (
        f"{row.arithmetic[:14]:14} {row.layer[:20]:20} {row.tensor[:10]:10} {row.exact.rms:10.3g} "
        f"{cells} {like.cosine.value:10.7f} {like.scale.value:8.5f} {like.bias.value:9.2g} "
        f"{row.vanishing}"
    )
