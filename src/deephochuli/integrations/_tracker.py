"""What every tracker can do, and how a run is told to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deephochuli.analysis import Finding, Level, findings
from deephochuli.integrations._numbers import QUANTITIES, StepNumbers, numbers_of
from deephochuli.record import Recording
from deephochuli.store import RunReader, open_run

PREFIX = "deephochuli"
"""First part of every name in a tracker."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should hear of.

    Attributes:
        name: Kind of the finding, or name of the trigger.
        level: How bad it is.
        title: One line.
        text: What it means and what to do.
        step: Last step that shows it.
    """

    name: str
    level: Level
    title: str
    text: str
    step: int

    @classmethod
    def of(cls, finding: Finding) -> Alert:
        """The alert that a finding makes."""
        text = f"{finding.summary}\n\n{finding.why}\n\n{finding.advice}"
        return cls(finding.kind, finding.level, finding.title, text, finding.step_last)


class Tracker(Protocol):
    """Somewhere to show numbers and findings; what it raises is said, and it is left alone."""

    def begin(self) -> None:
        """Get ready. Called in the thread of the user, all else in one beside it."""
        ...

    def log(self, numbers: Sequence[StepNumbers]) -> None:
        """Show the numbers of further steps."""
        ...

    def alert(self, alert: Alert) -> None:
        """Show something that was found."""
        ...

    def finish(self, run: RunReader, found: Sequence[Finding]) -> None:
        """Show what a run that is complete says as a whole."""
        ...


def tell_run(
    run: RunReader | Recording, tracker: Tracker, quantities: Sequence[str] = QUANTITIES
) -> None:
    """Tell a tracker all that is recorded of a run until now.

    Args:
        run: A run, or a recording; what waits to be written is written first.
        tracker: Whom to tell.
        quantities: Quantities of which layers are shown.

    Raises:
        StoreError: The run is damaged, or holds no steps.
    """
    if isinstance(run, Recording):
        run.flush()
        run = open_run(run.path)
    if not run.n_chunks:
        return
    tracker.begin()
    tracker.log(numbers_of(run, quantities))
    found = findings(run)
    for finding in found:
        tracker.alert(Alert.of(finding))
    tracker.finish(run, found)
