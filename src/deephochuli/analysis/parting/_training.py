"""Losses, settings and findings of two runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from deephochuli.analysis._finding import LEVELS, Finding
from deephochuli.store import RunReader

Status = Literal["new", "gone", "worse", "better", "same"]
CLEARLY: Final = 0.05
"""By how much the harm of a finding must change, of 1, to be called worse or better."""
_SETTINGS: Final = ("lr", "loss_scale", "skipped", "n_micro_batches")
_LAST_SHARE: Final = 10


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses that two runs told at their common steps.

    Attributes:
        n: Common steps at which both told a loss.
        first_step: First of them at which the two are not the same number; None for none.
        final: Mean loss over the last tenth of them, of the reference and of the other run.
        spread: Standard deviation of the reference there; nan for fewer than two steps.
    """

    n: int
    first_step: int | None
    final: tuple[float, float]
    spread: float


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A column of the steps that is not the same in two runs.

    Attributes:
        name: lr, loss_scale, skipped or n_micro_batches.
        step: First common step at which it differs.
        values: Its value there, in the reference and in the other run.
        n_steps: At how many common steps it differs.
    """

    name: str
    step: int
    values: tuple[float, float]
    n_steps: int


@dataclass(frozen=True, slots=True)
class FindingChange:
    """What became of the findings of one kind.

    Attributes:
        kind: Kind of the findings.
        status: new, gone, worse, better or same, as seen from the reference.
        before: The worst finding of the reference, or None.
        after: The worst one of the other run, or None.
    """

    kind: str
    status: Status
    before: Finding | None
    after: Finding | None


def losses_of(reference: RunReader, other: RunReader) -> Losses | None:
    """Compare the losses that two runs told; None where they have none in common."""
    one, two = reference.steps, other.steps
    _, rows, others = np.intersect1d(one["step"], two["step"], return_indices=True)
    told = one["has_loss"][rows] & two["has_loss"][others]
    rows, others = rows[told], others[told]
    if not len(rows):
        return None
    a, b = one["loss"][rows], two["loss"][others]
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    last = slice(-max(1, len(rows) // _LAST_SHARE), None)
    with np.errstate(invalid="ignore", over="ignore"):  # losses may be infinite
        spread = float(np.std(a[last], ddof=1)) if len(a[last]) > 1 else float("nan")
        final = float(np.mean(a[last])), float(np.mean(b[last]))
    first = int(one["step"][rows][np.argmax(differs)]) if differs.any() else None
    return Losses(len(rows), first, final, spread)


def settings_of(reference: RunReader, other: RunReader) -> tuple[SettingChange, ...]:
    """Columns of the steps, the loss apart, that differ at common steps; earliest first."""
    one, two = reference.steps, other.steps
    steps, rows, others = np.intersect1d(one["step"], two["step"], return_indices=True)
    found: list[SettingChange] = []
    for name in _SETTINGS:
        a, b = one[name][rows].astype(np.float64), two[name][others].astype(np.float64)
        differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if differs.any():
            at = int(np.argmax(differs))
            values = float(a[at]), float(b[at])
            found.append(SettingChange(name, int(steps[at]), values, int(differs.sum())))
    return tuple(sorted(found, key=lambda change: change.step))


def finding_changes(
    before: Sequence[Finding], after: Sequence[Finding]
) -> tuple[FindingChange, ...]:
    """What became of each kind of finding; harm first: new and worse, then gone, better, same."""
    kinds = dict.fromkeys(finding.kind for finding in (*after, *before))
    found = [_change(kind, _worst(before, kind), _worst(after, kind)) for kind in kinds]
    return tuple(sorted(found, key=lambda change: _ORDER.index(change.status)))


_ORDER: Final[tuple[Status, ...]] = ("new", "worse", "gone", "better", "same")


def _worst(findings: Sequence[Finding], kind: str) -> Finding | None:
    """The worst finding of a kind."""
    of_kind = [finding for finding in findings if finding.kind == kind]
    return min(of_kind, key=lambda f: (LEVELS.index(f.level), -f.score), default=None)


def _change(kind: str, before: Finding | None, after: Finding | None) -> FindingChange:
    return FindingChange(kind, _status(before, after), before, after)


def _status(before: Finding | None, after: Finding | None) -> Status:
    if before is None or after is None:
        return "new" if before is None else "gone"
    levels = LEVELS.index(before.level), LEVELS.index(after.level)
    if levels[0] != levels[1]:
        return "worse" if levels[1] < levels[0] else "better"
    if abs(after.score - before.score) <= CLEARLY:
        return "same"
    return "worse" if after.score > before.score else "better"
