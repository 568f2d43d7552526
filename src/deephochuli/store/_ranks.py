"""The runs of several ranks in one folder, and the run that they are together.

    run/
      rank-0/  rank-1/  ...   a run folder of each rank, which it writes alone
      merged/                 the run of all of them, made by whoever opens the folder

Ranks never wait for each other here: merging is reading, and happens when somebody reads. What is
in ``merged`` can be deleted at any time.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._files import remove_folder
from deephochuli.store._manifest import MANIFEST_NAME, Manifest, RankOf, RanksOf, read_manifest
from deephochuli.store._merge_ranks import DamagedChunkError, Source, merged_rows
from deephochuli.store._reader import RunReader, entries
from deephochuli.store._writer import RunWriter

MERGED: Final = "merged"
_RANK: Final = re.compile(r"rank-(0|[1-9]\d{0,6})")


def rank_folder(run: Path, rank: int) -> Path:
    """Where a rank records."""
    return run / f"rank-{rank}"


def rank_folders(run: Path) -> list[Path]:
    """The folders of the ranks that have begun a run, by rank."""
    found = {int(match[1]): name for name in entries(run) if (match := _RANK.fullmatch(name))}
    folders = [run / found[rank] for rank in sorted(found)]
    return [folder for folder in folders if (folder / MANIFEST_NAME).exists()]


class RanksReader(RunReader):
    """The runs of several ranks as one; made by `open_run`.

    It holds the steps that every rank has recorded of those that have recorded any; ``ranks`` holds
    everything.
    """

    def __init__(self, path: Path, ranks: Sequence[RunReader], folder: Path) -> None:
        """Read what was merged into `folder`."""
        super().__init__(path, read_manifest(folder), folder)
        self.ranks = tuple(ranks)

    @classmethod
    def of(cls, path: Path) -> RanksReader:
        """Open the runs in a folder, and merge what has not been merged yet.

        Raises:
            StoreError: One of the runs cannot be opened, or they are of different trainings.
        """
        ranks = _open_ranks(path)
        return cls(path, ranks, _merge(path, ranks, path / MERGED))

    @property
    def finished(self) -> bool:
        """Every rank's recording ended in order."""
        return all(rank.finished for rank in self.ranks)

    @property
    def has_writer(self) -> bool:
        """A process that may still live writes the run of a rank now."""
        return any(rank.has_writer for rank in self.ranks)

    def refresh(self) -> bool:
        """See what the ranks have written since; see `RunReader.refresh`."""
        if [rank.path for rank in self.ranks] == rank_folders(self.path):
            has_changed = [rank.refresh() for rank in self.ranks]
            if not any(has_changed):
                return False
        else:
            self.ranks = _open_ranks(self.path)
        self._folder = _merge(self.path, self.ranks, self._folder)
        if read_manifest(self._folder).run_id != self.manifest.run_id:
            self._begin_anew(read_manifest(self._folder))
            return True
        return super().refresh()


def rank_of(reader: RunReader) -> RankOf:
    """Which rank recorded a run.

    Raises:
        StoreError: Its manifest does not say.
    """
    if reader.manifest.rank is None:
        raise StoreError(
            f"{reader.path} is named like the run of a rank, but its {MANIFEST_NAME} names none. "
            "Open it by itself, or move it elsewhere."
        )
    return reader.manifest.rank


def _open_ranks(path: Path) -> tuple[RunReader, ...]:
    readers = [RunReader(folder, read_manifest(folder)) for folder in rank_folders(path)]
    sizes = {rank_of(reader).n_ranks for reader in readers}
    if len(sizes) > 1:
        shown = " and ".join(map(str, sorted(sizes)))
        raise StoreError(
            f"{path} holds ranks of different trainings: of {shown} ranks. Give each training a "
            "folder of its own, or delete the ranks that are left from another one."
        )
    return tuple(readers)


def complete_steps(ranks: Sequence[RunReader]) -> NDArray[np.int64]:
    """Steps that all of the ranks have recorded that have recorded any."""
    recorded = [reader.steps["step"] for reader in ranks]
    some = [steps for steps in recorded if len(steps)]
    return reduce(np.intersect1d, some) if some else np.empty(0, np.int64)


def _merge(path: Path, ranks: Sequence[RunReader], folder: Path) -> Path:
    """Bring what is merged in a folder up to date; elsewhere, if nobody can write there.

    Returns:
        The folder that holds it.
    """
    try:
        _bring_up_to_date(ranks, folder)
        return folder
    except OSError:
        # Somebody else is merging this moment, or it may only be read.
        if folder != path / MERGED:
            raise
    private = Path(tempfile.mkdtemp(prefix="deephochuli-ranks-"))
    weakref.finalize(ranks[0], remove_folder, private)
    _bring_up_to_date(ranks, private / MERGED)
    return private / MERGED


def _bring_up_to_date(ranks: Sequence[RunReader], folder: Path) -> None:
    """Merge what is not merged yet, once more after each chunk that turns out to be damaged."""
    while True:
        try:
            _merge_rest(ranks, folder)
        except DamagedChunkError:
            continue
        return


def _merge_rest(ranks: Sequence[RunReader], folder: Path) -> None:
    """Merge the steps that are not merged yet; all of them if those before have changed."""
    present = [reader for reader in ranks if len(reader.steps["step"])]
    wanted = complete_steps(ranks)
    manifest = _manifest_of(ranks, present)
    known = _merged_before(folder, manifest)
    if known is None or not np.array_equal(known, wanted[: len(known)]):
        remove_folder(folder)
        known = wanted[:0]
    elif len(known) == len(wanted):
        return
    rest = wanted[len(known) :]
    resume_step = int(rest[0]) if len(known) else None
    sources = [Source(rank_of(reader), reader) for reader in present]
    with RunWriter(folder, manifest, resume=len(known) > 0, resume_step=resume_step) as writer:
        for steps, frame in merged_rows(sources, rest, writer.taps):
            writer.extend(steps, frame)


def _merged_before(folder: Path, manifest: Manifest) -> NDArray[np.int64] | None:
    """Steps that are merged already, or None if that was of other runs or is damaged."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        stored = read_manifest(folder)
        if stored.ranks != manifest.ranks or stored.schema_version != manifest.schema_version:
            return None
        reader = RunReader(folder, stored)
    except StoreError:
        return None
    return None if reader.damaged or not reader.finished else reader.steps["step"]


def _manifest_of(ranks: Sequence[RunReader], present: Sequence[RunReader]) -> Manifest:
    """Provenance of the merged run: that of the lowest rank, and which ranks are in it."""
    lowest = ranks[0].manifest
    ranks_of = RanksOf(
        n_ranks=rank_of(ranks[0]).n_ranks,
        merged=[rank_of(reader).rank for reader in present],
        sources=[(each.manifest.run_id, len(each.manifest.sessions)) for each in present],
    )
    blank = Manifest()
    taken_back = ("run_id", "ended", "finished", "stopped", "raised", "n_steps", "n_chunks")
    update = {name: getattr(blank, name) for name in (*taken_back, "sessions")}
    return lowest.model_copy(update={**update, "rank": None, "ranks": ranks_of})
