"""The lemma behind the theorem: how often a unit with a random bias bends."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def most_bends(
    variation: ArrayLike,
    width: Floats,
    n_crossings: ArrayLike,
    *,
    density: float = 0.5,
    n_kinks: int = 1,
) -> Floats:
    """Upper bound on the expected number of bends of units whose biases carry noise.

    Args:
        variation: Total variation V of each pre-activation along the segment; or C times the
            length of the segment, which is at least as large.
        width: w, what the random number theta is multiplied by in each bias: eps |D| for relative
            noise; 0 for a bias without noise.
        n_crossings: Bends of units without noise, which are taken as they are.
        density: Largest value of the density of theta: 1/2 for uniform on [-1, 1].
        n_kinks: Places at which the activation bends.

    Returns:
        As many numbers as there are units; one more than their sum bounds the number of regions.

    Numerics:
        density V / w for each kink: the number of points at which h crosses a level c has the
        integral V over c (co-area formula), and the level has a density of at most density / w
        (Lemma 3.1 of Karner, Kazeev, Petersen, 2024, as the project derives it). In float64.

    Example:
        >>> most_bends([1.0, 1.0], np.array([0.25, 0.0]), [1, 1]).tolist()
        [2.0, 1.0]
    """
    random = width > 0
    expected = n_kinks * density * np.asarray(variation) / np.where(random, width, 1.0)
    # Where nothing varies nothing bends, even if the law of the noise has no density.
    expected = np.where(np.asarray(variation) == 0, 0.0, expected)
    return np.where(random, expected, np.asarray(n_crossings, dtype=np.float64))
