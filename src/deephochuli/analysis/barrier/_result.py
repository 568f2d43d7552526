"""What a barrier analysis returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.barrier._judge import Judgement, Limit
from deephochuli.analysis.barrier._lattice import Lattice
from deephochuli.analysis.barrier._scaling import Law
from deephochuli.analysis.barrier._tally import Tally


@dataclass(frozen=True, slots=True)
class Intervention:
    """A layer's pre-activations of the same inputs with other biases.

    Attributes:
        name: "b = 0" or "b + 0.25".
        lattice: What the last bits of small values say then.
    """

    name: str
    lattice: Lattice


@dataclass(frozen=True, slots=True)
class LayerBarrier:
    """One layer.

    Attributes:
        layer: Path of the module.
        format: Format in which its results are held.
        accumulator: Format of its partial sums.
        has_bias: Whether it has a bias.
        judgement: What limits its smallest pre-activations.
        law: How the smallest magnitude fell with the number of values; None for too few.
        interventions: What becomes of the lattice under other biases.
        tally: What was counted.
    """

    layer: str
    format: str
    accumulator: str
    has_bias: bool
    judgement: Judgement
    law: Law | None
    interventions: tuple[Intervention, ...]
    tally: Tally

    @property
    def limit(self) -> Limit:
        """The verdict."""
        return self.judgement.limit


@dataclass(frozen=True, slots=True)
class Barrier:
    """What limits the smallest pre-activations of a model, layer by layer.

    Attributes:
        model: Class of the model.
        arithmetic: Name of the arithmetic, or "" for the model's own.
        confidence: Of all intervals.
        rows: Layers in the order of the model.
        not_seen: Layers with weights that are no linear layer or convolution, by path.
        findings: What should be known, worst first.
    """

    model: str
    arithmetic: str
    confidence: float
    rows: tuple[LayerBarrier, ...]
    not_seen: tuple[str, ...]
    findings: tuple[Finding, ...]

    def of(self, layer: str) -> LayerBarrier:
        """The row of a layer.

        Raises:
            KeyError: There is none of this name.
        """
        return {row.layer: row for row in self.rows}[layer]

    def verdicts(self) -> Mapping[str, Limit]:
        """What limits each layer."""
        return {row.layer: row.limit for row in self.rows}

    def table(self) -> list[dict[str, Any]]:
        """The rows as mappings, without what was counted."""
        return [
            {
                "layer": row.layer,
                "format": row.format,
                "accumulator": row.accumulator,
                "has_bias": row.has_bias,
                **asdict(row.judgement),
            }
            for row in self.rows
        ]

    def sheet(self) -> Sheet:
        """Tables and figures of the whole answer."""
        return sheet_for(self)

    def __str__(self) -> str:
        """The rows as text."""
        lines = [
            f"{'layer':20} {'limit':9} {'N':>10} {'p0':>9} {'smallest':>10} {'1/(2Np0)':>10} "
            f"{'p':>8} {'zeros':>7} {'spacing':>10} {'owner':12}"
        ]
        for row in self.rows:
            it = row.judgement
            spacing = it.lattice.spacing
            lines.append(
                f"{row.layer[:20]:20} {it.limit:9} {it.n:10} {it.rarity.p0.value:9.4g} "
                f"{it.rarity.cutoff:10.3g} {it.rarity.predicted.value:10.3g} {it.rarity.p:8.2g} "
                f"{it.zeros.seen:7} {'-' if spacing is None else f'{spacing:.3g}':>10} "
                f"{it.lattice.owner or '-':12}"
            )
        lines += [f"{row.layer}: {row.judgement.because}" for row in self.rows]
        return "\n".join(lines + [f"not looked at: {name}" for name in self.not_seen])
