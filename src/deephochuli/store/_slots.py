"""Histograms by half binade: what is kept of one over time, where keys would take too much room."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._ragged import Ragged, offsets_of

MAGNITUDE: Final = 0x7FFF
SIGN: Final = 0x8000
KEYS_PER_BINADE_LOG2: Final = 4

Ints = NDArray[np.int64]


def half_binades(keys: Ints) -> Ints:
    """Slot of a magnitude key: even slots hold exactly a power of two, odd ones the open binade.

    Nearly every threshold of a format is a power of two, so shares at any time bin stay exact on
    both sides of it, ties included. Zero, infinity and NaN have slots of their own: 0, 4094, 4095.

    Example:
        >>> half_binades(np.array([0, 0x3FF0, 0x3FF1, 0x3FFF, 0x7FF0, 0x7FF8])).tolist()
        [0, 2046, 2047, 2047, 4094, 4095]
    """
    exact = (keys & ((1 << KEYS_PER_BINADE_LOG2) - 1)) == 0
    return (keys >> KEYS_PER_BINADE_LOG2) * 2 + ~exact


_SLOT_OF_KEY: Final = np.concatenate(
    [half_binades(np.arange(MAGNITUDE + 1)), half_binades(np.arange(MAGNITUDE + 1)) | SIGN]
).astype(np.uint16)


def by_half_binade(keys: Ragged, counts: Ragged) -> tuple[Ragged, Ragged]:
    """Histograms by leading-bit key become histograms by half binade; the sign bit stays.

    Returns:
        Slots of each row, uint16 with the sign in bit 15, and the sum of the counts of each.
    """
    if not len(keys.values):
        return Ragged(keys.values.astype(np.uint16), keys.offsets, keys.present), counts
    slots = _SLOT_OF_KEY[keys.values]
    is_start = np.ones(len(slots), np.bool_)
    is_start[1:] = slots[1:] != slots[:-1]
    filled = keys.lengths > 0
    is_start[keys.offsets[:-1][filled]] = True
    starts = np.flatnonzero(is_start)
    offsets = offsets_of(np.diff(np.searchsorted(starts, keys.offsets)))
    sums = np.add.reduceat(counts.values, starts)
    return Ragged(slots[starts], offsets, keys.present), Ragged(sums, offsets, keys.present)
