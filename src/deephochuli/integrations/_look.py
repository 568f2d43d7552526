"""Looking at a run folder while it is written: new numbers for trackers, and new findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from deephochuli.analysis import Finding, findings
from deephochuli.errors import describe, say
from deephochuli.integrations._numbers import numbers_of
from deephochuli.integrations._tracker import Alert, Tracker
from deephochuli.store import RunReader, open_run

GROWTH: Final = 8
"""The whole run is asked for findings again when it has grown by an eighth: that keeps the cost of
all the asking together below nine times that of asking once, and the delay below an eighth."""


class Look:
    """What has been seen of a run that is being recorded. Nothing here raises an `Exception`.

    Findings that the run had before it was resumed are known and not told again.
    """

    def __init__(
        self,
        path: Path,
        trackers: Sequence[Tracker],
        quantities: Sequence[str],
        on_finding: Callable[[Finding], None],
        first_step: int,
    ) -> None:
        """Begin, in the thread that trains; only what comes from `first_step` on is news."""
        self._path = path
        self._trackers = list(trackers)
        self._quantities = tuple(quantities)
        self._on_finding = on_finding
        self._reader: RunReader | None = None
        self._next = 0
        self._n_steps = 0
        self._n_asked = 0
        self._known: set[tuple[str, str]] = set()
        self._can_ask = True
        self._attempt("what was recorded before", lambda: self._begin(first_step))
        self._each(lambda tracker: tracker.begin())

    def _begin(self, first_step: int) -> None:
        self._reader = reader = open_run(self._path)
        self._next = reader.next_number
        past = reader.part(lambda chunk: chunk.seal is None or chunk.seal.step_last < first_step)
        if past.n_chunks:
            self._n_steps = len(past.steps["step"])
            self._known = {_identity(finding) for finding in findings(past)}

    def look(self) -> None:
        """Tell trackers what is new, and ask for findings if there is enough that is new."""
        self._attempt("new chunks", self._tell_numbers)
        if self._n_steps >= self._n_asked + max(1, self._n_asked // GROWTH):
            self._attempt("findings", self._ask)

    def alert(self, alert: Alert) -> None:
        """Tell trackers of something."""
        self._each(lambda tracker: tracker.alert(alert))

    def finish(self) -> None:
        """Look for the last time, at a run that is complete."""
        self._attempt("new chunks", self._tell_numbers)
        if self._n_steps:
            self._attempt("findings", self._finish)

    def _tell_numbers(self) -> None:
        reader = self._reader
        if reader is None or not reader.refresh():
            return
        since, self._next = self._next, reader.next_number
        new = reader.part(lambda chunk: chunk.number >= since)
        if not new.n_chunks:
            return
        self._n_steps += len(new.steps["step"])
        if self._trackers:
            numbers = numbers_of(new, self._quantities)
            self._each(lambda tracker: tracker.log(numbers))

    def _ask(self) -> list[Finding]:
        if self._reader is None or not self._can_ask:
            return []
        self._n_asked = self._n_steps
        self._can_ask = False  # until it has gone well
        found = findings(self._reader)
        self._can_ask = True
        for finding in found:
            if _identity(finding) not in self._known:
                self._known.add(_identity(finding))
                self._on_finding(finding)
                self.alert(Alert.of(finding))
        return found

    def _finish(self) -> None:
        found, reader = self._ask(), self._reader
        if reader is not None:
            self._each(lambda tracker: tracker.finish(reader, found))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker; one that fails is told nothing more."""
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:  # a tracker never stops the training
                self._trackers.remove(tracker)
                say(
                    f"{type(tracker).__module__} failed and is told nothing more; training and "
                    f"recording to {self._path} go on. Cause: {describe(error)}"
                )

    def _attempt(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # as above
            say(f"Looking at {what} of {self._path} failed; it goes on. Cause: {describe(error)}")


def _identity(finding: Finding) -> tuple[str, str]:
    """What makes a finding another one; one that becomes worse is told again."""
    return finding.kind, finding.level
