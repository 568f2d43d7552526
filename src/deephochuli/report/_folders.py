"""A folder that holds runs stands for the runs in it, as ``deephochuli run`` leaves them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deephochuli.errors import StoreError
from deephochuli.store import RunReader, open_run, rank_folders

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
    if not folder.is_dir() or _is_run(folder):
        return [folder]
    try:
        runs = [each for each in folder.iterdir() if each.is_dir() and _is_run(each)]
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return sorted(runs, key=_beginning) or [folder]


def names_of(paths: Sequence[Path]) -> list[str]:
    """Names of run folders: the last part, with as many parents as it takes to tell them apart."""
    for depth in range(1, 5):
        names = ["/".join(path.resolve().parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(paths, start=1)]


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run, or holds the ranks of one."""
    return (folder / MANIFEST).is_file() or bool(rank_folders(folder))


def _beginning(run: Path) -> tuple[str, str]:
    """When a run began, and its name; a damaged manifest tells no time and is refused later."""
    try:
        first = next(iter(rank_folders(run)), run)
        return str(json.loads((first / MANIFEST).read_bytes())["created"]), run.name
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "", run.name
