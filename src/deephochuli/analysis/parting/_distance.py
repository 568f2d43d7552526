"""How far apart two recorded histograms are, and how far chance alone would move them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import MAGNITUDE, SIGN
from deephochuli.store import Ragged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHANCE: Final = 1e-6
"""How often chance alone may exceed what is called ordinary, in one comparison."""
_CELLS_AT_ONCE: Final = 1 << 22


def ranks_of(keys: NDArray[np.uint16]) -> Ints:
    """Leading-bit keys in the order of the numbers that they stand for.

    Both zeros have rank 0; nan, of which there is one key, comes last.

    Example:
        >>> from deephochuli.kernels import key_of
        >>> values = [-2.0, -0.0, 0.0, 1.0, float("inf"), float("nan")]
        >>> ranks = ranks_of(np.array([key_of(v) for v in values], np.uint16))
        >>> bool(np.all(np.diff(ranks) >= 0)), int(ranks[1]), int(ranks[2])
        (True, 0, 0)
    """
    magnitude = (keys & MAGNITUDE).astype(np.int64)
    return np.where((keys & SIGN) != 0, -magnitude, magnitude)


def distances(
    one: tuple[Ragged, Ragged], rows: Ints, other: tuple[Ragged, Ragged], other_rows: Ints
) -> Floats:
    """Kolmogorov distance of pairs of histograms: max over x of |F(x) - G(x)|.

    Args:
        one: Keys and counts of histograms.
        rows: Which of them.
        other: Keys and counts of those that they are compared with.
        other_rows: Which of them, as many as `rows`.

    Returns:
        float64 in [0, 1], one per pair; 1 where exactly one of the two is empty.

    Numerics:
        F and G are shares of elements up to the upper end of a key, so a distance is that of the
        tensors themselves up to what happens inside of one key: a lower bound, exact at the edges.
        Counts are added as integers and divided once: a distance is within 2**-52 of the
        quotient. Source of the statistic: Kolmogorov 1933, Smirnov 1939.
    """
    found = np.zeros(len(rows))
    grid = np.unique(np.concatenate([ranks_of(one[0].values), ranks_of(other[0].values)]))
    at_once = max(1, _CELLS_AT_ONCE // max(1, len(grid)))
    for start in range(0, len(rows) if len(grid) else 0, at_once):
        part = slice(start, start + at_once)
        f, g = _shares(one, rows[part], grid), _shares(other, other_rows[part], grid)
        found[part] = np.abs(f - g).max(axis=1)
    return found


def _shares(histograms: tuple[Ragged, Ragged], rows: Ints, grid: Ints) -> Floats:
    """Share of elements up to each rank, one row per histogram; zero where it is empty."""
    keys, counts = histograms[0].take(rows), histograms[1].take(rows)
    row = np.repeat(np.arange(len(rows)), keys.lengths)
    cell = row * len(grid) + np.searchsorted(grid, ranks_of(keys.values))
    table = np.zeros(len(rows) * len(grid), np.int64)
    np.add.at(table, cell, counts.values)  # both zeros fall into one cell
    summed = table.reshape(len(rows), len(grid)).cumsum(axis=1)
    return summed / np.maximum(summed[:, -1:], 1)


def chance_of_sampling(n: Ints, m: Ints) -> Floats:
    """Kolmogorov distance that two samples of one distribution exceed with chance `CHANCE`.

    Args:
        n: Elements of the first sample, > 0.
        m: Elements of the second.

    Numerics:
        The first term of the limiting distribution, sqrt(ln(2/chance)/2 * (n+m)/(n*m)), which is
        an upper bound for independent elements up to a factor of at most e/2 in the chance
        (Wei and Dudley 2012, Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities).
        Elements of a tensor that depend on each other vary more.

    Example:
        >>> float(chance_of_sampling(np.array([1000]), np.array([1000]))[0]).__round__(4)
        0.1205
    """
    spread = (n + m) / np.maximum(n * m.astype(np.float64), 1.0)
    return np.minimum(1.0, np.sqrt(math.log(2 / CHANCE) / 2 * spread))
