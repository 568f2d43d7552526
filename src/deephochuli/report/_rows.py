"""Run tables as plain arrays: which tap each row belongs to, its counts, its histogram.

A report of a thousand taps and a thousand steps is a few passes of numpy over these arrays, and no
loop over rows.
"""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from deephochuli.store import Ragged, RunReader

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COUNTS: Final = (
    *("n", "n_zero", "n_subnormal", "n_inf", "n_nan", "n_channels", "n_silent_channels"),
    *("n_per_channel", "n_updatable", "n_unmoved"),
)
FLOATS: Final = ("sum", "sum_sq", "min_abs", "max_abs")
LISTS: Final = ("key", "count", "positive", "ratio", "ratio_count")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one run table.

    Attributes:
        tap: Index of each row's tap among the taps of the run.
        first: First step that the row covers.
        last: Last step that the row covers.
        numbers: Columns of numbers by name; -1 or nan where nothing was measured.
        lists: Columns of lists by name.
    """

    tap: Ints
    first: Ints
    last: Ints
    numbers: Mapping[str, npt.NDArray[Any]]
    lists: Mapping[str, Ragged]

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.tap.size)


def read_curves(reader: RunReader, columns: Sequence[str]) -> Rows:
    """One row per tap and recorded step, some columns of numbers, no lists."""
    table = reader.all_scalars(columns)
    numbers = {name: table[name] for name in columns}
    return Rows(table["tap"], table["step"], table["step"], numbers, {})


def read_rollups(reader: RunReader) -> Rows:
    """One row per tap and chunk, with lists."""
    rollups = reader.rollups(LISTS)
    return Rows(rollups.tap, rollups.step_first, rollups.step_last, rollups.numbers, rollups.lists)


def read_every_step(reader: RunReader) -> Rows:
    """One row per tap and recorded step, with lists: for short runs, at the finest resolution."""
    damaged = {damage.chunk for damage in reader.damaged}
    files = [
        folder / "taps.parquet"
        for folder in sorted(reader.path.glob("chunk-*"))
        if folder.name not in damaged
    ]
    names = ["layer", "quantity", "step", *COUNTS, *FLOATS, *LISTS]
    table = pa.concat_tables([_read_table(str(file), names) for file in files])
    steps = _ints(table, "step")
    numbers: dict[str, npt.NDArray[Any]] = {name: _ints(table, name) for name in COUNTS}
    numbers |= {name: _floats(table, name) for name in FLOATS}
    lists = {name: _ragged(table, name) for name in LISTS}
    return Rows(_tap_numbers(table, reader), steps, steps, numbers, lists)


def _read_table(file: str, names: list[str]) -> Any:
    """Some columns of a Parquet file."""
    with pq.ParquetFile(file) as opened:
        return opened.read(columns=names)


def _tap_numbers(table: Any, reader: RunReader) -> Ints:
    """Index in ``reader.taps()`` of each row's (layer, quantity)."""
    layers, layer_names = _codes(table, "layer")
    quantities, quantity_names = _codes(table, "quantity")
    numbers = np.full((len(layer_names), len(quantity_names)), -1, dtype=np.int64)
    known = {(tap.layer, tap.quantity): number for number, tap in enumerate(reader.taps())}
    for i, layer in enumerate(layer_names):
        for j, quantity in enumerate(quantity_names):
            numbers[i, j] = known.get((layer, quantity), -1)
    return numbers[layers, quantities]


def _codes(table: Any, name: str) -> tuple[Ints, list[str]]:
    """A text column as integer codes and the texts that they stand for."""
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    chunk = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    return chunk.indices.to_numpy(zero_copy_only=False).astype(
        np.int64
    ), chunk.dictionary.to_pylist()


def _ints(table: Any, name: str) -> Ints:
    """An integer column with -1 for null."""
    return table.column(name).cast(pa.int64()).fill_null(-1).to_numpy()


def _floats(table: Any, name: str) -> Floats:
    """A float column with nan for null."""
    return table.column(name).cast(pa.float64()).fill_null(float("nan")).to_numpy()


def _ragged(table: Any, name: str) -> Ragged:
    """A list column; a null list has length 0."""
    chunks = table.column(name).chunks
    lengths = [
        chunk.value_lengths().fill_null(0).to_numpy(zero_copy_only=False) for chunk in chunks
    ]
    present = [chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in chunks]
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]).astype(np.int64))
    flat = np.concatenate([np.zeros(0, np.int64), *values]).astype(np.int64, copy=False)
    return Ragged(flat, offsets, np.concatenate([np.zeros(0, np.bool_), *present]))
