"""What two runs recorded at one place, step by step, in a form that can be laid side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store import Ragged, RunReader, TapInfo

Array = NDArray[Any]

Key = tuple[str, str]
"""Layer and quantity."""

MOST_ROWS: Final = 200_000
"""Rows of all runs together, one per place and recorded step, that are read at once."""
_LISTS: Final = ("key", "count", "positive", "zero", "nonfinite", "ratio", "ratio_count")
_COUNTS: Final = ("calls", "n", "n_per_channel", "n_updatable", "n_unmoved")
_EXTREMES: Final = ("min_abs", "max_abs")
_SUMS: Final = ("sum", "sum_sq")


@dataclass(frozen=True, slots=True, eq=False)
class TapRows:
    """One tap of one run over its recorded steps.

    Attributes:
        info: The tap.
        steps: Recorded steps that hold it, increasing.
        digest: uint64 per step: equal where everything that was recorded is equal.
        coarse: The same without the sums, which another back end rounds in another order.
        keys: Leading-bit keys of each step.
        counts: Their counts.
    """

    info: TapInfo
    steps: NDArray[np.int64]
    digest: NDArray[np.uint64]
    coarse: NDArray[np.uint64]
    keys: Ragged
    counts: Ragged


class RunRows(Mapping[Key, TapRows]):
    """Everything that a run recorded, by layer and quantity, read when it is asked for.

    A run of few rows is read at once. One of many would not fit into memory, some kilobytes a row:
    its places are read one by one, without the counts per channel.
    """

    def __init__(self, run: RunReader, *, at_once: bool) -> None:
        """Read from `run`; digests can only be compared between runs that are read alike."""
        self._run = run
        self._at_once = at_once
        self._all: dict[Key, TapRows] = {}
        self._taps = {(tap.layer, tap.quantity): tap for tap in run.taps()}

    def __getitem__(self, key: Key) -> TapRows:
        if not self._at_once:
            return _read_place(self._run, self._taps[key])
        if not self._all:
            self._all = _read_all(self._run)
        return self._all[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._taps)

    def __len__(self) -> int:
        return len(self._taps)

    def infos(self) -> Iterable[TapInfo]:
        """The places, without what was recorded there."""
        return self._taps.values()


def read_rows(*runs: RunReader) -> list[RunRows]:
    """What runs recorded, in a form that can be laid side by side."""
    n_rows = sum(tap.n_records for run in runs for tap in run.taps())
    return [RunRows(run, at_once=n_rows <= MOST_ROWS) for run in runs]


def _read_all(run: RunReader) -> dict[Key, TapRows]:
    """All places of a run of few rows."""
    records = run.records(_LISTS)
    lists = [records.lists[name] for name in _LISTS]
    digest, coarse = _digests(records.numbers, lists)
    order = np.lexsort((records.step_first, records.tap))
    taps = run.taps()
    bounds = np.searchsorted(records.tap[order], np.arange(len(taps) + 1))
    found: dict[Key, TapRows] = {}
    for index, info in enumerate(taps):
        rows = order[bounds[index] : bounds[index + 1]]
        found[info.layer, info.quantity] = TapRows(
            info=info,
            steps=records.step_first[rows],
            digest=digest[rows],
            coarse=coarse[rows],
            keys=records.lists["key"].take(rows),
            counts=records.lists["count"].take(rows),
        )
    return found


def _read_place(run: RunReader, info: TapInfo) -> TapRows:
    """One place of a run of many rows."""
    numbers = run.scalars(info.layer, info.quantity)
    steps, histograms = run.history(info.layer, info.quantity)
    keys = Ragged.of([keys for keys, _ in histograms], np.uint16)
    counts = Ragged.of([counts for _, counts in histograms], np.int64)
    digest, coarse = _digests(numbers, [keys, counts])
    return TapRows(info, steps, digest, coarse, keys, counts)


def _digests(
    columns: Mapping[str, Array], lists: Sequence[Ragged]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """One number per row for all that was recorded, and one for all but the sums."""
    numbers, sums = _bits_of(columns, _COUNTS + _EXTREMES), _bits_of(columns, _SUMS)
    whole, coarse = np.empty(len(numbers), np.uint64), np.empty(len(numbers), np.uint64)
    for row in range(len(numbers)):
        made = blake2b(numbers[row].tobytes(), digest_size=8)
        for column in lists:
            values = column[row]
            made.update(b"-" if values is None else len(values).to_bytes(4, "little"))
            made.update(b"" if values is None else values.tobytes())
        coarse[row] = int.from_bytes(made.digest(), "little")
        made.update(sums[row].tobytes())
        whole[row] = int.from_bytes(made.digest(), "little")
    return whole, coarse


def _bits_of(columns: Mapping[str, Array], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Columns beside each other, 8 bytes each; integers and floats keep all of their bits."""
    chosen = [columns[name] for name in names]
    wide = [c.astype(np.float64 if c.dtype.kind == "f" else np.int64) for c in chosen]
    return np.stack([column.view(np.int64) for column in wide], axis=1)
