"""Going on with a run: what is there, whether it is of the same model, and what counts of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from deephochuli.errors import StoreError
from deephochuli.store._chunk import DRAFT_PREFIX
from deephochuli.store._chunks import ChunkReader
from deephochuli.store._files import remove_folder, size_of
from deephochuli.store._listing import join_names
from deephochuli.store._manifest import MANIFEST_NAME, Manifest, Session, read_manifest
from deephochuli.store._ragged import LIST_TYPES, Frame
from deephochuli.store._reader import RunReader
from deephochuli.store._rows import StepRow
from deephochuli.store._schema import SCHEMA_VERSION, STEP_COLUMNS, TAP_COLUMNS
from deephochuli.store._taps import Taps

_MAY_CHANGE = (
    *("versions", "platform", "device", "n_threads", "flags", "seed", "command", "schedule"),
    "selection",
)
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What earlier sessions left.

    Attributes:
        manifest: That of the run, with a new session.
        session: Number of the new session.
        chunks: The chunks that count until now.
        n_chunks: Number of the next chunk.
        n_bytes: Size of the run.
    """

    manifest: Manifest
    session: int
    chunks: list[ChunkReader]
    n_chunks: int
    n_bytes: int

    @property
    def last_step(self) -> int:
        """Last recorded step; -1 if there is none."""
        return max((_span(chunk)[1] for chunk in self.chunks), default=-1)

    def n_steps_before(self, step: int) -> int:
        """Recorded steps in chunks that end before a step."""
        return sum(c.seal.n_steps for c in self.chunks if c.seal and c.seal.step_last < step)

    def divided_at(self, step: int) -> ChunkReader | None:
        """The chunk that has steps before a step and others from it on, if there is one."""
        return next((c for c in self.chunks if _span(c)[0] < step <= _span(c)[1]), None)


def look_back(folder: Path, manifest: Manifest, resume_step: int | None) -> Past:
    """Read what a run has, clear away what its last writer left half done, and check its model.

    Args:
        folder: The run.
        manifest: Of the session that begins.
        resume_step: Step from which training goes on, if it is known.

    Raises:
        StoreError: It cannot be read, is of another model, or of an older version.
    """
    stored = read_manifest(folder)
    if stored.schema_version != SCHEMA_VERSION:
        raise StoreError(
            f"{folder} was written by an older DeepHochuli (schema version "
            f"{stored.schema_version}): it can be read, but not continued. Give a new folder."
        )
    _check_same_model(folder, stored, manifest)
    for path in folder.iterdir():
        if path.name.startswith(DRAFT_PREFIX):
            remove_folder(path)
    (folder / f".{MANIFEST_NAME}.tmp").unlink(missing_ok=True)
    reader = RunReader(folder, stored)
    sessions = [chunk.seal.session for chunk in reader.chunks if chunk.seal]
    session = max([len(stored.sessions) - 1, *sessions]) + 1
    began = Session(
        started=datetime.now(UTC), first_step=resume_step, changed=_changes(stored, manifest)
    )
    update = {
        "sessions": [*stored.sessions, began],
        **dict.fromkeys(("ended", "stopped", "raised", "n_steps", "n_chunks")),
        "finished": False,
    }
    return Past(
        manifest=stored.model_copy(update=update),
        session=session,
        chunks=reader.chunks,
        n_chunks=reader.next_number,
        n_bytes=size_of(folder),
    )


def _check_same_model(folder: Path, stored: Manifest, given: Manifest) -> None:
    """Refuse to mix two models in one run."""
    differences = [
        f"{name} {getattr(stored.model, name)!r} there, {getattr(given.model, name)!r} now"
        for name in ("class_name", "n_parameters", "n_modules")
        if getattr(stored.model, name) != getattr(given.model, name)
    ]
    if stored.dtypes != given.dtypes:
        names = sorted(set(stored.dtypes.items()) ^ set(given.dtypes.items()))
        shown = ", ".join(dict.fromkeys(f"{name!r}" for name, _ in names[:_SHOWN_NAMES]))
        differences.append(f"other parameters or dtypes, such as {shown}")
    if differences:
        raise StoreError(
            f"{folder} holds a run of another model: {'; '.join(differences)}. Give the model that "
            "it was recorded from, or another folder."
        )


def _changes(stored: Manifest, given: Manifest) -> dict[str, Any]:
    """What is not as it was when the run began."""
    now = given.model_dump(mode="json", include=set(_MAY_CHANGE))
    then = stored.model_dump(mode="json", include=set(_MAY_CHANGE))
    return {name: value for name, value in now.items() if value != then[name]}


def _span(chunk: ChunkReader) -> tuple[int, int]:
    return (chunk.seal.step_first, chunk.seal.step_last) if chunk.seal else (0, -1)


def rows_before(chunk: ChunkReader, step: int, taps: Taps) -> tuple[list[StepRow], Frame]:
    """Rows of a chunk up to a step, to be written again.

    Raises:
        StoreError: The chunk is damaged.
    """
    found = chunk.steps(told=("loss", "loss_scale", "lr"))
    steps = [_step_row(found, row) for row in np.flatnonzero(found["step"] < step).tolist()]
    names = ["step", *(column.name for column in TAP_COLUMNS)]
    columns = chunk.rows(names)
    return steps, _frame(columns, taps).where(columns["step"] < step)


def _step_row(columns: dict[str, Any], row: int) -> StepRow:
    values = {column.name: columns[column.name][row].item() for column in STEP_COLUMNS}
    for name in ("loss", "loss_scale", "lr"):
        if not columns[f"has_{name}"][row]:
            values[name] = None
    return StepRow(**values)


def _frame(columns: dict[str, Any], taps: Taps) -> Frame:
    """Rows of taps.parquet and sketches.parquet as they were before they were written."""
    texts = {c.name: columns[c.name] for c in TAP_COLUMNS if c.kind == "text"}
    dtypes = np.array([taps.dtype_index(name) for name in texts["dtype"].names], np.int64)
    found = join_names(texts["layer"], texts["quantity"])
    known = np.zeros(len(found.first), np.int64)
    # In the order in which they come, so that rows that are sorted by tap stay so.
    for pair, row in sorted(enumerate(found.first), key=itemgetter(1)):
        words = {name: column.names[column.codes[row]] for name, column in texts.items()}
        known[pair] = taps.add(words, int(columns["order"][row]))
    numbers = {
        column.name: columns[column.name]
        for column in TAP_COLUMNS
        if column.kind != "text" and not column.is_list and column.name != "order"
    }
    step = columns["step"]
    span = {"step_first": step, "step_last": step, "n_steps": np.ones_like(step)}
    numbers |= span | {"dtype": dtypes[texts["dtype"].codes]}
    lists = {name: columns[name] for name in LIST_TYPES}
    return Frame(known[found.place], numbers, lists)
