"""How much the signs of rounding errors speak against a rounding without bias, at any time.

Two wagers are kept for each tensor and direction, each of which gains nothing on average while the
rounding has no bias:

- the *tilted* one takes the elements of a step as independent and knows where each exact result
  lies between its two neighbours: any unbiased rounding to a neighbour gains at most as much as
  stochastic rounding does;
- the *self-normalised* one takes a step as one observation, whatever the elements of a step have to
  do with each other, and asks only that the mean error of a step is as likely to have either sign.

By Ville's inequality (1939) either ever reaches 1 / alpha with probability at most alpha, however
long a run is and however often it is looked at. The alarm asks for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STAKES: Final[Floats] = np.array([sign * 2.0**k for k in range(-10, 2) for sign in (-1, 1)])
"""Stakes of the tilted wagers, per gap between two neighbours; their capital is shared equally."""


def tilted_gains(errors: Floats, below: Floats, above: Floats) -> Floats:
    """Logarithm of what each stake gains in one step.

    Args:
        errors: Signed errors in gaps between neighbours, seen along the direction, [..., elements].
        below: How far an error can go below zero, >= 0; for faithful rounding the distance to the
            lower neighbour.
        above: How far it can go above zero.

    Returns:
        [..., stakes]

    Numerics:
        sum (lambda e - log E exp(lambda e)) with the largest expectation that an error with mean 0
        in [-a, b] can have, (a exp(lambda b) + b exp(-lambda a)) / (a + b) (Hoeffding 1963, proof
        of theorem 2), which stochastic rounding attains.

    Example:
        >>> half = np.full(3, 0.5)
        >>> bool((tilted_gains(half, half, half) > 0)[STAKES > 0].all())
        True
    """
    width = below + above
    a, b, total_width = below[..., None, :], above[..., None, :], width[..., None, :]
    stakes = STAKES[:, None]
    weighed = a * np.exp(stakes * b) + b * np.exp(-stakes * a)
    expected = np.where(total_width > 0, weighed, 1.0) / np.where(total_width > 0, total_width, 1.0)
    return STAKES * errors.sum(-1)[..., None] - np.log(expected).sum(-1)


def tilted_evidence(gains: npt.ArrayLike) -> Floats:
    """Logarithm of the capital of all stakes, from the sums of their gains [..., stakes]."""
    sums = np.asarray(gains, np.float64)
    most = sums.max(-1, keepdims=True)
    return np.log(np.exp(sums - most).mean(-1)) + most[..., 0]


def self_normalised_evidence(total: npt.ArrayLike, squares: npt.ArrayLike) -> Floats:
    """Logarithm of the capital of the self-normalised wager.

    Args:
        total: Sum S of steps, each over a scale that was known before.
        squares: Sum V of their squares.

    Numerics:
        The mixture of exp(lambda S - lambda^2 V / 2) over a standard normal lambda:
        S^2 / (2 (1 + V)) - log(1 + V) / 2. For terms that are symmetric given the past each of them
        is a supermartingale (de la Pena 1999, Annals of Probability 27, lemma 6.1; the mixture:
        Robbins 1970).
    """
    s, v = np.asarray(total, np.float64), np.asarray(squares, np.float64)
    return s * s / (2 * (1 + v)) - np.log1p(v) / 2


@dataclass(slots=True)
class Evidence:
    """The two wagers on one tensor in one direction, and the means of its steps.

    Attributes:
        means: Mean error of each step, in gaps.
        gains: Sums of the gains of the tilted stakes.
        total: Sum of the steps over their scales.
        squares: Sum of squares of the same.
        peak: Largest logarithm of the evidence so far.
    """

    means: list[float] = field(default_factory=list[float])
    gains: Floats = field(default_factory=lambda: np.zeros(len(STAKES)))
    total: float = 0.0
    squares: float = 0.0
    peak: float = 0.0

    def add(self, errors: Floats, below: Floats, above: Floats) -> float:
        """Take in the errors of one step; returns the logarithm of the evidence after it."""
        mean = float(errors.mean())
        scale = math.sqrt(sum(x * x for x in self.means) / len(self.means)) if self.means else 0.0
        self.means.append(mean)
        if scale:
            self.total += mean / scale
            self.squares += (mean / scale) ** 2
        self.gains += tilted_gains(errors, below, above)
        self.peak = max(self.peak, self.now)
        return self.now

    @property
    def now(self) -> float:
        """Logarithm of the evidence: of the smaller one of the two wagers."""
        by_steps = float(self_normalised_evidence(self.total, self.squares))
        return min(float(tilted_evidence(self.gains)), by_steps)
