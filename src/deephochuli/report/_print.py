"""Findings on standard output, for scripts and notebooks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

from deephochuli.analysis import findings
from deephochuli.report._build import Source, open_sources
from deephochuli.report._terminal import findings_table

WIDTH_WHEN_PIPED: Final = 120


def print_findings(runs: Source | Sequence[Source]) -> None:
    """Print the findings of one run or of several as tables.

    Args:
        runs: Run folder, open run, or several of them.

    Raises:
        StoreError: A run folder is missing, foreign, damaged or empty.
        SchemaVersionError: A run folder was written by a newer version.
    """
    from rich.console import Console

    readers, names = open_sources(runs)
    opened = dict(zip(names, readers, strict=True))
    found = {name: findings(run) for name, run in opened.items()}
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else WIDTH_WHEN_PIPED
    console = Console(width=width, highlight=False)
    for table in findings_table(found, runs=opened):
        console.print(table)
