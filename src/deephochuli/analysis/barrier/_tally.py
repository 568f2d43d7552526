"""What is kept of the pre-activations of one layer: counts, the smallest values, block minima."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import SketchError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

N_BINADES = 64
BLOCK = 1 << 17
MAX_BLOCKS = 1 << 16
ORIGINS_A_VALUE = 2


@dataclass(frozen=True, slots=True)
class Small:
    """The values below a threshold, equal ones of equal origin in one entry.

    Attributes:
        magnitude: (n,) |z|, nonzero.
        channel: (n,) int32.
        origin: (n,) uint64, a hash of the inputs that the value was computed from; equal inputs
            have equal hashes. 0 where they are not known.
        grid: (n,) the largest power of two of which all products and the bias are multiples, so
            that the exact value is one too; 0 where it is not known.
        times: (n,) int64, how often the value came from this origin.
    """

    magnitude: Floats
    channel: NDArray[np.int32]
    origin: NDArray[np.uint64]
    grid: Floats
    times: Counts

    @classmethod
    def none(cls) -> Small:
        """No values."""
        return cls(
            np.zeros(0),
            np.zeros(0, np.int32),
            np.zeros(0, np.uint64),
            np.zeros(0),
            np.zeros(0, np.int64),
        )

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self.magnitude)

    def take(self, index: NDArray[Any]) -> Small:
        """Some of them."""
        return Small(*(getattr(self, name)[index] for name in _COLUMNS))

    def joined(self) -> Small:
        """Equal entries made one, in the order of magnitudes, and two origins a value at most.

        Two are enough to tell a value that comes back because its inputs do from one that many
        inputs are rounded to. They are those of the smallest hashes, so that it does not matter in
        which order entries are joined.
        """
        if not len(self):
            return self
        order = np.lexsort((self.origin, self.channel, self.magnitude))
        these = self.take(order)
        new_value = _changes(these.magnitude) | _changes(these.channel)
        new_entry = new_value | _changes(these.origin)
        starts = np.flatnonzero(new_entry)
        merged = replace(these.take(starts), times=np.add.reduceat(these.times, starts))
        heads = np.flatnonzero(new_value[starts])
        rank = np.arange(len(starts)) - np.repeat(heads, np.diff(np.append(heads, len(starts))))
        return merged.take(rank < ORIGINS_A_VALUE)


_COLUMNS = ("magnitude", "channel", "origin", "grid", "times")


def _changes(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.append(True, column[1:] != column[:-1])


@dataclass(frozen=True, slots=True)
class Blocks:
    """Runs of values in the order in which they came.

    Attributes:
        size: (n,) values in each, 2^17 or fewer at the end of a batch.
        near: (n,) how many of them are near zero.
        minimum: (n,) smallest nonzero magnitude near zero; infinite where there is none.
    """

    size: Counts
    near: Counts
    minimum: Floats

    @classmethod
    def none(cls) -> Blocks:
        """No blocks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def halved(self) -> Blocks:
        """Join neighbours, so that memory stays bounded however much is counted."""
        starts = np.arange(0, len(self.size), 2)
        if not len(starts):
            return self
        return Blocks(
            np.add.reduceat(self.size, starts),
            np.add.reduceat(self.near, starts),
            np.minimum.reduceat(self.minimum, starts),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """Pre-activations of one layer, as far as the question what limits them needs them.

    Attributes:
        n: (C,) values by channel, structural ones left out.
        n_structural: (C,) values whose products are all zero: z is the bias, whatever the format.
        n_zero: (C,) exact zeros that are not structural.
        n_zero_shadow: (C,) those of them that are zero in binary64 too.
        near_below: Values below this power of two are near zero.
        binades: (C, 64) nonzero magnitudes near zero, in [t/2, t), [t/4, t/2), ...; the last
            column holds all smaller ones.
        above: (64,) finite magnitudes of all channels in [t, 2t), [2t, 4t), ...; the last column
            holds all larger ones.
        kept_below: Values below this power of two are kept.
        small: These values, at most `capacity` of them.
        capacity: How many are kept; `kept_below` is lowered when there are more.
        blocks: Minima of runs of values.

    Numerics:
        Counts are exact, and merging is addition, union and minimum: the result does not depend on
        the grouping, as long as there are fewer than 2^16 blocks, beyond which neighbours are
        joined.
    """

    n: Counts
    n_structural: Counts
    n_zero: Counts
    n_zero_shadow: Counts
    near_below: float
    binades: Counts
    above: Counts
    kept_below: float
    small: Small
    capacity: int
    blocks: Blocks

    @classmethod
    def empty(cls, n_channels: int, near_below: float, capacity: int) -> Tally:
        """A tally of no values."""
        zeros = np.zeros(n_channels, np.int64)
        binades = np.zeros((n_channels, N_BINADES), np.int64)
        return cls(
            n=zeros,
            n_structural=zeros,
            n_zero=zeros,
            n_zero_shadow=zeros,
            near_below=near_below,
            binades=binades,
            above=np.zeros(N_BINADES, np.int64),
            kept_below=near_below,
            small=Small.none(),
            capacity=capacity,
            blocks=Blocks.none(),
        )

    @property
    def near(self) -> Counts:
        """(C,) values near zero, exact zeros included."""
        return self.binades.sum(1) + self.n_zero

    @property
    def smallest(self) -> float:
        """The smallest nonzero magnitude; infinite where none was near zero."""
        return float(np.min(self.blocks.minimum, initial=np.inf))

    def histogram(self) -> dict[int, int]:
        """Nonzero finite magnitudes of all channels in [2^e, 2^(e+1)), by e where there are any."""
        top = math.frexp(self.near_below)[1] - 1
        below = self.binades.sum(0)
        counts = {top - 1 - j: int(count) for j, count in enumerate(below)}
        counts |= {top + j: int(count) for j, count in enumerate(self.above)}
        return {e: counts[e] for e in sorted(counts) if counts[e]}

    def merge(self, *others: Tally) -> Tally:
        """The tally of all values of this one and of others."""
        return merge_tallies((self, *others))

    def to_json(self) -> dict[str, Any]:
        """Everything as what JSON holds; floats keep all their bits."""
        small, blocks = self.small, self.blocks
        return {
            "n": self.n.tolist(),
            "n_structural": self.n_structural.tolist(),
            "n_zero": self.n_zero.tolist(),
            "n_zero_shadow": self.n_zero_shadow.tolist(),
            "near_below": self.near_below,
            "binades": self.binades.tolist(),
            "above": self.above.tolist(),
            "kept_below": self.kept_below,
            "small": [getattr(small, name).tolist() for name in _COLUMNS],
            "capacity": self.capacity,
            "blocks": [
                blocks.size.tolist(),
                blocks.near.tolist(),
                [None if math.isinf(each) else each for each in blocks.minimum.tolist()],
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        """The tally that `to_json` wrote."""
        magnitude, channel, origin, grid, times = data["small"]
        size, near, minimum = data["blocks"]
        counts = {
            name: np.asarray(data[name], np.int64)
            for name in ("n", "n_structural", "n_zero", "n_zero_shadow", "binades", "above")
        }
        return cls(
            **counts,
            near_below=data["near_below"],
            kept_below=data["kept_below"],
            small=Small(
                np.asarray(magnitude, np.float64),
                np.asarray(channel, np.int32),
                np.asarray(origin, np.uint64),
                np.asarray(grid, np.float64),
                np.asarray(times, np.int64),
            ),
            capacity=data["capacity"],
            blocks=Blocks(
                np.asarray(size, np.int64),
                np.asarray(near, np.int64),
                np.asarray([math.inf if each is None else each for each in minimum], np.float64),
            ),
        )


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Merge tallies of the same layer.

    Raises:
        SketchError: There is none, or they were taken with other channels or thresholds.
    """
    parts = tuple(tallies)
    if not parts:
        raise SketchError("There is no tally to merge: give at least one.")
    first = parts[0]
    for part in parts[1:]:
        _check_alike(first, part)
    merged = replace(
        first,
        n=_total([part.n for part in parts]),
        n_structural=_total([part.n_structural for part in parts]),
        n_zero=_total([part.n_zero for part in parts]),
        n_zero_shadow=_total([part.n_zero_shadow for part in parts]),
        binades=_total([part.binades for part in parts]),
        above=_total([part.above for part in parts]),
        kept_below=min(part.kept_below for part in parts),
        small=_joined_small([part.small for part in parts]),
        blocks=_joined_blocks([part.blocks for part in parts]),
    )
    return capped(merged)


def capped(tally: Tally) -> Tally:
    """Keep no more values than there is room for, by lowering the threshold in powers of two."""
    small = tally.small.joined()
    small = small.take(small.magnitude < tally.kept_below)
    below = lowered(small.magnitude, tally.kept_below, tally.capacity)
    return replace(tally, kept_below=below, small=small.take(small.magnitude < below))


def lowered(magnitudes: Floats, below: float, capacity: int) -> float:
    """The largest of t, t/2, t/4, ... below which there are at most `capacity` magnitudes.

    It stays above the smallest magnitude: where more values than that are equal to it, they are
    kept.
    """
    floor = float(np.min(magnitudes, initial=np.inf))
    while below / 2 > floor and int((magnitudes < below).sum()) > capacity:
        below /= 2
    return below


def binade_counts(
    magnitude: Floats, channel: NDArray[Any], n_channels: int, below: float
) -> Counts:
    """Counts (C, 64) of magnitudes in [t/2, t), [t/4, t/2), ... by channel; t is a power of two."""
    top = math.frexp(below)[1] - 1
    column = np.clip(top - np.frexp(magnitude)[1], 0, N_BINADES - 1)
    counts = np.bincount(
        channel.astype(np.int64) * N_BINADES + column, minlength=n_channels * N_BINADES
    )
    return counts.reshape(n_channels, N_BINADES).astype(np.int64)


def _check_alike(first: Tally, other: Tally) -> None:
    mine = (len(first.n), first.near_below, first.capacity)
    theirs = (len(other.n), other.near_below, other.capacity)
    if mine != theirs:
        raise SketchError(
            "Tallies can be merged if they have the same channels, threshold and capacity: got "
            f"{mine} and {theirs}. Count all parts with the same near_below and capacity."
        )


def _total(parts: list[Any]) -> Any:
    return np.sum(np.stack(parts), axis=0)


def _joined_small(parts: list[Small]) -> Small:
    return Small(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))


def _joined_blocks(parts: list[Blocks]) -> Blocks:
    blocks = Blocks(
        np.concatenate([part.size for part in parts]),
        np.concatenate([part.near for part in parts]),
        np.concatenate([part.minimum for part in parts]),
    )
    while len(blocks.size) > MAX_BLOCKS:
        blocks = blocks.halved()
    return blocks
