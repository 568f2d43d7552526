"""How the smallest magnitude falls with the number of values: the exponent, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from deephochuli.analysis.barrier._laws import Interval
from deephochuli.analysis.barrier._tally import Blocks

EULER = 0.5772156649015329
_LOG_VARIANCE = math.pi**2 / 6
"""Variance of the logarithm of an exponential variable; its mean is log(scale) - EULER."""

_FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Law:
    """Smallest magnitudes of groups of values, and the power law through them.

    Attributes:
        n: (k,) values in a group.
        scale: (k,) mean of the smallest magnitude, estimated from exp(mean log + 0.577).
        low: (k,) lower ends of intervals.
        high: (k,) upper ends.
        n_groups: (k,) groups of this size.
        exponent: Slope of log scale against log n; rarity predicts -1.
    """

    n: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n_groups: tuple[int, ...]
    exponent: Interval


def law_of(blocks: Blocks, confidence: float = 0.95, *, largest: float = math.inf) -> Law | None:
    """Fit cutoff ~ N^exponent to the minima of groups of blocks; None for fewer than 8 blocks.

    Args:
        blocks: Minima of runs of values.
        confidence: Of intervals.
        largest: Form no groups of more values than this, but for the two smallest sizes, which a
            line needs.

    Numerics:
        The blocks are dealt out to sizes 1, 2, 4, ... blocks a group, each block to one size, so
        that the estimates are independent: about as many values to each size. Minima are
        exponential if rarity decides, so the mean logarithm of n groups has variance pi^2 / (6 n);
        the line is fitted by least squares with these weights, and its interval follows from them
        alone. A lattice or the range makes smallest magnitudes stop falling: the exponent rises
        towards 0.
    """
    usable = np.isfinite(blocks.minimum)
    size, minimum = blocks.size[usable].astype(np.float64), blocks.minimum[usable]
    if len(size) < _FEWEST_BLOCKS:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    levels = _levels(len(size), largest / float(size.mean()))
    logs: list[float] = []
    sizes: list[float] = []
    groups: list[int] = []
    at = 0
    for level, n_groups in enumerate(levels):
        width = 1 << level
        part = slice(at, at + width * n_groups)
        at = part.stop
        minima = minimum[part].reshape(n_groups, width).min(1)
        sizes.append(float(size[part].sum()) / n_groups)
        logs.append(float(np.log(minima).mean()) + EULER)
        groups.append(n_groups)
    errors = np.sqrt(_LOG_VARIANCE / np.array(groups))
    y = np.array(logs)
    return Law(
        n=tuple(sizes),
        scale=tuple(np.exp(y).tolist()),
        low=tuple(np.exp(y - z * errors).tolist()),
        high=tuple(np.exp(y + z * errors).tolist()),
        n_groups=tuple(groups),
        exponent=_slope(np.log(np.array(sizes)), y, errors, z),
    )


def _levels(n_blocks: int, widest: float) -> list[int]:
    """Groups at each size 1, 2, 4, ...: as equal shares of the blocks as whole groups allow."""
    allowed = math.log2(min(max(1.0, widest), n_blocks))
    n_levels = max(2, min(int(math.log2(n_blocks)) - 1, int(allowed) + 1))
    share = n_blocks // n_levels
    groups = [share >> level for level in range(n_levels)]
    return [n for n in groups if n]


def _slope(x: np.ndarray, y: np.ndarray, errors: np.ndarray, z: float) -> Interval:
    """Weighted least squares with known errors."""
    weights = 1 / errors**2
    centred = x - float((weights * x).sum() / weights.sum())
    spread = float((weights * centred**2).sum())
    slope = float((weights * centred * y).sum()) / spread
    half = z / math.sqrt(spread)
    return Interval(slope, slope - half, slope + half)
