"""Units of a model by what became of them, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis.death._frozen import Window
from deephochuli.analysis.death._shadows import Shadow

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]

FATES: Final = {
    "by data": "by_data",
    "by bias": "by_bias",
    "by rounding": "by_rounding",
    "by inherited rounding": "by_inherited_rounding",
    "numerically alive": "numerically_alive",
    "dormant, not dead": "dormant_alive",
    "frozen by absorption": "frozen_by_absorption",
    "frozen by underflow": "frozen_by_underflow",
    "frozen by death": "frozen_by_death",
    "some updates swamped": "partly_swamped",
}
"""What can become of a unit, and the attribute of `LayerUnits` that says which units it became of;
the first four are causes of death and exclude each other."""
_FOLLOWED: Final = frozenset(fate for fate in FATES if "frozen" in fate or "swamped" in fate)
"""Fates that are known only where steps of training were followed."""

MOST_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class LayerUnits:
    """The units before one rectifier: arrays have one element a unit.

    Attributes:
        shadow: Largest pre-activations, as judged and in binary64.
        window: What the weights did over steps of training; all zero where none were made.
        tau: Score up to which a unit is dormant.
    """

    shadow: Shadow
    window: Window
    tau: float

    @property
    def layer(self) -> str:
        """Path of the module whose weights make the pre-activations."""
        return self.shadow.wiring.layer

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return self.shadow.wiring.n_units

    @property
    def dead(self) -> Bools:
        """No pre-activation is positive in the judged execution."""
        return self.shadow.low <= 0

    @property
    def structural(self) -> Bools:
        """No pre-activation is positive in binary64, with the same weights."""
        return self.shadow.exact <= 0

    @property
    def by_bias(self) -> Bools:
        """Structurally dead, and alive in binary64 without its bias."""
        return self.structural & (self.shadow.unbiased > 0)

    @property
    def by_data(self) -> Bools:
        """Structurally dead, without its bias too: its weights stand against all the data."""
        return self.structural & ~self.by_bias

    @property
    def by_rounding(self) -> Bools:
        """Dead as judged, alive in binary64, and alive in binary64 on the judged activations."""
        return self.dead & ~self.structural & (self.shadow.local > 0)

    @property
    def by_inherited_rounding(self) -> Bools:
        """Dead as judged and alive in binary64, by what rounding did to the layers before."""
        return self.dead & ~self.structural & ~(self.shadow.local > 0)

    @property
    def numerically_alive(self) -> Bools:
        """Dead in binary64 and alive as judged."""
        return self.structural & (self.shadow.low > 0)

    @property
    def score(self) -> Float64s:
        """Mean magnitude of the activation over its mean over the layer's units; 0 where all are 0.

        Numerics:
            The score of Sokar, Agarwal, Castro and Evci 2023 (arXiv 2302.12902), equation 1, from
            the judged activations, in binary64.
        """
        mean = float(self.shadow.activity.mean())
        return self.shadow.activity / mean if mean > 0 else np.zeros(self.n_units)

    @property
    def dormant(self) -> Bools:
        """Score at most `tau`; dead units are dormant."""
        return self.score <= self.tau

    @property
    def dormant_alive(self) -> Bools:
        """Dormant without being dead."""
        return self.dormant & ~self.dead

    @property
    def frozen(self) -> Bools:
        """Its exact gradient was not zero, and no bit of its weights changed."""
        return (self.window.n_driven > 0) & (self.window.n_moved == 0)

    @property
    def frozen_by_absorption(self) -> Bools:
        """Frozen although its low gradient was not zero: fl(w - update) == w in every weight."""
        return self.frozen & self._felt

    @property
    def frozen_by_underflow(self) -> Bools:
        """Frozen, alive as judged, and its low gradient was zero throughout."""
        return self.frozen & ~self._felt & ~self.dead

    @property
    def frozen_by_death(self) -> Bools:
        """Frozen, and without a low gradient because it is dead as judged."""
        return self.frozen & ~self._felt & self.dead

    @property
    def partly_swamped(self) -> Bools:
        """Some of its weights moved, and some had a gradient in low arithmetic and did not."""
        return (self.window.n_swamped > 0) & (self.window.n_moved > 0)

    @property
    def _felt(self) -> Bools:
        return self.window.n_felt > 0

    def which(self, fate: str) -> Bools:
        """The units of a fate, a key of `FATES`."""
        return getattr(self, FATES[fate])


@dataclass(frozen=True, slots=True)
class Death:
    """The units of a model by what became of them in an arithmetic.

    Attributes:
        model: Class of the model.
        arithmetic: What was judged.
        tau: Score up to which a unit is dormant.
        n_batches: Batches of the data.
        n_steps: Steps of training that were followed; 0 for none.
        layers: Units by rectifier, in the order of the calls.
        findings: What should be known, worst first.
    """

    model: str
    arithmetic: str
    tau: float
    n_batches: int
    n_steps: int
    layers: tuple[LayerUnits, ...]
    findings: tuple[Finding, ...]

    @property
    def n_units(self) -> int:
        """Units altogether."""
        return sum(layer.n_units for layer in self.layers)

    def count(self, fate: str) -> int:
        """How many units met a fate, a key of `FATES`."""
        return sum(int(layer.which(fate).sum()) for layer in self.layers)

    def counts(self) -> dict[str, int]:
        """How many units met each fate."""
        return {fate: self.count(fate) for fate in FATES}

    def table(self) -> list[dict[str, Cell]]:
        """One mapping a unit."""
        return [row for layer in self.layers for row in _rows(layer)]

    def __str__(self) -> str:
        """The layers as text, and the sum."""
        fates = [fate for fate in FATES if self.n_steps or fate not in _FOLLOWED]
        rows = [
            [layer.layer, layer.n_units, *(int(layer.which(fate).sum()) for fate in fates)]
            for layer in self.layers
        ]
        total = ["all", self.n_units, *(self.count(fate) for fate in fates)]
        return _aligned(["layer", "units", *fates], [*rows, total])

    def sheet(self) -> Sheet:
        """The answer as data."""
        return Sheet(
            key="death",
            title="Dead units by cause",
            question=f"Which units of {self.model} are dead or frozen in {self.arithmetic}, and is "
            "it the data, the bias, or the arithmetic?",
            answer=_answer(self),
            findings=self.findings,
            tables=(_layer_table(self), _unit_table(self)),
            figures=(_figure(self),),
            notes=_NOTES,
        )


_NOTES: Final = (
    "A unit (output channel of a convolution, feature of a linear layer) is dead when none of its "
    "pre-activations on all the data given is positive. Its shadow is the same layer with the same "
    "weights in binary64: from the inputs of the model on, and from the judged activations of the "
    "rectifiers before (local).",
    "All units and all the data given are looked at, so that counts have no sampling error; they "
    "say nothing about other data.",
    "Frozen is said only where steps of training were followed: exact gradient not zero in some "
    "step, no bit of the incoming weights changed in any.",
)


def _aligned(headings: list[str], rows: list[list[str | int]]) -> str:
    """A table as text, the words of each heading above each other."""
    words = [heading.split() for heading in headings]
    height = max(map(len, words))
    stacked = [[""] * (height - len(each)) + each for each in words]
    lines = [*map(list, zip(*stacked, strict=True)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _answer(death: Death) -> str:
    counts, n = death.counts(), death.n_units
    rounding = counts["by rounding"] + counts["by inherited rounding"]
    text = (
        f"Of {n} units {counts['by data'] + counts['by bias']} are dead in binary64 too "
        f"({counts['by bias']} of them only by their bias), {rounding} are dead by rounding in "
        f"{death.arithmetic} ({counts['by rounding']} in the layer itself)."
    )
    if not death.n_steps:
        return text
    return text + (
        f" Over {death.n_steps} steps {counts['frozen by absorption']} units are frozen by "
        f"absorbed updates and {counts['frozen by underflow']} by gradients that underflow."
    )


def _layer_table(death: Death) -> Table:
    return Table(
        key="layers",
        title="Units by layer and fate",
        columns=("layer", "units", *FATES),
        rows=tuple(
            (layer.layer, layer.n_units, *(int(layer.which(fate).sum()) for fate in FATES))
            for layer in death.layers
        ),
        note="The first four fates are causes of death and exclude each other.",
    )


def _rows(layer: LayerUnits) -> list[dict[str, Cell]]:
    fates = {fate: layer.which(fate) for fate in FATES}
    score = layer.score
    return [
        {
            "layer": layer.layer,
            "unit": unit,
            "fates": ", ".join(fate for fate, which in fates.items() if which[unit]),
            "largest z as judged": float(layer.shadow.low[unit]),
            "largest z in binary64": float(layer.shadow.exact[unit]),
            "largest z in binary64, local": float(layer.shadow.local[unit]),
            "dormancy score": float(score[unit]),
        }
        for unit in range(layer.n_units)
    ]


def _unit_table(death: Death) -> Table:
    rows = [row for row in death.table() if row["fates"]]
    columns = tuple(rows[0]) if rows else ("layer", "unit", "fates")
    return Table(
        key="units",
        title="Units that are dead, dormant or frozen",
        columns=columns,
        rows=tuple(tuple(row.values()) for row in rows[:MOST_ROWS]),
        note=f"The first {MOST_ROWS} of {len(rows)}." if len(rows) > MOST_ROWS else "",
    )


def _figure(death: Death) -> Figure:
    names = tuple(layer.layer for layer in death.layers)
    series = tuple(
        Series(fate, names, tuple(float(layer.which(fate).mean()) for layer in death.layers))
        for fate in FATES
        if death.count(fate)
    )
    return Figure(
        key="fates",
        title="Share of the units of each layer that met a fate",
        x=Axis("layer", "category"),
        y=Axis("share of units", low=0.0, high=1.0),
        series=series,
        how_to_read="Each mark is the share of one layer's units; a unit may be dead and frozen.",
    )
