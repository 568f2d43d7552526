"""Who came back to life in which arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis.death._arms import Arm
from deephochuli.analysis.death._pairs import Paired, paired

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Revival:
    """Units that were dead in one state, and in which arms they lived after some steps.

    Attributes:
        model: Class of the model.
        arithmetic: What "low" means.
        arms: The arms, "low" and "exact" first.
        steps: Steps after which was looked, in order.
        units: Layer and number of each unit that was dead in the state.
        alive: Whether each lived, bool [arms, steps, units].
        moved: Share of the state's weights of which a bit changed by each look, [arms, steps].
        confidence: Of all intervals.
    """

    model: str
    arithmetic: str
    arms: tuple[Arm, ...]
    steps: tuple[int, ...]
    units: tuple[tuple[str, int], ...]
    alive: Bools
    moved: npt.NDArray[np.float64]
    confidence: float

    def of(self, arm: str, step: int | None = None) -> Bools:
        """Which units lived in an arm after some steps (None: all), bool [units]."""
        place = -1 if step is None else self.steps.index(step)
        return self.alive[[each.name for each in self.arms].index(arm), place]

    def n_revived(self, arm: str, step: int | None = None) -> int:
        """How many units lived in an arm."""
        return int(self.of(arm, step).sum())

    def interval(self, arm: str, step: int | None = None) -> tuple[float, float]:
        """Clopper-Pearson interval of the probability that a unit lives in an arm."""
        return clopper_pearson(self.n_revived(arm, step), len(self.units), self.confidence)

    def paired(self, first: str, second: str, step: int | None = None) -> Paired:
        """Two arms, unit by unit."""
        return paired(self.of(first, step), self.of(second, step), self.confidence)

    @property
    def never_low(self) -> Bools:
        """Units that live in the exact arm at the end and in the low one at no look."""
        return self.of("exact") & ~self.alive[0].any(axis=0)

    @property
    def late_low(self) -> Bools:
        """Units that the exact arm revives before the low one, which does so later."""
        first = np.where(self.alive.any(axis=1), self.alive.argmax(axis=1), len(self.steps))
        return (first[1] < first[0]) & (first[0] < len(self.steps))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What should be known."""
        return _findings(self)

    def __str__(self) -> str:
        """A line an arm."""
        head = f"{len(self.units)} units dead at the start, {self.arithmetic}; alive after steps"
        lines = [
            f"{arm.name:18}"
            + "".join(f" {step}: {self.n_revived(arm.name, step):5}" for step in self.steps)
            + f"   {arm.says}"
            for arm in self.arms
        ]
        return "\n".join([head, *lines])

    def sheet(self) -> Sheet:
        """The answer as data."""
        return Sheet(
            key="revival",
            title="Who comes back to life",
            question=f"From one and the same state of {self.model}, do dead units come back in "
            f"binary64 that stay dead in {self.arithmetic}, and which ingredient decides?",
            answer=_answer(self),
            findings=self.findings,
            tables=(_arm_table(self), _pair_table(self)),
            figures=(_figure(self),),
            notes=_NOTES,
        )


_NOTES: Final = (
    "A unit is dead in the state when no pre-activation is positive on all the data, in the "
    "arithmetic and in binary64. It lives in an arm when its binary64 pre-activation under the "
    "arm's weights is positive somewhere on the same data.",
    "Every arm takes the same batches from the same state with a copy of the same optimizer.",
    "Intervals and p-values treat the units of one model as independent, which they are not quite: "
    "one more repetition from another seed says more than many units.",
)


def _answer(it: Revival) -> str:
    if not it.units:
        return f"No unit is dead in this state, in {it.arithmetic} and in binary64: nothing to see."
    pair = it.paired("low", "exact")
    low, high = pair.interval
    return (
        f"Of {len(it.units)} dead units {it.n_revived('low')} live after {it.steps[-1]} steps in "
        f"{it.arithmetic} and {it.n_revived('exact')} in binary64 from the same state: "
        f"{pair.difference:+d} [{low:.1f}, {high:.1f}], p = {pair.p_value:.2g} (exact McNemar); "
        f"{int(it.never_low.sum())} of them live in {it.arithmetic} at no look."
    )


def _arm_table(it: Revival) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for index, arm in enumerate(it.arms):
        for place, step in enumerate(it.steps):
            low, high = it.interval(arm.name, step) if it.units else (None, None)
            n = it.n_revived(arm.name, step)
            moved = float(it.moved[index, place])
            rows.append((arm.name, arm.says, step, n, len(it.units), low, high, moved))
    return Table(
        key="arms",
        title="Units alive by arm",
        columns=(
            *("arm", "what it is", "steps", "alive", "of", "share, low", "share, high"),
            "weights that differ from the start, share",
        ),
        rows=tuple(rows),
    )


def _pair_table(it: Revival) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in it.arms[1:]:
        for step in it.steps:
            pair = it.paired("low", arm.name, step)
            counts = (pair.n_both, pair.n_first, pair.n_second, pair.n_neither)
            rows.append((arm.name, step, *counts, pair.difference, *pair.interval, pair.p_value))
    return Table(
        key="pairs",
        title="Each arm beside the low one, unit by unit",
        columns=(
            *("arm", "steps", "both", "low only", "this arm only", "neither", "difference"),
            *("low end", "high end", "p, exact McNemar"),
        ),
        rows=tuple(rows),
    )


def _figure(it: Revival) -> Figure:
    steps = tuple(map(float, it.steps))
    n = max(1, len(it.units))
    return Figure(
        key="alive",
        title="Share of the units dead at the start that live, by arm",
        x=Axis("steps", "linear", low=0.0),
        y=Axis("share alive", low=0.0, high=1.0),
        series=tuple(
            Series(
                arm.name,
                (0.0, *steps),
                (0.0, *(it.n_revived(arm.name, step) / n for step in it.steps)),
                mark="line",
                note=arm.says,
            )
            for arm in it.arms
        ),
        how_to_read="Arms that end together differ by nothing that matters here; the one "
        "ingredient whose exact form lifts the low line to the exact one is the cause.",
    )


def _findings(it: Revival) -> tuple[Finding, ...]:
    pair = it.paired("low", "exact")
    if pair.difference <= 0 or pair.p_value >= 0.01:
        return ()
    share = pair.difference / pair.n
    lost = [
        each for each, never in zip(it.units, it.of("exact") & ~it.of("low"), strict=True) if never
    ]
    counts = {layer: sum(one == layer for one, _ in lost) for layer, _ in lost}
    worst = max(counts, key=counts.__getitem__)
    low, high = pair.interval
    return (
        Finding(
            kind="no-revival",
            level="critical" if share >= 0.5 else "warning",
            score=min(1.0, share),
            title=f"{percent(share)} of the dead units would live again in binary64 and do not in "
            f"{it.arithmetic}",
            layer=worst,
            quantity="z",
            summary=_answer(it) + _cause(it),
            why="A dead unit gets no gradient of its own; it comes back when the layers before it "
            "move. Where their updates are lost, it stays.",
            advice="Take the treatment whose arm ends where the exact one does.",
            code="optimizer = Adam(model.float().parameters())  # master weights, autocast for the "
            "rest",
            numbers=(
                Number("units revived in binary64 only", pair.difference, "channels", low, high),
            ),
            places=tuple(
                PlaceEvidence(layer, "z", count)
                for layer, count in sorted(counts.items(), key=lambda each: -each[1])
            ),
            step_first=0,
            step_last=it.steps[-1],
            evidence="",
        ),
    )


def _cause(it: Revival) -> str:
    """Which arms restore at least nine tenths of the difference."""
    need = it.n_revived("low") + 0.9 * it.paired("low", "exact").difference
    healed = [arm.name for arm in it.arms[2:] if it.n_revived(arm.name) >= need]
    return f" Arms that restore it: {', '.join(healed)}." if healed else ""
