"""Reading a run: its provenance and steps at once, everything else when it is asked for."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store._answers import Channels, Damage, MergedTap, Rollups, TapInfo
from deephochuli.store._chunk import chunk_name
from deephochuli.store._chunks import ChunkReader
from deephochuli.store._listing import list_taps
from deephochuli.store._manifest import MANIFEST_NAME, Manifest, read_manifest
from deephochuli.store._merge import merge_by_tap
from deephochuli.store._parquet import Values
from deephochuli.store._ragged import LIST_TYPES, Array, Frame, Ragged
from deephochuli.store._rows import Counts, Keys
from deephochuli.store._schema import NUMPY_TYPES, SPAN_COLUMNS, STEP_COLUMNS, TAP_COLUMNS

_CHUNK = re.compile(r"chunk-(\d{6,})")
_SPAN = tuple(c.name for c in SPAN_COLUMNS)
_T = TypeVar("_T")

SCALARS = tuple(c.name for c in TAP_COLUMNS if c.kind != "text" and not c.is_list)
"""Columns with one number per row."""
HISTOGRAM_LISTS = ("key", "count", "ratio", "ratio_count")
CHANNEL_LISTS = ("positive", "zero", "nonfinite")

_TYPES = {
    c.name: NUMPY_TYPES[c.kind]
    for c in (*TAP_COLUMNS, *SPAN_COLUMNS, *STEP_COLUMNS)
    if c.kind != "text"
}


def open_run(path: str | os.PathLike[str]) -> RunReader:
    """Open a run folder for reading, also while it is still being written.

    Args:
        path: The folder that a recording was written to.

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
    if not (folder / MANIFEST_NAME).exists():
        if any(_CHUNK.fullmatch(p.name) for p in _entries(folder)):
            raise StoreError(f"{folder} is a damaged run folder: {MANIFEST_NAME} is missing.")
        raise StoreError(
            f"{folder} is not a run folder: it has no {MANIFEST_NAME}. Give the folder that a "
            "recording was written to."
        )
    return RunReader(folder, read_manifest(folder))


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}.") from error


class _ChunkDroppedError(Exception):
    """A chunk turned out to be damaged: what was put together with it must be read again."""


class RunReader:
    """A run on disk; made by `open_run`. Answers are numpy arrays; do not write into them.

    A damaged chunk is left out, with one `DeepHochuliWarning`, and listed in ``damaged``. Footers
    are checked on opening; a fault inside a page is found when the page is read, and then the chunk
    is missing from this and all later answers.

    Attributes:
        path: The folder.
        manifest: Provenance.
        damaged: Chunks that were left out until now.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.damaged: list[Damage] = []
        self._cache: dict[str, Any] = {}
        self._chunks: list[ChunkReader] = []
        self._open_chunks()

    @property
    def finished(self) -> bool:
        """The recording ended in order; otherwise it goes on, or was killed."""
        return self.manifest.finished

    @property
    def n_chunks(self) -> int:
        """Chunks that can be read."""
        return len(self._chunks)

    @property
    def steps(self) -> dict[str, Array]:
        """Recorded steps: the columns of steps.parquet.

        nan stands where a float is missing; ``has_loss`` tells a loss of nan from a missing one.
        """
        return self._answer(self._steps)

    def taps(self) -> list[TapInfo]:
        """All taps of the run, by order, layer and quantity."""
        return self._answer(self._taps)

    def find(self, layer: str, quantity: str) -> int:
        """Index of a tap in ``taps()``.

        Raises:
            StoreError: The run has no such tap.
        """
        index = self._answer(self._index)
        if (layer, quantity) in index:
            return index[layer, quantity]
        quantities = sorted(q for name, q in index if name == layer)
        hint = f"This layer has: {', '.join(quantities)}." if quantities else "See taps()."
        raise StoreError(f"{self.path} has no tap {layer!r}, quantity {quantity!r}. {hint}")

    def all_scalars(self, columns: Sequence[str] = SCALARS) -> dict[str, Array]:
        """Scalar columns of all taps and steps, sorted by tap and step.

        Args:
            columns: Which columns of taps.parquet, of `SCALARS`.

        Returns:
            By name, one value per recorded step and tap; ``tap`` is the index in ``taps()``,
            ``step`` the step. -1 or nan where nothing was measured.
        """
        return self._answer(lambda: self._scalars(("step", *columns)))

    def scalars(self, layer: str, quantity: str) -> dict[str, Array]:
        """All scalar columns of one tap, and ``step``."""
        return self._answer(lambda: self._tap_columns("taps", layer, quantity, ("step", *SCALARS)))

    def history(
        self, layer: str, quantity: str
    ) -> tuple[NDArray[np.int64], list[tuple[Keys, Counts]]]:
        """Histogram of one tap in each recorded step.

        Returns:
            The steps, and for each the keys and their counts.
        """
        names = ("step", "key", "count")
        columns = self._answer(lambda: self._tap_columns("taps", layer, quantity, names))
        pairs = zip(columns["key"].rows(), columns["count"].rows(), strict=True)
        return columns["step"], list(pairs)

    def whole(self, layer: str, quantity: str) -> MergedTap:
        """One tap merged over all recorded steps."""
        return self._answer(lambda: self._whole(layer, quantity))

    def rollups(self, lists: Sequence[str] = HISTOGRAM_LISTS) -> Rollups:
        """All rows of the rollups, with some of their columns of lists.

        Args:
            lists: Of key, count, ratio, ratio_count, positive, zero, nonfinite.
        """
        columns = self._answer(lambda: self._columns("rollup", (*_SPAN, *SCALARS, *lists)))
        return _rollups(columns, lists)

    def records(self, lists: Sequence[str] = HISTOGRAM_LISTS) -> Rollups:
        """Like `rollups`, at the finest resolution: each row is a tap in one recorded step.

        This reads all of a run, some kilobytes of memory per tap and step: for short runs.
        """
        columns = self._answer(lambda: self._columns("taps", ("step", *SCALARS, *lists)))
        step = columns["step"]
        span = {"step_first": step, "step_last": step, "n_steps": np.ones_like(step)}
        return _rollups(columns | span, lists)

    def channels(self, layer: str, quantity: str) -> Channels:
        """Counts per channel of one tap, chunk by chunk."""
        span = ("step_first", "step_last", "n_per_channel")
        columns = self._answer(
            lambda: self._tap_columns("rollup", layer, quantity, (*span, *CHANNEL_LISTS))
        )
        lists: dict[str, Any] = {name: columns[name].rows() for name in CHANNEL_LISTS}
        return Channels(**{name: columns[name] for name in span}, **lists)

    def _open_chunks(self) -> None:
        """Read the footers of all chunks; note those that are missing or damaged."""
        names = [path.name for path in _entries(self.path)]
        numbers = {int(match[1]) for name in names if (match := _CHUNK.fullmatch(name))}
        count = max(max(numbers, default=-1) + 1, self.manifest.n_chunks or 0)
        for number in range(count):
            folder = self.path / chunk_name(number)
            try:
                if number not in numbers:
                    raise StoreError(f"{folder} is missing.")
                self._chunks.append(ChunkReader(folder, number, self.manifest.run_id))
            except StoreError as error:
                self._report(folder.name, error)

    def _report(self, chunk: str, error: StoreError) -> None:
        self.damaged.append(Damage(chunk, str(error)))
        warnings.warn(f"{error} The run is read without {chunk}.", DeepHochuliWarning, stacklevel=5)

    def _answer(self, compute: Callable[[], _T]) -> _T:
        """Compute, once more after each chunk that turns out to be damaged."""
        while True:
            try:
                return compute()
            except _ChunkDroppedError:
                self._cache.clear()

    def _each(self, read: Callable[[ChunkReader], _T]) -> list[_T]:
        """Answers of all chunks. A damaged one is dropped, and the whole question asked again."""
        answers: list[_T] = []
        for chunk in self._chunks:
            try:
                answers.append(read(chunk))
            except StoreError as error:
                self._chunks.remove(chunk)
                self._report(chunk.name, error)
                raise _ChunkDroppedError from error
        return answers

    def _steps(self) -> dict[str, Array]:
        if "steps" not in self._cache:
            parts = self._each(lambda chunk: chunk.steps())
            names = [column.name for column in STEP_COLUMNS] + ["has_loss"]
            self._cache["steps"] = {name: _join(parts, name) for name in names}
        return self._cache["steps"]

    def _taps(self) -> list[TapInfo]:
        if "taps" not in self._cache:
            self._cache["taps"] = list_taps(self._each(lambda c: c.listed()))
        return self._cache["taps"]

    def _index(self) -> dict[tuple[str, str], int]:
        if "index" not in self._cache:
            taps = self._taps()
            self._cache["index"] = {(tap.layer, tap.quantity): i for i, tap in enumerate(taps)}
        return self._cache["index"]

    def _scalars(self, names: Sequence[str]) -> dict[str, Array]:
        cache: dict[str, Array] = self._cache.setdefault("scalars", {})
        index = self._index()
        if "tap" not in cache:
            taps = self._each(lambda c: c.tap_of_row("taps", index))
            tap = np.concatenate([np.empty(0, np.int64), *taps])
            # Rows of a tap come in the order of steps: the sort must not change that. Integers of
            # 16 bits are sorted by radix, ten times as fast.
            narrow = tap.astype(np.uint16) if len(index) <= 1 << 16 else tap
            cache["sort"] = np.argsort(narrow, kind="stable")
            cache["tap"] = tap[cache["sort"]]
        missing = [name for name in names if name not in cache]
        if missing:
            parts = self._each(lambda c: c.columns("taps", missing))
            cache |= {name: _join(parts, name)[cache["sort"]] for name in missing}
        return {name: cache[name] for name in ("tap", *names)}

    def _columns(self, file: str, names: Sequence[str]) -> dict[str, Any]:
        """Columns of all rows of a file of each chunk, chunk after chunk."""
        cache: dict[str, Any] = self._cache.setdefault(f"columns of {file}", {})
        index = self._index()
        if "tap" not in cache:
            taps = self._each(lambda c: c.tap_of_row(file, index))
            cache["tap"] = np.concatenate([np.empty(0, np.int64), *taps])
            numbers = [chunk.number for chunk in self._chunks]
            cache["chunk"] = np.repeat(np.array(numbers, np.int64), [len(tap) for tap in taps])
        missing = [name for name in names if name not in cache]
        if missing:
            parts = self._each(lambda c: c.columns(file, missing))
            cache |= {name: _join(parts, name) for name in missing}
        return {name: cache[name] for name in ("tap", "chunk", *names)}

    def _tap_columns(
        self, file: str, layer: str, quantity: str, names: Sequence[str]
    ) -> dict[str, Any]:
        """Columns of one tap over all chunks that hold it."""
        tap = self.find(layer, quantity)
        index = self._index()
        parts = self._each(lambda c: c.columns_of_tap(file, index, tap, names))
        found = [part for part in parts if part is not None]
        return {name: _join(found, name) for name in names}

    def _whole(self, layer: str, quantity: str) -> MergedTap:
        names = (*_SPAN, *SCALARS, *LIST_TYPES)
        columns = self._tap_columns("rollup", layer, quantity, names)
        info = self._taps()[self._index()[layer, quantity]]
        merged = merge_by_tap(_frame_of(columns))
        numbers = {name: merged.numbers[name][0].item() for name in SCALARS if name != "order"}
        lists: dict[str, Any] = {name: merged.lists[name][0] for name in LIST_TYPES}
        span = {name: int(merged.numbers[name][0]) for name in _SPAN}
        return MergedTap(info=info, numbers=numbers, **span, **lists)


def _rollups(columns: dict[str, Any], lists: Sequence[str]) -> Rollups:
    return Rollups(
        **{name: columns[name] for name in ("tap", "chunk", *_SPAN)},
        numbers={name: columns[name] for name in SCALARS},
        lists={name: columns[name] for name in lists},
    )


def _join(parts: Sequence[dict[str, Any]], name: str) -> Values:
    """Append one column of several parts."""
    if name == "has_loss":
        return np.concatenate([np.empty(0, np.bool_), *(part["has_loss"] for part in parts)])
    dtype = _TYPES[name]
    if name in LIST_TYPES:
        return Ragged.joined([part[name] for part in parts], dtype)
    return np.concatenate([np.empty(0, dtype), *(part[name] for part in parts)])


def _frame_of(columns: dict[str, Any]) -> Frame:
    """Rollup rows of one tap as a frame. Its dtype is known elsewhere, and stays out."""
    n_rows = len(columns["n"])
    numbers = {name: column for name, column in columns.items() if name not in LIST_TYPES}
    numbers["dtype"] = np.zeros(n_rows, np.int64)
    lists = {name: columns[name] for name in LIST_TYPES}
    return Frame(np.zeros(n_rows, np.int64), numbers, lists)
