"""Where and when recorded runs part, as data."""

from __future__ import annotations

from dataclasses import dataclass

from deephochuli.analysis._finding import Finding
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.parting._environment import Change
from deephochuli.analysis.parting._findings import findings_of
from deephochuli.analysis.parting._pair import RunPair
from deephochuli.analysis.parting._text import sentences


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses that one run told.

    Attributes:
        run: Its name.
        steps: Recorded steps with a loss.
        losses: The losses.
    """

    run: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Parting:
    """Where and when recorded runs part from the first of them; made by `diff`.

    Attributes:
        runs: Names of the runs; the first is the reference.
        pairs: Every other run beside the reference.
        changes: What differs in how any of them were made.
        curves: The losses that each of them told.
    """

    runs: tuple[str, ...]
    pairs: tuple[RunPair, ...]
    changes: tuple[Change, ...]
    curves: tuple[Curve, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What should be known, worst first."""
        return findings_of(self.pairs)

    def sheet(self) -> Sheet:
        """The answer as tables and figures."""
        return sheet_for(self)

    def __str__(self) -> str:
        return "\n".join(sentence for pair in self.pairs for sentence in sentences(pair))
