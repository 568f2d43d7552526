"""Tap rows of one step become columns: checked, copied, and completed by what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import FormatError, StoreError
from deephochuli.formats import format_of_dtype
from deephochuli.store._checks import list_faults, total_faults
from deephochuli.store._merge import channel_numbers
from deephochuli.store._ragged import LIST_TYPES, Array, Frame, Ragged
from deephochuli.store._rows import TapRow
from deephochuli.store._taps import Taps

MAGNITUDE = 0x7FFF
INFINITE = 0x7FF0
_GIVEN: dict[str, Any] = {
    "calls": np.int64,
    "sum": np.float64,
    "sum_sq": np.float64,
    "min_abs": np.float64,
    "max_abs": np.float64,
}
_GIVEN_OR_NOT = ("n_updatable", "n_unmoved")


def step_frame(step: int, rows: Sequence[TapRow], taps: Taps) -> Frame:
    """Columns of the taps of one step, with copies of all arrays.

    Raises:
        StoreError: A row contradicts itself, or a tap comes twice.
    """
    lists = {name: Ragged.of(_column(rows, name), kind) for name, kind in LIST_TYPES.items()}
    _check(rows, list_faults(lists))
    tap = taps.indices(rows)
    if len(np.unique(tap)) != len(tap):
        _refuse(rows, _repeated(tap), "it comes twice in one step; merge its sketches first")
    dtype = taps.dtype_indices(rows)
    numbers: dict[str, Array] = {
        "step_first": np.full(len(rows), step, np.int64),
        "step_last": np.full(len(rows), step, np.int64),
        "n_steps": np.ones(len(rows), np.int64),
        "dtype": dtype,
    }
    numbers |= {name: np.array(_column(rows, name), kind) for name, kind in _GIVEN.items()}
    for name in _GIVEN_OR_NOT:
        values: list[int | None] = _column(rows, name)
        numbers[name] = np.array([-1 if value is None else value for value in values], np.int64)
    numbers |= count_kinds(lists["key"], lists["count"], _least_normal_keys(taps.dtypes)[dtype])
    numbers |= channel_numbers(lists["positive"])
    numbers["n_per_channel"] = _elements_per_channel(rows, numbers)
    _check(rows, total_faults(lists, numbers))
    return Frame(tap, numbers, lists)


def sound_rows(step: int, rows: Sequence[TapRow], taps: Taps) -> list[TapRow]:
    """Rows that do not contradict themselves, each tap once."""
    found: list[TapRow] = []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        with suppress(StoreError, TypeError, ValueError):
            step_frame(step, [row], taps)
            if (row.layer, row.quantity) not in seen:
                seen.add((row.layer, row.quantity))
                found.append(row)
    return found


def _column(rows: Sequence[TapRow], name: str) -> list[Any]:
    return list(map(attrgetter(name), rows))


def _check(rows: Sequence[TapRow], faults: Iterable[tuple[NDArray[np.bool_], str]]) -> None:
    """Refuse the first row at fault."""
    for wrong, fault in faults:
        if wrong.any():
            _refuse(rows, wrong, fault)


def _refuse(rows: Sequence[TapRow], wrong: NDArray[np.bool_], fault: str) -> None:
    row = rows[int(np.flatnonzero(wrong)[0])]
    raise StoreError(f"Tap {row.layer!r}, quantity {row.quantity!r}: {fault}.")


def _repeated(tap: NDArray[np.int64]) -> NDArray[np.bool_]:
    _, first = np.unique(tap, return_index=True)
    wrong = np.ones(len(tap), np.bool_)
    wrong[first] = False
    return wrong


def count_kinds(keys: Ragged, counts: Ragged, least_normal: NDArray[np.int64]) -> dict[str, Array]:
    """Zeros, subnormals, infinities and nans of each row, from its histogram.

    Args:
        keys: Leading-bit keys.
        counts: Their counts.
        least_normal: For each row, key of the smallest normal magnitude of its dtype.
    """
    magnitude = keys.values & MAGNITUDE
    floor = np.repeat(least_normal, keys.lengths)

    def total(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return _add_chosen(counts, np.flatnonzero(chosen))

    return {
        "n": counts.totals(),
        "n_zero": total(magnitude == 0),
        "n_subnormal": total((magnitude < floor) & (magnitude > 0)),
        "n_inf": total(magnitude == INFINITE),
        "n_nan": total(magnitude > INFINITE),
    }


def _add_chosen(counts: Ragged, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum over some elements of each row; fast because they are few."""
    sums = np.zeros(len(counts), np.int64)
    np.add.at(sums, np.searchsorted(counts.offsets, chosen, "right") - 1, counts.values[chosen])
    return sums


def _least_normal_keys(dtypes: Sequence[str]) -> NDArray[np.int64]:
    return np.array([least_normal_key(name) for name in dtypes], np.int64)


@lru_cache(maxsize=256)
def least_normal_key(dtype: str) -> int:
    """Key of the smallest normal magnitude of a dtype; 0 if it has no subnormals, as an integer.

    It is a power of two, so that its key stands for this value alone: smaller keys, smaller values.
    """
    try:
        smallest = np.float64(format_of_dtype(dtype).smallest_normal)
    except FormatError:
        return 0
    return int(smallest.view(np.uint64) >> np.uint64(49)) << 1


def _elements_per_channel(rows: Sequence[TapRow], numbers: dict[str, Array]) -> NDArray[np.int64]:
    """Elements over channels, which must be whole; 0 for no channels, -1 for none counted."""
    n, channels = numbers["n"], numbers["n_channels"]
    whole = np.where(channels > 0, n // np.maximum(channels, 1), 0)
    if (wrong := (channels >= 0) & (whole * channels != n)).any():
        _refuse(rows, wrong, "the counts of channels do not divide its elements")
    return np.where(channels >= 0, whole, -1)
