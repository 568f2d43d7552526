"""Open a run for a report: its tables as arrays, and the two time axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.analysis import FOLDS
from deephochuli.errors import StoreError
from deephochuli.report._rows import Ints, Rows, read_every_step, read_windows
from deephochuli.report._timeline import Timeline, divide
from deephochuli.store import Courses, Histograms, Manifest, RunReader, TapInfo, Windows

MOST_COLUMNS: Final = 200
MOST_BINS: Final = 48
MOST_ROWS_READ_IN_FULL: Final = 20_000


def read_ahead(readers: Sequence[RunReader]) -> None:
    """Read what the findings and the page of a report ask of runs, each file once."""
    for reader in readers:
        reader.prepare(*FOLDS, Courses, Windows)


@dataclass(frozen=True, slots=True)
class RunTables:
    """One run, read.

    Attributes:
        name: Name shown to people.
        manifest: Provenance.
        taps: Every tap.
        courses: Numbers over stretches of steps.
        wholes: Histograms over the whole run.
        histograms: Rows with lists: single steps, or chunks of them in a long run.
        steps: The table of steps, by column name.
        columns: Fine time axis.
        bins: Coarse time axis.
        notes: What the reader must know to trust the numbers, such as damaged chunks.
    """

    name: str
    manifest: Manifest
    taps: list[TapInfo]
    courses: Courses
    wholes: Histograms
    histograms: Rows
    steps: Mapping[str, npt.NDArray[Any]]
    columns: Timeline
    bins: Timeline
    notes: tuple[str, ...]


def read_run(reader: RunReader, name: str, *, most_cells: int) -> RunTables:
    """Read what a report needs of one run.

    Args:
        reader: The run.
        name: Name shown to people.
        most_cells: Bound on taps times columns, so that many taps take fewer columns each.

    Raises:
        StoreError: The run holds no recorded step.
    """
    taps = reader.taps()
    if not taps:
        raise StoreError(
            f"{reader.path} holds no recorded step, so there is nothing to report. Was training "
            "stopped before the first step that the schedule records?"
        )
    read_ahead([reader])
    courses, recorded = reader.fold(Courses), reader.steps["step"]
    histograms = _histograms(reader, sum(tap.n_records for tap in taps))
    per_tap = max(24, most_cells // len(taps))
    return RunTables(
        name=name,
        manifest=reader.manifest,
        taps=taps,
        courses=courses,
        wholes=reader.fold(Windows).whole(),
        histograms=histograms,
        steps=reader.steps,
        columns=divide(courses.first, courses.last, recorded, min(MOST_COLUMNS, per_tap)),
        bins=_bins(histograms, recorded, min(MOST_BINS, per_tap)),
        notes=_notes(reader),
    )


def _histograms(reader: RunReader, n_rows: int) -> Rows:
    """Every step of a short run, the chunks of a long one."""
    return (read_windows if n_rows > MOST_ROWS_READ_IN_FULL else read_every_step)(reader)


def _bins(rows: Rows, recorded: Ints, most: int) -> Timeline:
    """Coarse time axis whose borders never cut through a row."""
    starts = np.unique(rows.first)
    ends = np.append(recorded[np.searchsorted(recorded, starts[1:]) - 1], recorded[-1])
    return divide(starts, ends, recorded, most)


def _notes(reader: RunReader) -> tuple[str, ...]:
    """Sentences on what is missing from a run."""
    notes = [f"Left out: {damage.chunk} ({damage.reason})." for damage in reader.damaged]
    if ended := ending(reader.manifest):
        notes.append(ended)
    elif not reader.finished:
        notes.append("The recording has not ended in order: it still runs, or was interrupted.")
    return tuple(notes)


def ending(manifest: Manifest) -> str:
    """A sentence on what ended a run, where it was neither the end of training nor a kill.

    >>> ending(Manifest(raised="RuntimeError: out of memory"))
    'The training ended with an error: RuntimeError: out of memory'
    """
    if manifest.raised:
        return f"The training ended with an error: {manifest.raised}"
    return f"Recording ended before training did: {manifest.stopped}." if manifest.stopped else ""
