"""Find the lattice that small values lie on, and what it is made by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis.barrier._bits import lowest_bits, trailing_zeros, ulps
from deephochuli.analysis.barrier._laws import distinct_p, trailing_upper
from deephochuli.analysis.barrier._tally import N_BINADES, Small, Tally, binade_counts
from deephochuli.formats import Format

Floats = NDArray[np.float64]
Owner = Literal["bias", "operands", "partial sums"]

N_TESTED = 64
"""The smallest values that the test of trailing zeros takes: the deeper, the more bits forced."""

CERTAIN = 1e-6
"""A lattice is accepted below this p-value."""

_FEWEST = 8
"""Values from which on the lowest bit of a channel is its spacing, but for a chance of 2^-8."""

_AGREEMENT = 0.9


@dataclass(frozen=True, slots=True)
class Lattice:
    """What the last bits of small values say.

    Attributes:
        n_values: Values whose trailing zero bits were counted: the smallest distinct ones.
        trailing_mean: Mean of their trailing zero bits; 1 without a lattice.
        p: Probability of as many or more without a lattice.
        n_distinct: Distinct magnitudes of one channel among all kept ones.
        n_expected: How many would be distinct if they fell into the cells of their format at
            random.
        distinct_p: Probability of as few or fewer distinct ones.
        spacing: Smallest spacing over the channels; None where there is no lattice. Where values
            repeat without trailing zeros, on a lattice that does not contain zero, it is the mean
            gap of the median channel.
        owner: What makes it: the ulp of the bias, which is added last; the operands, where already
            the exact values lie on it; or the last partial sum. None where there is no lattice.
        bias_format: Format in whose ulps the biases agree with the spacings; None without one.
        n_agreeing: Channels whose spacing is the ulp of their bias, or half of it.
        n_channels: Channels with enough values to tell.
        by_channel: (C,) spacing of each channel; NaN where it is not known.
    """

    n_values: int
    trailing_mean: float
    p: float
    n_distinct: int
    n_expected: float
    distinct_p: float
    spacing: float | None
    owner: Owner | None
    bias_format: str | None
    n_agreeing: int
    n_channels: int
    by_channel: tuple[float, ...]

    @property
    def is_there(self) -> bool:
        """Whether there is one, beyond reasonable doubt."""
        return self.spacing is not None


def lattice_of(
    tally: Tally, fmt: Format, accumulator: Format, bias: Floats | None = None
) -> Lattice:
    """Test the smallest values of a tally for a lattice, and name what makes it.

    Args:
        tally: The values.
        fmt: Format in which they are held.
        accumulator: Format in which partial sums were held.
        bias: (C,) biases, or None.

    Numerics:
        Near zero the last addition is exact (Sterbenz), so its result is a multiple of the ulp of
        the last addend: of the bias, if that is added last, or half of it where the other addend
        lies in the binade below. Trailing zeros of the 64 smallest distinct values are negative
        binomial without a lattice. The spacing of a channel is the lowest set bit of all its kept
        values; with n values it is too large by 2^j with probability 2^-jn. A lattice that does not
        contain zero (k spacing + b, with b no multiple) forces no zero bits, but values repeat:
        distinct ones are counted against what chance makes of the cells of the format.
    """
    small = _distinct(tally.small)
    tested = small.magnitude[:N_TESTED]
    counts = trailing_zeros(tested, fmt) if len(tested) else np.zeros(0, np.int64)
    p = trailing_upper(int(counts.sum()), len(counts))
    n_channels = len(tally.n)
    lows = _least(lowest_bits(small.magnitude), small.channel, n_channels)
    known = np.bincount(small.channel, minlength=n_channels) >= _FEWEST
    if not known.any():
        known = np.bincount(small.channel, minlength=n_channels) > 0
    agreeing, matched, spacings = _anchored(lows, bias, fmt, accumulator)
    seen, expected, repeats_p = _repeats(tally, small, fmt)
    owner: Owner | None = None
    if p < CERTAIN:
        inherited = (_least(small.grid, small.channel, n_channels) >= lows)[known].mean()
        owner = "partial sums"
        if inherited >= _AGREEMENT:
            owner = "operands"
        elif agreeing[known].mean() >= _AGREEMENT:
            owner = "bias"
    elif repeats_p < CERTAIN:
        owner = "partial sums"
    spacing = spacings if owner == "bias" else np.where(known, lows, np.nan)
    least = float(np.nanmin(spacing)) if p < CERTAIN else _mean_gap(tally, small)
    return Lattice(
        n_values=len(counts),
        trailing_mean=float(counts.mean()) if len(counts) else math.nan,
        p=p,
        n_distinct=int(seen.sum()),
        n_expected=expected,
        distinct_p=repeats_p,
        spacing=least if owner else None,
        owner=owner,
        bias_format=matched if owner == "bias" else None,
        n_agreeing=int(agreeing[known].sum()),
        n_channels=int(known.sum()),
        by_channel=tuple(spacing.tolist()) if owner else (),
    )


def _distinct(small: Small) -> Small:
    """One entry a channel and magnitude: values that only come back tell nothing new."""
    if not len(small):
        return small
    new = np.append(True, np.diff(small.magnitude) != 0)
    new |= np.append(True, np.diff(small.channel) != 0)
    return small.take(new)


def _repeats(tally: Tally, small: Small, fmt: Format) -> tuple[NDArray[np.int64], float, float]:
    """Distinct kept values by channel and binade, how many chance predicts, and its p-value."""
    first, last = _kept_columns(tally, fmt)
    seen = binade_counts(small.magnitude, small.channel, len(tally.n), tally.near_below)
    seen, values = seen[:, first:last], tally.binades[:, first:last]
    fresh = fresh_share(tally.small)
    expected, p = distinct_p(
        int(seen.sum()),
        np.multiply(values.ravel(), fresh, dtype=np.float64),
        2.0 ** (fmt.precision - 1),
    )
    return seen, expected, p


def _kept_columns(tally: Tally, fmt: Format) -> tuple[int, int]:
    """Binades of the tally that are kept whole, and lie in the normal range of the format."""
    top = round(math.log2(tally.near_below))
    first = top - round(math.log2(tally.kept_below)) if tally.kept_below > 0 else N_BINADES
    return first, max(first, min(N_BINADES - 1, top - fmt.emin))


def _mean_gap(tally: Tally, small: Small) -> float:
    """Mean distance of neighbouring values, both signs folded into one, in the median channel."""
    counts = np.bincount(small.channel, minlength=len(tally.n))
    return 2 * tally.kept_below / float(np.median(counts[counts > 0])) if len(small) else math.nan


def fresh_share(small: Small) -> float:
    """Share of small values that came from inputs not met before; 1 where origins are not known."""
    known = small.origin != 0
    times = int(small.times[known].sum())
    return int(known.sum()) / times if times else 1.0


def _least(values: Floats, channel: NDArray[np.int32], n_channels: int) -> Floats:
    """The smallest value of each channel; inf for none."""
    least = np.full(n_channels, np.inf)
    np.minimum.at(least, channel, values)
    return least


def _anchored(
    lows: Floats, bias: Floats | None, fmt: Format, accumulator: Format
) -> tuple[NDArray[np.bool_], str | None, Floats]:
    """Where spacings are ulps of biases, in the better of two formats, and these ulps.

    The bias may be added in the format of the partial sums, or after rounding in that of the
    results.
    """
    best = np.zeros(len(lows), bool)
    if bias is None:
        return best, None, np.full(len(lows), np.nan)
    matched, spacings = None, ulps(bias, accumulator)
    for each in dict.fromkeys((accumulator, fmt)):
        steps = ulps(bias, each)
        agreeing = (bias != 0) & ((lows == steps) | (lows == steps / 2))
        if matched is None or agreeing.sum() > best.sum():
            best, matched, spacings = agreeing, each.name, steps
    return best, matched, spacings
