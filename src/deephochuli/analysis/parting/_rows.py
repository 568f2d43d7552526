"""What two runs recorded at one place, step by step, in a form that can be laid side by side."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store import Ragged, Rollups, RunReader, TapInfo

Key = tuple[str, str]
"""Layer and quantity."""

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


def read_rows(run: RunReader) -> dict[Key, TapRows]:
    """Everything that a run recorded, by layer and quantity.

    This holds all histograms of the run in memory: some kilobytes per tap and recorded step.
    """
    records = run.records(_LISTS)
    digest, coarse = _digests(records)
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


def _digests(records: Rollups) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """One number per row for all that was recorded, and one for all but the sums."""
    n = len(records)
    numbers = _bytes_of(records, _COUNTS + _EXTREMES)
    sums = _bytes_of(records, _SUMS)
    lists = [records.lists[name] for name in _LISTS]
    whole, coarse = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for row in range(n):
        made = blake2b(numbers[row].tobytes(), digest_size=8)
        for column in lists:
            values = column[row]
            made.update(b"-" if values is None else len(values).to_bytes(4, "little"))
            made.update(b"" if values is None else values.tobytes())
        coarse[row] = int.from_bytes(made.digest(), "little")
        made.update(sums[row].tobytes())
        whole[row] = int.from_bytes(made.digest(), "little")
    return whole, coarse


def _bytes_of(records: Rollups, names: tuple[str, ...]) -> NDArray[Any]:
    """Columns beside each other, 8 bytes each; integers and floats keep all of their bits."""
    columns = [records.numbers[name] for name in names]
    wide = [
        c.astype(np.float64 if c.dtype.kind == "f" else np.int64).view(np.int64) for c in columns
    ]
    return np.stack(wide, axis=1) if len(records) else np.empty((0, len(names)), np.int64)
