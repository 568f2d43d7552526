"""How a row of counters lies in the memory of a GPU, and what it says.

A row, in 64-bit words: counters of sign, exponent, 3 significand bits and sticky bit; counters of
23 subnormal binades for each sign; then sum, sum of squares, and the extremes of the magnitudes as
numbers that grow from zero: NO_LOW - smallest, largest + 1. The kernels in Triton and in
``count.cu`` are written for the same numbers.
"""

# numpy's arrays have no types in torch's signatures.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels._contract import Summary, UpdateSummary
from deephochuli.kernels._key import INFINITY, NAN, SIGN
from deephochuli.kernels._layout import FLOAT8_TYPES, table_of

N_MAIN = 1 << 13
TINY_HALF = 23 * 16
SUM_AT = N_MAIN + 2 * TINY_HALF
LOW_AT = SUM_AT + 2
ROW_WORDS = SUM_AT + 4
# What an update has beside its three rows: exponent differences, updatable and unmoved elements.
N_RATIOS = 1 << 10
RATIO_ZERO = 1 << 9
EXTRA_WORDS = N_RATIOS + 2
NO_LOW = 0x7FFFFFFF  # magnitudes have 31 bits

BINARY32, BFLOAT16, BINARY16, TABLE8 = 0, 2, 3, 4
KINDS: dict[torch.dtype, int] = {
    torch.float32: BINARY32,
    torch.bfloat16: BFLOAT16,
    torch.float16: BINARY16,
    **dict.fromkeys(FLOAT8_TYPES, TABLE8),
}
"""Element types that kernels know; the codes of eight-bit ones are looked up in a table."""


@functools.cache
def table_on(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """What the codes of an eight-bit type widen to; any tensor for the other types."""
    if dtype not in FLOAT8_TYPES:
        return torch.zeros(1, dtype=torch.int64, device=device)
    return torch.from_numpy(table_of(dtype).view(np.int32)).to(device)


@functools.cache
def _keys() -> NDArray[np.uint16]:
    """The leading-bit key of each counter of a row; NaN for the many that no number has."""
    index = np.arange(N_MAIN)
    exponent = (index >> 4) & 255
    keys = ((index >> 12) << 15) | ((exponent + 896) << 4) | (index & 15)
    keys[exponent == 0] = (index[exponent == 0] >> 12) << 15
    keys[exponent == 255] = NAN
    for sign, at in ((0, 255 << 4), (SIGN, (1 << 12) | (255 << 4))):
        keys[at] = sign | INFINITY
    tiny = np.arange(TINY_HALF) + (874 << 4)
    return np.concatenate([keys, tiny, tiny | SIGN]).astype(np.uint16)


@functools.cache
def _by_key() -> NDArray[np.int64]:
    """The counters of a row in the order of their keys."""
    return np.argsort(_keys(), kind="stable")


@functools.cache
def _by_key_on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(_by_key()).to(device)


def picked(words: torch.Tensor) -> list[torch.Tensor]:
    """What is to be known of rows: where counters are not zero, these, and what is behind them.

    Args:
        words: (rows, ROW_WORDS), int64, on any device. Its host waits for the number of counters.

    Returns:
        Places in the order of rows and keys, counts, and (rows, 4) sums and extremes, all int64.
    """
    ordered = words.index_select(1, _by_key_on(words.device)).view(-1)
    places = ordered.nonzero().squeeze(1)
    return [places, ordered.index_select(0, places), words[:, SUM_AT:]]


def summaries_of(
    places: NDArray[np.int64],
    counts: NDArray[np.int64],
    tails: NDArray[np.int64],
) -> list[Summary]:
    """Make readable what `picked` found: a summary for each row."""
    row, at = np.divmod(places, SUM_AT)
    keys = _keys()[_by_key()[at]]
    first = np.flatnonzero(np.diff(row << 16 | keys, prepend=-1))  # NaN has many counters, one key
    if len(first) < len(keys):
        keys, row, counts = keys[first], row[first], np.add.reduceat(counts, first)
    ends = np.searchsorted(row, np.arange(len(tails) + 1)).tolist()
    moments = tails[:, :2].copy().view(np.float64).tolist()
    extremes = tails[:, 2:].tolist()
    found: list[Summary] = []
    for i, (below, above) in enumerate(extremes):
        low, high = _value(NO_LOW - below if below else None), _value(above - 1 if above else None)
        own, (total, squares) = slice(ends[i], ends[i + 1]), moments[i]
        found.append(Summary(keys[own], counts[own], total, squares, low, high))
    return found


def _value(pattern: int | None) -> float:
    """The magnitude with a binary32 pattern, whatever the flush-to-zero flags; NaN for none."""
    if pattern is None:
        return math.nan
    exponent, fraction = pattern >> 23, pattern & 0x7FFFFF
    if exponent == 0:
        return math.ldexp(fraction, -149)
    return math.ldexp(fraction | 0x800000, exponent - 150)


def update_summaries_of(
    summaries: Sequence[Summary], extras: NDArray[np.int64], *, has_gradient: bool
) -> list[UpdateSummary]:
    """Put together three rows for each optimizer step and what is beside them."""
    found: list[UpdateSummary] = []
    for i, extra in enumerate(extras):
        weight, gradient, update = summaries[3 * i : 3 * i + 3]
        ratios = np.flatnonzero(extra[:N_RATIOS])
        beside = int(extra[N_RATIOS]), int(extra[N_RATIOS + 1])
        kept = (ratios - RATIO_ZERO).astype(np.int16), extra[ratios].copy()
        found.append(
            UpdateSummary(weight, gradient if has_gradient else None, update, *beside, *kept)
        )
    return found
