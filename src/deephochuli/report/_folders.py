"""A folder that holds runs stands for the runs in it, as ``deephochuli run`` leaves them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from deephochuli.errors import StoreError
from deephochuli.store import RunReader, open_run

MANIFEST: Final = "manifest.json"


def open_runs(path: str | os.PathLike[str]) -> list[RunReader]:
    """Open the run in a folder, or all runs in a folder of runs.

    Args:
        path: A run folder, or a folder of run folders.

    Returns:
        The run, or the runs in the order of their beginnings. Among several, those in which no
        step was completed are left out, unless there are no others.

    Raises:
        StoreError: There is no run, or one of them cannot be opened.
    """
    readers = [open_run(folder) for folder in run_folders(Path(path))]
    if len(readers) == 1:
        return readers
    return [reader for reader in readers if len(reader.steps["step"])] or readers


def run_folders(folder: Path) -> list[Path]:
    """The runs that a folder stands for; itself if it holds none, for `open_run` to refuse."""
    if (folder / MANIFEST).exists() or not folder.is_dir():
        return [folder]
    try:
        runs = [each for each in folder.iterdir() if (each / MANIFEST).is_file()]
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return sorted(runs, key=_beginning) or [folder]


def _beginning(run: Path) -> tuple[str, str]:
    """When a run began, and its name; a damaged manifest tells no time and is refused later."""
    try:
        return str(json.loads((run / MANIFEST).read_bytes())["created"]), run.name
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "", run.name
