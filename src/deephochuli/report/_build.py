"""Build the report of one run or of several: one HTML file that needs nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from deephochuli.analysis import Finding
from deephochuli.errors import StoreError
from deephochuli.report._folders import names_of, open_runs
from deephochuli.report._html import render_page
from deephochuli.report._payload import build_payload
from deephochuli.report._provenance import generator
from deephochuli.store import RunReader

Source = str | os.PathLike[str] | RunReader


def open_sources(runs: Source | Sequence[Source]) -> tuple[list[RunReader], list[str]]:
    """Open runs given by folder or already open, and name each after its folder.

    A folder of runs stands for all runs in it.

    Raises:
        StoreError: No run was given, or one cannot be opened.
    """
    single = isinstance(runs, str | os.PathLike | RunReader)
    sources: list[Source] = [runs] if single else list(runs)
    if not sources:
        raise StoreError("A report needs at least one run folder; none was given.")
    opened = [[each] if isinstance(each, RunReader) else open_runs(each) for each in sources]
    readers = [reader for several in opened for reader in several]
    return readers, names_of([reader.path for reader in readers])


def build_report(
    runs: Source | Sequence[Source],
    out: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    known: Sequence[Sequence[Finding]] | None = None,
) -> Path:
    """Write the report of one run or of several as one self-contained HTML file.

    The file opens from disk, asks no network for anything, and holds the data that it draws:
    whole-run histograms exactly, curves over time at the resolution that the page states.

    Args:
        runs: Run folder, open run, or several of them; several are compared in one page.
        out: File to write; folders above it are made. An existing file is replaced at once. By
            default a file beside the first run, named after it: a run folder itself holds what
            was recorded and nothing else.
        title: Heading of the page; by default made of the names of the runs.
        known: Findings of each run, where they have been asked for already.

    Returns:
        The path of the file.

    Raises:
        StoreError: A run folder is missing, foreign, damaged or empty, or `out` cannot be written.
        SchemaVersionError: A run folder was written by a newer version.

    Numerics:
        Whole-run counts in the page are exact integers. Counts over time are exact up to 92 and
        within 1.1 % above, magnitudes over time within 0.14 %.
    """
    readers, names = open_sources(runs)
    heading = title or " · ".join(names)
    payload, blob = build_payload(readers, names, heading, known)
    page = Path(out) if out else _beside(readers[0].path.absolute())
    return write_text(page, render_page(heading, generator(), payload, blob))


def _beside(folder: Path) -> Path:
    """``runs/a.html`` for ``runs/a``; a dot in the name of the folder is part of the name."""
    return folder.with_name(f"{folder.name}.html")


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}. Name another file with --html."
        ) from error
    return path
