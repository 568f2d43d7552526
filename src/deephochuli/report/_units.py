"""Which channels never fire: the share of positive pre-activations by channel and time bin."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.report._codes import Blob
from deephochuli.report._gather import exact_sums
from deephochuli.report._rows import Ints, Rows
from deephochuli.report._timeline import Timeline

SILENT: Final = 0
ALWAYS: Final = 15
UNKNOWN: Final = 255


def activity_codes(positive: Ints, seen: Ints) -> npt.NDArray[np.uint8]:
    """Activity of each cell in 16 levels.

    Args:
        positive: Number of positive pre-activations.
        seen: Number of pre-activations looked at; 0 where nothing was measured.

    Returns:
        0 where none was positive, 15 where all were, ``1 + floor(14 share)`` between (so that
        neither end is ever rounded to), 255 where nothing was measured.
    """
    share = positive / np.maximum(seen, 1)
    level = 1 + np.floor(14 * share)
    level = np.where(positive == 0, SILENT, np.where(positive >= seen, ALWAYS, level))
    return np.where(seen > 0, level, UNKNOWN).astype(np.uint8)


def add_units(
    blob: Blob, prefix: str, rows: Rows, bins: Timeline, n_taps: int
) -> list[dict[str, Any]]:
    """Pack the activity of every channel of every tap that has channels.

    Returns:
        For each such tap its number and its number of channels, in the order of the arrays.
    """
    if "positive" not in rows.lists:
        return []
    channels = _channels(rows, n_taps)
    start = np.concatenate([[0], np.cumsum(channels * len(bins))]).astype(np.int64)
    positive, seen = _by_cell(rows, bins, start)
    blob.add(f"{prefix}units.codes", "u1", activity_codes(positive, seen), delta=False)
    return [{"tap": int(tap), "channels": int(channels[tap])} for tap in np.flatnonzero(channels)]


def _channels(rows: Rows, n_taps: int) -> Ints:
    """Number of channels of each tap, 0 where it has none."""
    channels = np.zeros(n_taps, dtype=np.int64)
    np.maximum.at(channels, rows.tap, rows.lists["positive"].lengths)
    return channels


def _by_cell(rows: Rows, bins: Timeline, start: Ints) -> tuple[Ints, Ints]:
    """Positive and seen elements by tap, channel and time bin."""
    positive = rows.lists["positive"]
    row = np.repeat(np.arange(len(rows)), positive.lengths)
    channel = np.arange(positive.values.size) - positive.offsets[row]
    where = start[rows.tap[row]] + channel * len(bins) + bins.place(rows.first)[row]
    seen = rows.numbers["n_per_channel"][row]
    size = int(start[-1])
    return exact_sums(where, positive.values, size), exact_sums(where, seen, size)
