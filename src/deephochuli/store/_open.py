"""Opening what a folder holds: one run, or the runs of the ranks of one training."""

from __future__ import annotations

import os
from pathlib import Path

from deephochuli.errors import StoreError
from deephochuli.store._cover import chunk_numbers
from deephochuli.store._manifest import MANIFEST_NAME, read_manifest
from deephochuli.store._ranks import RanksReader, rank_folders
from deephochuli.store._reader import RunReader, entries


def open_run(path: str | os.PathLike[str]) -> RunReader:
    """Open a run folder for reading, also while it is still being written.

    Args:
        path: The folder that a recording was written to. If several ranks recorded into it, the
            answer is the run of all of them together, with the run of each in ``ranks``.

    Returns:
        A reader of the chunks that are there now.

    Raises:
        StoreError: There is no such folder, it is no run folder, or its manifest is damaged.
        SchemaVersionError: It was written by a newer DeepHochuli.
    """
    folder = Path(path)
    if not folder.exists():
        raise StoreError(
            f"There is no run folder {folder}. Give the folder that a recording was written to."
        )
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file, not a run folder. Give the folder of the run.")
    if (folder / MANIFEST_NAME).exists():
        return RunReader(folder, read_manifest(folder))
    names = entries(folder)
    if chunk_numbers(names):
        raise StoreError(f"{folder} is a damaged run folder: {MANIFEST_NAME} is missing.")
    if rank_folders(folder):
        return RanksReader.of(folder)
    raise StoreError(
        f"{folder} is not a run folder: it has no {MANIFEST_NAME}. Give the folder that a "
        "recording was written to."
    )
