"""Writing a run: rows go in step by step, whole chunks come out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from deephochuli.errors import StoreError, describe, say
from deephochuli.store._chunk import DRAFT_PREFIX, ChunkDraft
from deephochuli.store._collect import step_frame
from deephochuli.store._manifest import MANIFEST_NAME, Manifest, write_manifest
from deephochuli.store._ragged import Frame
from deephochuli.store._rows import StepRow, TapRow
from deephochuli.store._taps import Taps

_CHUNKS_PER_DOUBLING = 32
_ROW_BYTES = 512


class RunWriter:
    """Writes a new run folder. Use it in a ``with`` statement, or call `close`.

    Rows are kept in memory until the chunk has ``chunk_steps`` steps or ``chunk_seconds`` have
    passed; then the chunk is written under another name, made durable and renamed. ``kill -9``
    loses at most the open chunk. Both limits double after every 64 chunks, so that a run of any
    length has few chunks and a kill never costs more than a small share of it.

    After construction nothing raises: a full disk, a row that contradicts itself, or ``max_bytes``
    reached end the recording with one `DeepHochuliWarning`, note the reason in the manifest, and
    leave the chunks written so far. A process forked from the one that made the writer writes
    nothing.

    Args:
        path: Folder of the run; made with its parents. It must be new or empty.
        manifest: Provenance. The writer fills in when and how the run ended.
        chunk_steps: Recorded steps in one of the first 64 chunks.
        chunk_seconds: Age at which one of the first 64 chunks is written in any case.
        max_bytes: Cap for the files of the run, or None. No chunk goes beyond it.
        buffer_bytes: Rows are moved from memory into the draft of the chunk above this size.

    Raises:
        StoreError: The folder holds a run or other files, or cannot be made or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        manifest: Manifest,
        *,
        chunk_steps: int = 16,
        chunk_seconds: float = 30.0,
        max_bytes: int | None = None,
        buffer_bytes: int = 64 << 20,
    ) -> None:
        self.path = Path(path).absolute()  # training may change the working folder
        self.manifest = manifest
        self._chunk_steps = chunk_steps
        self._chunk_seconds = chunk_seconds
        self._max_bytes = max_bytes
        self._buffer_bytes = buffer_bytes
        self._pid = os.getpid()
        self._taps = Taps()
        self._steps: list[StepRow] = []
        self._frames: list[Frame] = []
        self._buffered = 0
        self._draft: ChunkDraft | None = None
        self._opened = 0.0
        self._last_step = -1
        self._n_steps = 0
        self._n_chunks = 0
        self._closed = False
        self._begin()

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
            if self._is_chunk_due():
                self._write_chunk()
            elif self._buffered >= self._buffer_bytes:
                self._write_block()
        except Exception as error:  # training goes on, whatever happens to the record of it
            self._stop(_describe(error))

    def flush(self) -> None:
        """Write the open chunk now, however short it is."""
        if not self.is_open:
            return
        try:
            self._write_chunk()
        except Exception as error:  # as in append
            self._stop(_describe(error))

    def close(self) -> None:
        """Write the open chunk and note in the manifest that the run is complete."""
        if self._closed or os.getpid() != self._pid:
            return
        self.flush()
        self._closed = True
        self._note(finished=True)

    def _begin(self) -> None:
        """Make the folder and write the first manifest."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _refuse_occupied(self.path)
            write_manifest(self.path, self.manifest)
            self._n_bytes = (self.path / MANIFEST_NAME).stat().st_size
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"No run can be written to {self.path}: {error.strerror or error}. "
                "Choose a folder that can be written."
            ) from error

    def _take(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        if step.step <= self._last_step:
            raise StoreError(
                f"Step {step.step} came after step {self._last_step}; steps must increase."
            )
        frame = step_frame(step.step, taps, self._taps)
        if not self._steps and self._draft is None:
            self._opened = time.monotonic()
        self._last_step = step.step
        self._steps.append(step)
        self._frames.append(frame)
        self._buffered += frame.n_bytes + _ROW_BYTES * len(frame)

    def _is_chunk_due(self) -> bool:
        growth = 2 ** (self._n_chunks // _CHUNKS_PER_DOUBLING)
        n_steps = len(self._steps) + (self._draft.n_steps if self._draft else 0)
        age = time.monotonic() - self._opened
        return n_steps >= self._chunk_steps * growth or age >= self._chunk_seconds * growth

    def _write_block(self) -> None:
        """Move the buffered rows into the draft of the open chunk."""
        steps, frames = self._steps, self._frames
        self._steps, self._frames, self._buffered = [], [], 0
        try:
            if self._draft is None:
                self._draft = ChunkDraft(
                    self.path, self._n_chunks, self.manifest.run_id, self._taps
                )
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
            size = draft.complete(0, 0)
            if self._max_bytes is not None and self._n_bytes + size > self._max_bytes:
                raise StoreError(f"the cap of {self._max_bytes:,} bytes is reached")
            draft.publish()
        except BaseException:
            self._discard()
            raise
        self._draft = None
        self._n_bytes += size
        self._n_chunks += 1
        self._n_steps += draft.n_steps

    def _discard(self) -> None:
        """Drop the open chunk."""
        self._steps, self._frames, self._buffered = [], [], 0
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def _stop(self, reason: str) -> None:
        """End the recording, not the training."""
        self._discard()
        self.manifest = self.manifest.model_copy(
            update={"stopped": f"after step {self._last_step}: {reason}"}
        )
        self._note(finished=False)
        say(
            f"Recording to {self.path} stopped after step {self._last_step}: {reason}. Training "
            f"goes on; {self._n_steps} recorded steps in {self._n_chunks} chunks are kept.",
            stacklevel=4,
        )

    def _note(self, *, finished: bool) -> None:
        """Write into the manifest how the run stands, if the disk takes it."""
        update = {
            "finished": finished,
            "ended": datetime.now(UTC) if finished else None,
            "n_steps": self._n_steps,
            "n_chunks": self._n_chunks,
        }
        self.manifest = self.manifest.model_copy(update=update)
        try:
            write_manifest(self.path, self.manifest)
        except Exception as error:  # as in append
            if self.manifest.stopped is None:
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
            "or delete this one."
        )
    drafts = (DRAFT_PREFIX, f".{MANIFEST_NAME}")
    foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith(drafts))
    if foreign:
        shown = ", ".join(map(repr, foreign[:3])) + (", ..." if len(foreign) > 3 else "")
        raise StoreError(
            f"{path} holds files that are not of a run: {shown}. Give a new or an empty folder."
        )
