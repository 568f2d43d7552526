"""Reading a run: its provenance and steps at once, everything else when it is asked for."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store._answers import Channels, Damage, MergedTap, Rollups, TapInfo
from deephochuli.store._chunks import ChunkReader, Piece, pick, read_each
from deephochuli.store._columns import Columns, Scope, join, read_columns, read_rows
from deephochuli.store._cover import chunk_name, chunk_numbers, cover, gaps
from deephochuli.store._folds import Fold, Folds, Grown
from deephochuli.store._listing import TapList
from deephochuli.store._lock import has_writer
from deephochuli.store._manifest import Manifest, read_manifest
from deephochuli.store._merge import merge_by_tap
from deephochuli.store._parquet import most_memory
from deephochuli.store._ragged import LIST_TYPES, Array, Frame
from deephochuli.store._rows import Counts, Keys
from deephochuli.store._schema import SPAN_COLUMNS, STEP_COLUMNS, TAP_COLUMNS

_SPAN = tuple(c.name for c in SPAN_COLUMNS)
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Fold)

SCALARS = tuple(c.name for c in TAP_COLUMNS if c.kind != "text" and not c.is_list)
"""Columns with one number per row."""
HISTOGRAM_LISTS = ("key", "count", "ratio", "ratio_count")
CHANNEL_LISTS = ("positive", "zero", "nonfinite")


def entries(folder: Path) -> list[str]:
    """Names of what is in a folder."""
    try:
        return [path.name for path in folder.iterdir()]
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
        superseded: Chunks whose steps were recorded again after the run was resumed.
        ranks: The run of each rank, where this one is of several together.
    """

    ranks: Sequence[RunReader] = ()

    def __init__(self, path: Path, manifest: Manifest, folder: Path | None = None) -> None:
        """Read the run in a folder; `path` names it to people, if that is another one."""
        self.path = path
        self._folder = folder or path
        self.damaged: list[Damage] = []
        self.superseded: list[str] = []
        self._begin_anew(manifest)

    def _begin_anew(self, manifest: Manifest) -> None:
        """Forget what was read, and open the run that is in the folder now."""
        self.manifest = manifest
        self.damaged = []
        self.superseded = []
        self._forget()
        self._opened: dict[int, ChunkReader] = {}
        self._left_out: set[int] = set()
        self._chunks: list[ChunkReader] = []
        self._open_chunks()

    def refresh(self) -> bool:
        """See what another process has written since: new chunks, and the manifest.

        Between two calls all answers are about the same chunks, whatever is written meanwhile.
        Rows of the chunk that is still open are not there yet; a writer publishes it after some
        steps, or some seconds (see `RunWriter`).

        Returns:
            Whether anything has changed.

        Raises:
            StoreError: The folder is gone, or holds another run now.
        """
        manifest = read_manifest(self._folder)
        if manifest.run_id != self.manifest.run_id:
            raise StoreError(f"{self.path} holds another run than before. Open it again.")
        known = self.manifest, list(self._opened), len(self.damaged)
        self.manifest = manifest
        self._open_chunks()
        has_changed = known != (manifest, list(self._opened), len(self.damaged))
        if has_changed:
            self._cache = {}
            for columns in self._tables.values():
                columns.set_aside()
        return has_changed

    def _forget(self) -> None:
        """Drop all that was read, as where a chunk that is in it counts no longer."""
        self._cache: dict[str, Any] = {}
        self._known_steps: Grown[dict[str, Array]] | None = None
        self._known_taps: Grown[TapList] | None = None
        self._folds = Folds()
        self._tables = {
            "scalars": Columns("taps", read_columns, is_sorted=True),
            "taps": Columns("taps", read_rows),
            "rollup": Columns("rollup", read_columns),
        }

    @property
    def finished(self) -> bool:
        """The recording ended in order; otherwise it goes on, or was killed."""
        return self.manifest.finished

    @property
    def has_writer(self) -> bool:
        """Whether a process that may still live writes the run now; asks anew each time."""
        return has_writer(self.path)

    @property
    def n_chunks(self) -> int:
        """Chunks that can be read."""
        return len(self._chunks)

    @property
    def chunks(self) -> list[ChunkReader]:
        """The chunks that count, by number."""
        return list(self._chunks)

    @property
    def next_number(self) -> int:
        """Number that no chunk has yet."""
        return max([-1, *self._opened, *self._left_out]) + 1

    def part(self, keep: Callable[[ChunkReader], bool]) -> RunReader:
        """The same run, read as if it had only some of the chunks that count now.

        Files that are open stay open, so this costs nothing by itself. The part stays as it is.
        """
        part = copy.copy(self)
        part.damaged, part.superseded = [], []
        part._forget()
        part._chunks = [chunk for chunk in self._chunks if keep(chunk)]
        part._opened = {chunk.number: chunk for chunk in part._chunks}
        part._left_out = set(self._left_out)
        return part

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
        columns = self._answer(lambda: self._tap_columns("sketches", layer, quantity, names))
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

    def fold(self, kind: type[_F]) -> _F:
        """What a `Fold` holds of all rows of its table; only chunks that are new to it are read."""
        return self._answer(lambda: self._folded([kind])[0])

    def prepare(self, *kinds: type[Fold]) -> None:
        """Bring several folds up to date, reading each file once for all of them."""
        self._answer(lambda: self._folded(kinds))

    def _folded(self, kinds: Sequence[type[_F]]) -> list[_F]:
        return self._folds.of(kinds, self._chunks, self._index(), self._stream)

    def _open_chunks(self) -> None:
        """Open the chunks that are new; note those that are missing or damaged."""
        numbers = chunk_numbers(entries(self._folder))
        for number in sorted(self._opened.keys() - numbers):
            self._leave_out(number, StoreError(f"{self._folder / chunk_name(number)} is missing."))
        for number in sorted(numbers - self._opened.keys() - self._left_out):
            self._open(number)
        known = numbers | self._opened.keys() | self._left_out
        for first, last in gaps(known, self.manifest.n_chunks or 0):
            self._miss(first, last)
        self._choose()

    def _open(self, number: int) -> None:
        folder = self._folder / chunk_name(number)
        version = self.manifest.schema_version
        try:
            self._opened[number] = ChunkReader(folder, number, self.manifest.run_id, version)
        except StoreError as error:
            self._leave_out(number, error)

    def _miss(self, first: int, last: int) -> None:
        """Note missing chunks; one that came while the folder was being listed is none."""
        if first == last:
            folder = self._folder / chunk_name(first)
            if folder.exists():
                self._open(first)
            else:
                self._leave_out(first, StoreError(f"{folder} is missing."))
            return
        names = f"{chunk_name(first)} to {chunk_name(last)}"
        if names not in [damage.chunk for damage in self.damaged]:
            self._report(names, StoreError(f"{self._folder / names} are missing."))

    def _choose(self) -> None:
        """Find the chunks that count: not damaged, and not superseded by a later session."""
        chunks = [self._opened[number] for number in sorted(self._opened)]
        self._chunks = cover(chunks)
        counted = {chunk.number for chunk in self._chunks}
        self.superseded = [chunk.name for chunk in chunks if chunk.number not in counted]

    def leave_out(self, number: int, error: StoreError) -> None:
        """Take a chunk for damaged, as whoever read it found it to be."""
        self._leave_out(number, error)
        self._choose()
        self._forget()

    def _leave_out(self, number: int, error: StoreError) -> None:
        self._opened.pop(number, None)
        self._left_out.add(number)
        self._report(chunk_name(number), error)

    def _report(self, chunk: str, error: StoreError) -> None:
        self.damaged.append(Damage(chunk, str(error)))
        warnings.warn(f"{error} The run is read without {chunk}.", DeepHochuliWarning, stacklevel=6)

    def _answer(self, compute: Callable[[], _T]) -> _T:
        """Compute, once more after each chunk that turns out to be damaged."""
        while True:
            try:
                return compute()
            except _ChunkDroppedError:
                self._forget()

    def _each(
        self, read: Callable[[ChunkReader], _T], chunks: list[ChunkReader] | None = None
    ) -> list[_T]:
        """Answers of chunks, all if none are given.

        A damaged one is dropped, and the whole question asked again.
        """
        answers: list[_T] = []
        memory, most = 0, most_memory(sum(chunk.n_bytes for chunk in self._chunks))
        for chunk, answer in read_each(self._chunks if chunks is None else chunks, read):
            if isinstance(answer, StoreError):
                self._drop(chunk, answer)
            answers.append(answer)
            memory += chunk.memory
            if memory > most:
                raise StoreError(
                    f"{self.path} cannot be read at once: it asks for more than {most:,} bytes of "
                    "memory, far more than its files have. Ask for one tap, or for fewer columns."
                )
        return answers

    def _stream(self, read: Callable[[Piece], _T], pieces: Iterable[Piece]) -> Iterator[_T]:
        """What is read of pieces, one after the other: nobody keeps all of it.

        Not several at a time: what is beside may be a training, and answers that wait take memory.
        """
        for piece in pieces:
            try:
                answer = read(piece)
            except StoreError as error:
                self._drop(piece.chunk, error)
            yield answer

    def _drop(self, chunk: ChunkReader, error: StoreError) -> NoReturn:
        """Leave a damaged chunk out, and have the whole question asked again."""
        self._leave_out(chunk.number, error)
        self._choose()
        raise _ChunkDroppedError from error

    def _steps(self) -> dict[str, Array]:
        if "steps" not in self._cache:
            known, rest = self._begun(self._known_steps)
            before = [known.value] if known else []
            parts = [*before, *self._each(lambda chunk: chunk.steps(), rest)]
            names = [column.name for column in STEP_COLUMNS] + ["has_loss"]
            steps = {name: join(parts, name) for name in names}
            self._known_steps = Grown(steps, self.chunks)
            self._cache["steps"] = steps
        return self._cache["steps"]

    def _taps(self) -> list[TapInfo]:
        if "taps" not in self._cache:
            known, rest = self._begun(self._known_taps)
            listed = known or Grown(TapList(), [])
            for names, part in self._each(lambda chunk: chunk.listed(), rest):
                listed.value.add(names, part)
            for chunk in rest:
                chunk.forget()
            self._known_taps = Grown(listed.value, self.chunks)
            self._cache["taps"] = listed.value.taps()
        return self._cache["taps"]

    def _begun(self, grown: Grown[_T] | None) -> tuple[Grown[_T] | None, list[ChunkReader]]:
        """What is made of the first chunks already, and the chunks that are left."""
        rest = grown.rest(self._chunks) if grown else None
        return (None, self.chunks) if rest is None else (grown, rest)

    def _index(self) -> dict[tuple[str, str], int]:
        if "index" not in self._cache:
            taps = self._taps()
            self._cache["index"] = {(tap.layer, tap.quantity): i for i, tap in enumerate(taps)}
        return self._cache["index"]

    def _scalars(self, names: Sequence[str]) -> dict[str, Array]:
        return self._tables["scalars"].of(self._scope(), names)

    def _columns(self, table: str, names: Sequence[str]) -> dict[str, Any]:
        """Columns of all rows of a table of each chunk, chunk after chunk."""
        return self._tables[table].of(self._scope(), names)

    def _scope(self) -> Scope:
        return Scope(self._chunks, self._index(), self._each)

    def _tap_columns(
        self, table: str, layer: str, quantity: str, names: Sequence[str]
    ) -> dict[str, Any]:
        """Columns of one tap over all chunks that hold it; those of all taps may be known."""
        tap = self.find(layer, quantity)
        index = self._index()
        known = self._tables[table].values if table in self._tables else {}
        missing = [name for name in names if name not in known]
        found: dict[str, Any] = {}
        if missing:
            parts = self._each(lambda c: c.columns_of_tap(table, index, tap, missing))
            present = [part for part in parts if part is not None]
            found = {name: join(present, name) for name in missing}
        if len(missing) < len(names):
            rows = np.flatnonzero(known["tap"] == tap)
            found |= {name: pick(known[name], rows) for name in names if name in known}
        return found

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


def _frame_of(columns: dict[str, Any]) -> Frame:
    """Rollup rows of one tap as a frame. Its dtype is known elsewhere, and stays out."""
    n_rows = len(columns["n"])
    numbers = {name: column for name, column in columns.items() if name not in LIST_TYPES}
    numbers["dtype"] = np.zeros(n_rows, np.int64)
    lists = {name: columns[name] for name in LIST_TYPES}
    return Frame(np.zeros(n_rows, np.int64), numbers, lists)
