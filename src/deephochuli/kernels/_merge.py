"""Adding up what several passes counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels._contract import Summary, TensorJob
from deephochuli.kernels._key import N_KEYS


def merge_counts(
    parts: Sequence[tuple[NDArray[np.uint16], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Add counts by key.

    Args:
        parts: Pairs (keys, counts); the keys of each pair are strictly increasing.

    Returns:
        The keys that occur in any part, strictly increasing, and their total counts.

    Numerics:
        Integer arithmetic throughout: exact below 2**63 elements, associative, commutative.
    """
    if len(parts) == 1:
        return parts[0]
    all_keys = np.concatenate([keys for keys, _ in parts])
    all_counts = np.concatenate([counts for _, counts in parts])
    if len(all_keys) == 0:
        return all_keys, all_counts
    if len(all_keys) > N_KEYS:
        total = np.zeros(N_KEYS, np.int64)
        np.add.at(total, all_keys, all_counts)
        merged = np.flatnonzero(total)
        return merged.astype(np.uint16), total[merged]
    order = np.argsort(all_keys, kind="stable")
    ordered = all_keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.add.reduceat(all_counts[order], starts)


def merge_summaries(parts: Sequence[Summary]) -> Summary:
    """Add up summaries of tensors of one kind (sums in the order given)."""
    if len(parts) == 1:
        return parts[0]
    keys, counts = merge_counts([(part.keys, part.counts) for part in parts])
    channels = parts[0].channels
    for part in parts[1:]:
        if (
            channels is None
            or part.channels is None
            or len(channels.zero) != len(part.channels.zero)
        ):
            channels = None
            break
        channels = channels.merge(part.channels)
    return Summary(
        keys,
        counts,
        math.fsum(part.sum for part in parts),
        math.fsum(part.sum_sq for part in parts),
        smallest(part.min_abs for part in parts),
        largest(part.max_abs for part in parts),
        channels,
    )


def smallest(values: Iterable[float]) -> float:
    """Smallest of some numbers, NaN standing for "none"; NaN when there is none."""
    return min((v for v in values if v == v), default=math.nan)


def largest(values: Iterable[float]) -> float:
    """Largest of some numbers, NaN standing for "none"; NaN when there is none."""
    return max((v for v in values if v == v), default=math.nan)


class EagerRows:
    """Rows for back ends whose work is done when the call returns."""

    def __init__(self, summarise: Callable[[Sequence[TensorJob]], list[Summary]]) -> None:
        """Gather the results of one back end's ``summarise``."""
        self._summarise = summarise
        self._parts: dict[int, list[Summary]] = {}

    def add(self, row: int, job: TensorJob) -> None:
        """Count one more tensor into a row."""
        summaries = self._summarise([job])  # may fail, and must leave nothing behind then
        self._parts.setdefault(row, []).extend(summaries)

    def read(self) -> dict[int, Summary]:
        """Return the rows that were added to, and empty all rows."""
        rows = {row: merge_summaries(parts) for row, parts in self._parts.items()}
        self._parts = {}
        return rows
