"""Saying on standard error what is found while the training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deephochuli.session._closing import MARKS

if TYPE_CHECKING:
    from deephochuli.analysis import Finding, Level
    from deephochuli.integrations import Alert, StepNumbers
    from deephochuli.store import RunReader


class Telling:
    """A tracker that shows no numbers, and of findings those of a level or worse, a line each."""

    def __init__(self, say: Callable[[str], None], run: str, least: Level) -> None:
        """Say what is found in the run of this name."""
        self._say = say
        self._run = run
        self._least = least

    def begin(self) -> None:
        """Nothing to get ready."""

    def log(self, numbers: Sequence[StepNumbers]) -> None:
        """Numbers are for others."""
        del numbers

    def alert(self, alert: Alert) -> None:
        """Say it, if it is bad enough."""
        from deephochuli.analysis import LEVELS
        from deephochuli.report import plain

        if LEVELS.index(alert.level) <= LEVELS.index(self._least):
            text = f"{MARKS[alert.level]} {self._run}, by step {alert.step}: {alert.title}"
            self._say(plain(text))

    def finish(self, run: RunReader, found: Sequence[Finding]) -> None:
        """The end has words of its own."""
        del run, found
