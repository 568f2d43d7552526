"""Writing a run: rows go in step by step, whole chunks come out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from deephochuli.errors import StoreError, describe, say
from deephochuli.store._chunk import DRAFT_PREFIX, ChunkDraft
from deephochuli.store._collect import sound_rows, step_frame
from deephochuli.store._lock import LOCK_NAME, drop_lock, take_lock
from deephochuli.store._manifest import MANIFEST_NAME, Manifest, Session, write_manifest
from deephochuli.store._mishaps import Mishaps, is_lasting
from deephochuli.store._ragged import Frame
from deephochuli.store._resume import Past, look_back, rows_before
from deephochuli.store._rows import StepRow, TapRow
from deephochuli.store._taps import Taps

_CHUNKS_PER_DOUBLING = 32
_ROW_BYTES = 512
# What a reader of the chunk has to unpack at once, and what a kill may cost.
_MOST_CHUNK_BYTES = 128 << 20
_MOST_CHUNK_STEPS = 8192
_MOST_FAILURES = 3
_MOST_ERROR_SIGNS = 500


class RunWriter:
    """Writes a run folder. Use it in a ``with`` statement, or call `close`.

    Rows are kept in memory until the chunk has ``chunk_steps`` steps or ``chunk_seconds`` have
    passed when a step comes; then the chunk is written under another name, made durable and
    renamed: readers see it from then on. ``kill -9`` loses at most the open chunk. Both limits
    double after every 32 chunks, up to 8192 steps, so that a long run has few chunks and a kill
    never costs more than a small share of it.

    After construction nothing raises, and each cause is said once and noted in the manifest:

    - A row that contradicts itself is left out, and so is a step that does not increase.
    - A chunk that cannot be written is lost, and recording goes on with the next. After three in
      a row, or when the disk is full, gone or read-only, or ``max_bytes`` is reached, recording
      ends; the chunks written so far stay.
    - A process forked from the one that made the writer writes nothing.

    With ``resume``, a run in the folder is continued, however it ended. Training that goes on from
    a checkpoint may repeat steps that are recorded already: what earlier sessions recorded from
    ``resume_step`` on no longer counts once the first chunk of the new session is written. Nothing
    is deleted; readers pass over chunks that are superseded.

    Args:
        path: Folder of the run; made with its parents. It must be new or empty, or hold the run
            to resume.
        manifest: Provenance. The writer fills in when and how the run ended. For a run that is
            resumed, what differs from its beginning is noted with the session.
        chunk_steps: Recorded steps in one of the first 32 chunks.
        chunk_seconds: Age at which one of the first 32 chunks is written in any case.
        max_bytes: Cap for the files of the run, with those that are there, or None. No chunk goes
            beyond it.
        buffer_bytes: Rows are moved from memory into the draft of the chunk above this size.
        resume: Go on with the run in the folder; a folder without one gets a new run.
        resume_step: Step from which training goes on; the first step that is recorded if None.

    Raises:
        StoreError: The folder holds a run (without ``resume``), one of another model or of an older
            version, or other files; another process writes there; or it cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        manifest: Manifest,
        *,
        chunk_steps: int = 32,
        chunk_seconds: float = 30.0,
        max_bytes: int | None = None,
        buffer_bytes: int = 16 << 20,
        resume: bool = False,
        resume_step: int | None = None,
    ) -> None:
        self.path = Path(path).absolute()  # training may change the working folder
        self.manifest = manifest
        self._chunk_steps = chunk_steps
        self._chunk_seconds = chunk_seconds
        self._max_bytes = max_bytes
        self._buffer_bytes = buffer_bytes
        self._resume_step = resume_step
        self._pid = os.getpid()
        self.taps = Taps()
        self._steps: list[StepRow] = []
        self._frames: list[Frame] = []
        self._buffered = 0
        self._chunk_bytes = 0
        self._draft: ChunkDraft | None = None
        self._opened = 0.0
        self._last_step = -1
        self._n_steps = 0
        self._n_chunks = 0
        self._n_bytes = 0
        self._n_failures = 0
        self._session = 0
        self._resumed_at: int | None = None
        self._past: Past | None = None
        self._mishaps = Mishaps()
        self._closed = False
        self._begin(resume=resume)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Rows are still taken: not closed, not stopped, and not in a forked process."""
        return not self._closed and self.manifest.stopped is None and os.getpid() == self._pid

    def append(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Take the rows of one recorded step. Arrays are copied. Never raises an Exception."""
        if not self.is_open:
            return
        try:
            self._take(step, taps)
        except Exception as error:  # training goes on, whatever happens to the record of it
            self._tell("step", f"Step {step.step} was not recorded: {_describe(error)}.")
            return
        try:
            if self._is_chunk_due():
                self._write_chunk()
            elif self._buffered >= self._buffer_bytes:
                self._write_block()
        except Exception as error:  # as above
            self._fail(error)

    def extend(self, steps: Sequence[StepRow], frame: Frame) -> None:
        """Take rows of several steps as columns, their taps numbered by `taps`.

        For rows that have been in a run before: they are not checked again.

        Raises:
            StoreError: The steps do not increase, or the rows cannot be written.
        """
        if not steps or not self.is_open:
            return
        if any(b.step <= a.step for a, b in pairwise(steps)) or steps[0].step <= self._last_step:
            raise StoreError(f"Rows cannot be added to {self.path}: their steps do not increase.")
        if self._resumed_at is None:
            self._join_past(steps[0].step)
        self._last_step = steps[-1].step
        self._add(steps, frame)
        if self._is_chunk_due():
            self._write_chunk()
        elif self._buffered >= self._buffer_bytes:
            self._write_block()

    def flush(self) -> None:
        """Write the open chunk now, however short it is."""
        if not self.is_open:
            return
        try:
            self._write_chunk()
        except Exception as error:  # as in append
            self._fail(error)

    def close(self, error: BaseException | None = None) -> None:
        """Write the open chunk and note in the manifest that the run is complete.

        Args:
            error: What ended the training, if it was an error; the manifest says which.
        """
        if self._closed or os.getpid() != self._pid:
            return
        self.flush()
        self._closed = True
        if error is not None:
            first_line = describe(error).partition("\n")[0].removesuffix(": ")
            update = {"raised": first_line[:_MOST_ERROR_SIGNS]}
            self.manifest = self.manifest.model_copy(update=update)
        self._note(finished=True)
        drop_lock(self.path)

    @property
    def next_step(self) -> int:
        """Step that the run goes on with: 0 in a new run; where it was resumed, or left off."""
        if self._resume_step is not None:
            return self._resume_step
        return self._last_step + 1 if self._past is None else self._past.last_step + 1

    @property
    def n_chunks(self) -> int:
        """Number that the next chunk gets; it grows when readers can see more."""
        return self._n_chunks

    def remark(self, step: int, what: str) -> None:
        """Note in the manifest that something happened in a step. Never raises an Exception."""
        if not self.is_open:
            return
        events = self.manifest.extra.get("events")
        known = events if isinstance(events, list) else []
        extra = {**self.manifest.extra, "events": [*known, {"step": step, "what": what}]}
        self.manifest = self.manifest.model_copy(update={"extra": extra})
        self._note(finished=False)

    def _begin(self, *, resume: bool) -> None:
        """Make the folder, or take over the one that is there, and write the first manifest."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            goes_on = resume and (self.path / MANIFEST_NAME).exists()
            if not goes_on:
                _refuse_occupied(self.path)
            take_lock(self.path)
            try:
                self._start(goes_on=goes_on)
            except BaseException:
                drop_lock(self.path)
                raise
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"No run can be written to {self.path}: {error.strerror or error}. "
                "Choose a folder that can be written."
            ) from error

    def _start(self, *, goes_on: bool) -> None:
        """Write the manifest of a new run, or of one that goes on."""
        if goes_on:
            past = look_back(self.path, self.manifest, self._resume_step)
            self.manifest, self._session, self._past = past.manifest, past.session, past
            self._n_chunks, self._n_bytes = past.n_chunks, past.n_bytes
            self._n_steps = past.n_steps_before(past.last_step + 1)
            if self._resume_step is not None:
                self._last_step = self._resume_step - 1
        else:
            _refuse_occupied(self.path)  # again: another writer may have been here meanwhile
            session = Session(started=self.manifest.created)
            self.manifest = self.manifest.model_copy(update={"sessions": [session]})
        write_manifest(self.path, self.manifest)
        if not goes_on:
            self._n_bytes = (self.path / MANIFEST_NAME).stat().st_size

    def _take(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        if step.step <= self._last_step:
            raise StoreError(f"it came after step {self._last_step}, and steps must increase")
        try:
            frame = step_frame(step.step, taps, self.taps)
        except (StoreError, TypeError, ValueError) as error:
            sound = sound_rows(step.step, taps, self.taps)
            frame = step_frame(step.step, sound, self.taps)
            self._tell("row", f"{len(taps) - len(sound)} rows left out: {_describe(error)}.")
        if not self._steps and self._draft is None:
            self._opened = time.monotonic()
        if self._resumed_at is None:
            self._join_past(step.step)
        self._last_step = step.step
        self._add([step], frame)

    def _add(self, steps: Sequence[StepRow], frame: Frame) -> None:
        """Put rows into the buffer."""
        self._steps += steps
        self._frames.append(frame)
        n_bytes = frame.n_bytes + _ROW_BYTES * len(frame)
        self._buffered += n_bytes
        self._chunk_bytes += n_bytes

    def _join_past(self, step: int) -> None:
        """Settle from which step on the new session counts.

        Chunks count or do not count as a whole: of one that has steps on both sides, those before
        are written again.
        """
        first = step if self._resume_step is None else self._resume_step
        self._resumed_at = first
        if self._past is None:
            return
        divided = self._past.divided_at(first)
        if divided is not None and divided.seal is not None:
            self._resumed_at = divided.seal.step_first
            try:
                self._add(*rows_before(divided, first, self.taps))
            except Exception as error:  # the chunk is damaged, and so are the steps before
                self._tell("past", f"Steps before {first} are lost: {_describe(error)}.")
        self._n_steps = self._past.n_steps_before(self._resumed_at)
        self._past = None
        self._amend_session(first_step=first)

    def _amend_session(self, **fields: object) -> None:
        """Note more of the present session."""
        *earlier, last = self.manifest.sessions
        sessions = [*earlier, last.model_copy(update=fields)]
        self.manifest = self.manifest.model_copy(update={"sessions": sessions})

    def _is_chunk_due(self) -> bool:
        growth = 2 ** (self._n_chunks // _CHUNKS_PER_DOUBLING)
        n_steps = len(self._steps) + (self._draft.n_steps if self._draft else 0)
        age = time.monotonic() - self._opened
        return (
            n_steps >= max(self._chunk_steps, min(self._chunk_steps * growth, _MOST_CHUNK_STEPS))
            or age >= self._chunk_seconds * growth
            or self._chunk_bytes >= _MOST_CHUNK_BYTES
        )

    def _write_block(self) -> None:
        """Move the buffered rows into the draft of the open chunk."""
        steps, frames = self._steps, self._frames
        self._steps, self._frames, self._buffered = [], [], 0
        try:
            if self._draft is None:
                self._draft = ChunkDraft(self.path, self._n_chunks, self.manifest.run_id, self.taps)
            self._draft.add(steps, frames)
        except BaseException:  # also Ctrl-C: half a block is none
            self._discard()
            raise

    def _write_chunk(self) -> None:
        """Complete the open chunk and publish it, unless that would break the cap."""
        if self._steps:
            self._write_block()
        draft = self._draft
        if draft is None:
            return
        try:
            size = draft.complete(self._session, self._resumed_at or 0)
            if self._max_bytes is not None and self._n_bytes + size > self._max_bytes:
                raise StoreError(f"the cap of {self._max_bytes:,} bytes is reached")
            draft.publish()
        except BaseException:
            self._discard()
            raise
        self._draft = None
        self._chunk_bytes = 0
        self._n_failures = 0
        self._n_bytes += size
        self._n_chunks += 1
        self._n_steps += draft.n_steps

    def _discard(self) -> None:
        """Drop the open chunk."""
        self._steps, self._frames, self._buffered, self._chunk_bytes = [], [], 0, 0
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def _fail(self, error: Exception) -> None:
        """The open chunk could not be written: it is lost, and perhaps the recording ends."""
        self._discard()
        self._n_failures += 1
        reason = _describe(error)
        if is_lasting(error) or self._n_failures >= _MOST_FAILURES:
            self._stop(reason)
            return
        self._tell("chunk", f"Steps up to {self._last_step} could not be written: {reason}.")

    def _tell(self, kind: str, fault: str) -> None:
        """Say what was lost, once for each kind, and note it in the manifest."""
        is_new = self._mishaps.add(kind, fault)
        self.manifest = self.manifest.model_copy(update={"faults": self._mishaps.texts()})
        if is_new:
            say(f"Recording to {self.path} goes on with a gap. {fault}", stacklevel=5)

    def _stop(self, reason: str) -> None:
        """End the recording, not the training."""
        self.manifest = self.manifest.model_copy(
            update={"stopped": f"after step {self._last_step}: {reason}"}
        )
        self._amend_session(reason=self.manifest.stopped)
        self._note(finished=False)
        if "chunk" in self._mishaps:  # said when it happened for the first time
            return
        say(
            f"Recording to {self.path} stopped after step {self._last_step}: {reason}. Training "
            f"goes on; {self._n_steps} recorded steps in {self._n_chunks} chunks are kept.",
            stacklevel=5,
        )

    def _note(self, *, finished: bool) -> None:
        """Write into the manifest how the run stands, if the disk takes it."""
        ended = datetime.now(UTC) if finished else None
        if finished:
            self._amend_session(ended=ended)
        update = {
            "finished": finished,
            "ended": ended,
            "n_steps": self._n_steps,
            "n_chunks": self._n_chunks,
        }
        self.manifest = self.manifest.model_copy(update=update)
        try:
            write_manifest(self.path, self.manifest)
        except Exception as error:  # as in append
            if self.manifest.stopped is None and not self._mishaps:
                say(
                    f"The end of the run could not be noted in {self.path}: {describe(error)}. The "
                    "run can be read; it will look unfinished.",
                    stacklevel=4,
                )


def _describe(error: Exception) -> str:
    if isinstance(error, StoreError):
        return str(error).rstrip(".")
    return describe(error)


def _refuse_occupied(path: Path) -> None:
    """Only an empty folder is written to; drafts of an attempt that died are cleared away."""
    if (path / MANIFEST_NAME).exists():
        raise StoreError(
            f"{path} already holds a run, and runs are never overwritten. Give another folder, "
            "resume the run, or delete it."
        )
    drafts = (DRAFT_PREFIX, f".{MANIFEST_NAME}", LOCK_NAME)
    foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith(drafts))
    if foreign:
        shown = ", ".join(map(repr, foreign[:3])) + (", ..." if len(foreign) > 3 else "")
        raise StoreError(
            f"{path} holds files that are not of a run: {shown}. Give a new or an empty folder."
        )
