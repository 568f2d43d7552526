"""Decide what limits the smallest pre-activations of a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deephochuli.analysis.barrier._bits import Floats
from deephochuli.analysis.barrier._lattice import Lattice, fresh_share, lattice_of
from deephochuli.analysis.barrier._laws import (
    Interval,
    bins_p,
    cutoff,
    cutoff_p,
    density,
    poisson_two_sided,
    poisson_upper,
    spread_p,
    uniform_p,
)
from deephochuli.analysis.barrier._tally import Blocks, Tally
from deephochuli.formats import Format

Limit = Literal["rarity", "bias", "lattice", "range", "undecided"]
"""What limits the smallest magnitudes: how many values there are, a lattice of the spacing of the
bias's ulp, a lattice made by something else, the end of the format's range; or it is not known."""

REJECTED = 1e-3
"""Rarity is rejected, and an explanation of zeros refused, below this p-value."""

FEWEST_NEAR = 20
"""Fewer values near zero than this do not tell the density there."""


@dataclass(frozen=True, slots=True)
class Rarity:
    """What follows from the number of values and their density at zero alone.

    Attributes:
        p0: Density of z at zero.
        n_effective: Values that count: those that only come back because their inputs do count
            once.
        cutoff: Smallest nonzero magnitude seen.
        predicted: 1 / (2 N p0), with the range in which the smallest of N lies.
        p: Probability that the smallest is as large as it is, or larger.
        bins_p: Of counts per binade against halving counts.
        uniform_p: Of small magnitudes against the uniform law.
    """

    p0: Interval
    n_effective: float
    cutoff: float
    predicted: Interval
    p: float
    bins_p: float
    uniform_p: float


@dataclass(frozen=True, slots=True)
class Zeros:
    """Exact zeros that are not structural. Rarity predicts none.

    Attributes:
        seen: How many there are.
        in_shadow: How many of them are zero in binary64 from the same operands too.
        by_range: Expected because what is below half the smallest number becomes zero.
        range_p: Probability of as many or more by the range.
        by_lattice: Expected from the lattice of the biases; NaN without one.
        lattice_p: Two-sided probability of their number if these two make them; NaN without one.
    """

    seen: int
    in_shadow: int
    by_range: float
    range_p: float
    by_lattice: float
    lattice_p: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What limits the smallest magnitudes of one layer, and the evidence.

    Attributes:
        limit: The verdict.
        because: The verdict's reason, in one sentence with numbers.
        n: Values, structural ones left out.
        n_structural: Values whose products are all zero.
        n_near: Values near zero.
        rarity: What rarity predicts, and what was seen.
        zeros: Exact zeros.
        lattice: What the last bits say.
        visible_from: Number of values at which the lattice shows an exact zero with probability
            1/2; infinite without a lattice.
    """

    limit: Limit
    because: str
    n: int
    n_structural: int
    n_near: int
    rarity: Rarity
    zeros: Zeros
    lattice: Lattice
    visible_from: float


def judge(
    tally: Tally,
    fmt: Format,
    *,
    accumulator: Format | None = None,
    bias: Floats | None = None,
    confidence: float = 0.95,
) -> Judgement:
    """Decide between rarity, a lattice, the bias and the range.

    Args:
        tally: Pre-activations of one layer.
        fmt: Format in which they are held.
        accumulator: Format of the partial sums; None: `fmt`.
        bias: (C,) biases of the layer, float64, or None.
        confidence: Of intervals.

    Numerics:
        Rarity is rejected by an exact zero, which it does not know, or by a smallest magnitude that
        it gives a probability below 0.001. What is to blame then must explain what was seen: the
        range if the zeros do not exceed what it makes of this density, or the smallest magnitude is
        the smallest number there is, and no coarser lattice is proven; a lattice if trailing zeros
        or repeated values prove one (p < 1e-6). The
        bias is its owner if its ulp is the spacing channel by channel. A lattice far below the
        smallest magnitude limits nothing yet, and the verdict is rarity.

    Example:
        >>> import torch
        >>> from deephochuli.analysis.barrier._count import count
        >>> from deephochuli.formats import BINARY64
        >>> g = torch.Generator().manual_seed(0)
        >>> z = torch.randn(1 << 16, 1, 1, generator=g, dtype=torch.float64)
        >>> judge(count(z, 2.0**-4, 512), BINARY64).limit
        'rarity'
    """
    lattice = lattice_of(tally, fmt, accumulator or fmt, bias)
    n, n_near = int(tally.n.sum()), int(tally.near.sum())
    steps = _steps(tally, lattice, fmt)
    p0 = _density(tally, steps, confidence)
    effective = n * fresh_share(tally.small)
    smallest = tally.smallest
    finite = math.isfinite(smallest) and n_near > 0
    rarity = Rarity(
        p0=p0,
        n_effective=effective,
        cutoff=smallest,
        predicted=cutoff(effective, p0.value, confidence),
        p=cutoff_p(effective, p0.low, smallest) if finite else math.nan,
        bins_p=bins_p(tally.binades.sum(0)),
        uniform_p=uniform_p(tally.small.magnitude, tally.kept_below),
    )
    zeros = _zeros(tally, fmt, lattice, steps, p0.value)
    limit, because = _verdict(rarity, zeros, lattice, fmt, n_near)
    total = zeros.by_lattice if lattice.owner == "bias" else _rate(lattice, p0.value, n)
    return Judgement(
        limit=limit,
        because=because,
        n=n,
        n_structural=int(tally.n_structural.sum()),
        n_near=n_near,
        rarity=rarity,
        zeros=zeros,
        lattice=lattice,
        visible_from=math.log(2) * n / total if total > 0 else math.inf,
    )


def dispersion(blocks: Blocks) -> float:
    """Variance of the counts near zero of full blocks, over that of Poisson counts.

    Blocks hold successive values; where inputs are correlated or repeat, their counts vary more
    than chance alone would let them. 1 unless they do so with p < 0.01, so that intervals of
    independent values stay as they should be.
    """
    full = blocks.size >= 0.5 * np.max(blocks.size, initial=0)
    size, near = blocks.size[full], blocks.near[full]
    if len(size) < 2 or not near.sum():
        return 1.0
    expected = size * (near.sum() / size.sum())
    statistic = float(((near - expected) ** 2 / expected).sum())
    return statistic / (len(size) - 1) if spread_p(statistic, len(size) - 1) < 0.01 else 1.0


def _density(tally: Tally, steps: Floats, confidence: float) -> Interval:
    """p0; rounded |z| < t holds for what was below t - step / 2 before it was rounded."""
    near, n = tally.near, int(tally.n.sum())
    below = tally.near_below
    if near.sum():
        below = float(near.sum() / (near / (below - steps / 2)).sum())
    return density(int(near.sum()), n, below, confidence, dispersion(tally.blocks))


def _steps(tally: Tally, lattice: Lattice, fmt: Format) -> Floats:
    """(C,) spacing of the values that z can have at zero: of the bias's lattice, or the range."""
    steps = np.full(len(tally.n), _smallest_number(fmt))
    if lattice.owner == "bias":
        steps = np.maximum(steps, np.array(lattice.by_channel))
    return np.minimum(steps, tally.near_below)


def _smallest_number(fmt: Format) -> float:
    return float(fmt.smallest_subnormal if fmt.has_subnormals else fmt.smallest_normal)


def _zeros(tally: Tally, fmt: Format, lattice: Lattice, steps: Floats, p0: float) -> Zeros:
    seen, n = int(tally.n_zero.sum()), int(tally.n.sum())
    by_range = n * p0 * _smallest_number(fmt) if n else 0.0
    by_lattice = lattice_p = math.nan
    if lattice.owner == "bias":
        by_lattice = float((tally.near * steps / (2 * tally.near_below - steps)).sum())
        lattice_p = poisson_two_sided(seen, by_lattice + by_range)
    return Zeros(
        seen=seen,
        in_shadow=int(tally.n_zero_shadow.sum()),
        by_range=by_range,
        range_p=poisson_upper(seen, by_range),
        by_lattice=by_lattice,
        lattice_p=lattice_p,
    )


def _rate(lattice: Lattice, p0: float, n: int) -> float:
    return n * p0 * lattice.spacing if lattice.spacing is not None else 0.0


def _verdict(
    rarity: Rarity, zeros: Zeros, lattice: Lattice, fmt: Format, n_near: int
) -> tuple[Limit, str]:
    if n_near < FEWEST_NEAR:
        return "undecided", f"only {n_near} values are near zero; {FEWEST_NEAR} are needed"
    if not zeros.seen and rarity.p >= REJECTED:
        return "rarity", (
            f"no exact zero, and a smallest magnitude of {rarity.cutoff:.3g} has probability "
            f"{rarity.p:.2g} where 1/(2 N p0) = {rarity.predicted.value:.3g}"
        )
    if zeros.seen:
        seen = f"{zeros.seen} exact zeros, which rarity does not make"
    else:
        seen = f"nothing below {rarity.cutoff:.3g}, which rarity gives {rarity.p:.1g}"
    if _is_range(rarity, zeros, lattice, fmt):
        return "range", f"{seen}; the range of {fmt.name} makes {zeros.by_range:.3g}"
    if lattice.owner == "bias":
        return "bias", (
            f"{seen}; the spacing is the bias's ulp in {lattice.n_agreeing} of "
            f"{lattice.n_channels} channels, and makes {zeros.by_lattice:.3g}"
        )
    if lattice.is_there:
        return "lattice", f"{seen}; values lie on a lattice made by the {lattice.owner}"
    return "undecided", f"{seen}; but neither a lattice nor the range explains it"


def _is_range(rarity: Rarity, zeros: Zeros, lattice: Lattice, fmt: Format) -> bool:
    """Whether the end of the range explains what rarity does not, and no coarser lattice does."""
    if lattice.spacing is not None and lattice.spacing > _smallest_number(fmt):
        return False
    if zeros.seen:
        return zeros.range_p >= REJECTED
    return rarity.cutoff <= 2 * _smallest_number(fmt)
