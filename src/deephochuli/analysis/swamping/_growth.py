"""How swamping grows with the number of addends, predicted from the addends themselves."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from deephochuli.formats import Format

Float64s = npt.NDArray[np.float64]

MULTIPLES = (1, 4, 16, 64)
_N_LENGTHS, _N_LEVELS, _MOST_SUMS = 16, 16, 64
_LEVELS = np.array([NormalDist().inv_cdf((i + 0.5) / _N_LEVELS) for i in range(_N_LEVELS)])


def predicted_shares(addends: Float64s, fmt: Format) -> tuple[tuple[int, float], ...]:
    """Share of absorbed additions in sequential sums of K, 4K, 16K and 64K addends.

    Args:
        addends: A row for each sampled sum; zeros are not counted.
        fmt: Format of the accumulator.

    Returns:
        Pairs of a number of addends (zeros included) and the predicted share.

    Numerics:
        The model is a random walk: after k addends with mean m and deviation s the partial sum is
        normal with mean k m and deviation s sqrt(k), and the next addend, drawn from the same
        addends, is absorbed where its magnitude is at most ulp(partial sum) / 2. The share is the
        mean over k = 1 .. K - 1, by quadrature at 16 lengths and 16 quantiles. For K itself the
        walk is known to end in the sum, so that its deviation is s sqrt(k (1 - k / K)); beyond K a
        mean within three standard errors of zero counts as zero. The model knows nothing of the
        order of the addends, of ties, of the smaller gap below powers of two, and of partial sums
        that are absorbed by an addend.
    """
    n_addends = addends.shape[1]
    picked = addends[:: max(1, len(addends) // _MOST_SUMS)]
    walks = [each for row in picked if len(each := np.abs(row[row != 0])) > 1]
    signed = [each for row in picked if len(each := row[row != 0]) > 1]
    if not walks:
        return tuple((m * n_addends, math.nan) for m in MULTIPLES)
    shares: list[tuple[int, float]] = []
    for multiple in MULTIPLES:
        each = [
            _walk(np.sort(sizes), values, multiple, fmt)
            for sizes, values in zip(walks, signed, strict=True)
        ]
        weights = np.array([len(values) - 1 / multiple for values in signed])
        shares.append((multiple * n_addends, float(np.average(each, weights=weights))))
    return tuple(shares)


def _walk(sizes: Float64s, values: Float64s, multiple: int, fmt: Format) -> float:
    """Share of absorbed additions in a walk `multiple` times as long as the addends are many."""
    n_values, mean, spread = len(values), float(values.mean()), float(values.std())
    length = multiple * n_values
    if length > _N_LENGTHS:
        edges = np.linspace(1, length, _N_LENGTHS + 1)
        k = (edges[:-1] + edges[1:]) / 2
    else:
        k = np.arange(1.0, length)
    if multiple > 1:
        mean = mean if abs(mean) > 3 * spread / math.sqrt(n_values) else 0.0
    left = 1 - k / length if multiple == 1 else 1.0
    sums = k[:, None] * mean + (np.sqrt(k * left) * spread)[:, None] * _LEVELS
    return float(np.mean(np.searchsorted(sizes, half_ulp(sums, fmt), side="right") / n_values))


def half_ulp(x: Float64s, fmt: Format) -> Float64s:
    """Half the gap of the binade of each number; 0 among subnormals, which absorb nothing."""
    exponent = np.frexp(x)[1] - 1
    half = np.ldexp(1.0, exponent - fmt.precision)
    return np.where((x == 0) | (exponent < fmt.emin), 0.0, half)
