"""The chunk that is being written: a draft folder that gets its name once it is whole."""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from deephochuli.store._cover import chunk_name
from deephochuli.store._files import publish_folder, remove_folder, size_of
from deephochuli.store._merge import add_float_groups, by_tap, merge_by_tap
from deephochuli.store._ragged import Array, Frame, join_frames
from deephochuli.store._rows import StepRow
from deephochuli.store._seal import SEAL_NAME, Seal, seal_file, seal_text
from deephochuli.store._tables import frame_table, open_writer, step_table
from deephochuli.store._taps import Taps

DRAFT_PREFIX = ".draft-"
"""The shell, pyarrow and polars pass over names that begin with a dot."""

# Lists: few enough to read one tap without all others, enough that footers stay below 2 %.
# Numbers: all together, for they are read together.
_ROWS_PER_GROUP = {"sketches": 1 << 10, "rollup": 1 << 10}
_MOST_ROWS_PER_GROUP = 1 << 20
_FLOAT_SUMS = ("sum", "sum_sq")


class ChunkDraft:
    """Files of one chunk, filled block by block so that memory stays bounded."""

    def __init__(self, run: Path, number: int, run_id: str, taps: Taps) -> None:
        self._final = run / chunk_name(number)
        self._folder = run / f"{DRAFT_PREFIX}{self._final.name}"
        self._taps = taps
        self._run_id = run_id
        self._number = number
        self._metadata = {"deephochuli.run_id": run_id, "deephochuli.chunk": str(number)}
        self._files: list[BinaryIO] = []
        self._writers: dict[str, Any] = {}
        self._steps: list[StepRow] = []
        self._rollups: list[Frame] = []
        self._sums: list[dict[str, Array]] = []
        remove_folder(self._folder)
        self._folder.mkdir()

    def add(self, steps: Sequence[StepRow], frames: Sequence[Frame]) -> None:
        """Write the rows of some steps, by tap, and merge them."""
        self._steps += steps
        block = join_frames(frames)
        block = by_tap(block)
        for file in ("taps", "sketches"):
            self._write(file, self._table(block, file))
        self._rollups.append(merge_by_tap(block))
        self._sums.append({name: block.numbers[name] for name in _FLOAT_SUMS})
        self._sums[-1]["tap"] = block.tap

    def complete(self, session: int, resumed_at: int) -> int:
        """Write what is left, seal it, and return the size of the folder in bytes."""
        self._write("rollup", self._table(self._rollup(), "rollup"))
        self._write("steps", step_table(self._steps))
        self._close()
        seal = Seal(
            run_id=self._run_id,
            chunk=self._number,
            session=session,
            resumed_at=resumed_at,
            step_first=self._steps[0].step,
            step_last=self._steps[-1].step,
            n_steps=len(self._steps),
            files={path.name: seal_file(path) for path in sorted(self._folder.iterdir())},
        )
        with (self._folder / SEAL_NAME).open("xb") as file:
            file.write(seal_text(seal).encode())
        return size_of(self._folder)

    def publish(self) -> None:
        """Make the completed files durable and give the folder its name."""
        publish_folder(self._folder, self._final)

    def discard(self) -> None:
        """Leave nothing behind, whatever state the draft is in."""
        for writer in self._writers.values():
            with suppress(Exception):  # it may want to write its last page, on a full disk
                writer.close()
            writer.is_open = False  # or it would try again when it is garbage, and complain
        for file in self._files:
            with suppress(OSError):
                file.close()
        remove_folder(self._folder)

    @property
    def n_steps(self) -> int:
        """Steps that were added."""
        return len(self._steps)

    @property
    def size(self) -> int:
        """Bytes written until now."""
        return size_of(self._folder)

    def _table(self, frame: Frame, file: str) -> pa.Table:
        return frame_table(frame, file, self._taps)

    def _write(self, file: str, table: pa.Table) -> None:
        """Append a table to a file, which is opened at its first table."""
        if file not in self._writers:
            # pyarrow would take a name such as "a:b" for an address, so it gets an open file.
            self._files.append((self._folder / f"{file}.parquet").open("xb"))
            self._writers[file] = open_writer(self._files[-1], file, self._metadata)
        n_rows = _ROWS_PER_GROUP.get(file, _MOST_ROWS_PER_GROUP)
        self._writers[file].write_table(table, row_group_size=n_rows)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        for file in self._files:
            file.close()

    def _rollup(self) -> Frame:
        """One row per tap. Sums of floats are taken over the steps, so that they round once."""
        if len(self._rollups) == 1:
            return self._rollups[0]
        merged = merge_by_tap(join_frames(self._rollups))
        tap = np.concatenate([sums["tap"] for sums in self._sums])
        order = np.argsort(tap, kind="stable")
        bounds = np.append(np.searchsorted(tap[order], merged.tap), len(tap))
        for name in _FLOAT_SUMS:
            values = np.concatenate([sums[name] for sums in self._sums])[order]
            merged.numbers[name] = add_float_groups(values, bounds)
        return merged
