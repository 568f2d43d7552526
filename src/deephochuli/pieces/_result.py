"""What a count found, and how to read it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bend import segment_of
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._program import Program

_CHUNK = 1 << 22  # numbers of one layer that are evaluated at a time
_MOST_LAYERS = 12  # that a text names


@dataclass(frozen=True, slots=True)
class Interval:
    """Two whole numbers with the truth between them; equal when it is known.

    Attributes:
        low: The smallest count that the rounding errors allow.
        high: The largest; inf where it is beyond all floats.
    """

    low: int
    high: int | float

    @property
    def is_certain(self) -> bool:
        """Whether there is only one possible count."""
        return self.low == self.high

    def nearest(self, n: int) -> int:
        """The model's count, where it is one of those that are possible."""
        return int(min(max(n, self.low), self.high))

    def beside(self, other: Interval) -> Interval:
        """What the count of two neighbouring parts can be, which share a region where they meet."""
        return Interval(self.low + other.low - 1, self.high + other.high - 1)

    def __contains__(self, n: int) -> bool:
        """Whether a count is possible."""
        return self.low <= n <= self.high

    def __str__(self) -> str:
        return f"{self.low}" if self.is_certain else f"{self.low} to {self.high:.6g}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which unit bends at a breakpoint.

    Attributes:
        layer: Path of its module.
        unit: Its number in the flattened output of that module.
    """

    layer: str
    unit: int


@dataclass(frozen=True, slots=True, eq=False)
class LineCount:
    """Activation regions and affine pieces of a function along one segment.

    A region is a maximal open interval on which no unit changes its side of a knot; a piece is one
    on which the function is affine. Two neighbouring regions are one piece when the bend between
    them does not reach the output.

    Attributes:
        n_regions: Number of regions, as float64 sees it.
        n_pieces: Number of pieces, as float64 sees it.
        regions: What the number of regions can be, rounding errors considered.
        pieces: What the number of pieces can be.
        t: Breakpoints, ascending, in (0, 1); shape (n_regions - 1,).
        jump: Largest magnitude by which the slope of an output changes at each, per unit of length.
        layer: Number of the layer whose unit bends at each, an index into `layers`.
        unit: Number of that unit.
        layers: Paths of the layers that bend, in the order of the program.
        is_bend: Whether the function bends at each breakpoint, as float64 sees it.
        n_ambiguous: Places that the error bounds could not decide; 0 after an exact count.
        n_exact: Places that were decided in exact arithmetic.
        length: Euclidean length of the segment.
        n_units: Number of units that can bend.
        max_error: Largest bound on the error of the outputs along the segment (2-norm).
    """

    n_regions: int
    n_pieces: int
    regions: Interval
    pieces: Interval
    t: NDArray[np.float64]
    jump: NDArray[np.float64]
    layer: NDArray[np.int32]
    unit: NDArray[np.int32]
    layers: tuple[str, ...]
    is_bend: NDArray[np.bool_]
    n_ambiguous: int
    n_exact: int
    length: float
    n_units: int
    max_error: float
    _program: Program = field(repr=False)
    _ends: Rows = field(repr=False)

    @property
    def is_certain(self) -> bool:
        """Whether both counts are known beyond rounding errors."""
        return self.regions.is_certain and self.pieces.is_certain

    @property
    def smallest_gap(self) -> float:
        """Shortest region, as a share of the segment.

        Numerics:
            The difference of two places that are rounded to float64.
        """
        return float(np.diff(self.t, prepend=0.0, append=1.0).min())

    def origin(self, i: int) -> Origin:
        """Which unit bends at breakpoint i."""
        return Origin(self.layers[int(self.layer[i])], int(self.unit[i]))

    def bends_by_layer(self) -> dict[str, int]:
        """How many breakpoints each layer makes, in the order of the program."""
        found = dict.fromkeys(self.layers, 0)
        for name, n in zip(self.layers, self.tally()[0], strict=True):
            found[name] += n  # a module that is used twice has two entries in `layers`
        return found

    def tally(self) -> tuple[list[int], list[int]]:
        """How many breakpoints each layer makes, and how many of them bend the function."""
        n = len(self.layers)
        all_of, bending = self.layer, self.layer[self.is_bend]
        return np.bincount(all_of, minlength=n).tolist(), np.bincount(bending, minlength=n).tolist()

    def inputs(self, t: NDArray[np.float64]) -> Rows:
        """Points of the segment, shape (places, numel of an input)."""
        return points(self._ends, t)

    def evaluate(self, t: NDArray[np.float64] | None = None) -> Rows:
        """Outputs at places of the segment.

        Args:
            t: Places in [0, 1]; the ends and all breakpoints when not given.

        Returns:
            Shape (places, numel of the output).

        Numerics:
            float64 forward passes of the module at x0 + t (x1 - x0).
        """
        t = self.places() if t is None else np.asarray(t, dtype=np.float64)
        nothing = np.zeros((0, math.prod(self._program.output_shape)))
        return np.concatenate([nothing, *(self._program.evaluate(x) for x in self._chunks(t))])

    def places(self) -> NDArray[np.float64]:
        """The ends and all breakpoints: on the intervals between them the function is affine."""
        return np.concatenate([[0.0], self.t, [1.0]])

    def patterns(self) -> NDArray[np.int8]:
        """On which side of its knots each unit is, in each region.

        Returns:
            Shape (n_regions, n_units): the number of knots below a unit's number, or for a maximum
            the number of the candidate that is largest.

        Numerics:
            Evaluated in float64 at the middle of each region; in a region as thin as a rounding
            error that may see a neighbour's pattern.
        """
        places = self.places()
        middles = 0.5 * (places[1:] + places[:-1])
        return np.concatenate([self._pattern(x) for x in self._chunks(middles)])

    def _pattern(self, x: Rows) -> NDArray[np.int8]:
        found: list[NDArray[np.int8]] = []
        steps = self._program.steps
        values = {0: x}
        for i, after in self._program.run(x):
            op, source = steps[i].op, values[steps[i].inputs[0]]
            if isinstance(op, Elementwise):
                found.append(segment_of(op, source).astype(np.int8))
            elif isinstance(op, Maximum):
                found.append(op.candidates(source).argmax(axis=2).astype(np.int8))
            values = after
        return np.concatenate(found, axis=1) if found else np.zeros((len(x), 0), np.int8)

    def _chunks(self, t: NDArray[np.float64]) -> Iterator[Rows]:
        widest = max((step.op.size for step in self._program.steps), default=1)
        size = max(1, _CHUNK // max(widest, 1))
        for begin in range(0, len(t), size):
            yield self.inputs(t[begin : begin + size])

    def __str__(self) -> str:
        return _text(self)


def points(ends: Rows, t: NDArray[np.float64]) -> Rows:
    """x0 + t (x1 - x0), exact at both ends."""
    a, b = ends[0], ends[1]
    near_a: Rows = a + t[:, None] * (b - a)
    near_b: Rows = b - (1.0 - t)[:, None] * (b - a)
    return np.where((t <= 0.5)[:, None], near_a, near_b)


def _text(count: LineCount) -> str:
    """A count for the terminal: the counts, how sure they are, and which layers bend."""
    lines = [
        f"{count.n_regions} activation regions, {count.n_pieces} affine pieces"
        f" (segment of length {count.length:.4g}, {count.n_units} units)",
        _certainty(count),
    ]
    if len(count.t):
        lines.append(
            f"shortest region {count.smallest_gap:.3g} of the segment;"
            f" outputs err by at most {count.max_error:.3g}"
        )
        lines += _bending_layers(count)
    return "\n".join(lines)


def _certainty(count: LineCount) -> str:
    """Whether rounding errors could change the counts, in one sentence."""
    if count.is_certain:
        how = f"; {_places(count.n_exact)} decided in exact arithmetic" if count.n_exact else ""
        return f"certain: no rounding error can change either count{how}"
    return (
        f"regions {count.regions}, pieces {count.pieces}: {_places(count.n_ambiguous)} within"
        " rounding errors; exact=True decides"
    )


def _places(n: int) -> str:
    """So many places, in words."""
    return "1 place" if n == 1 else f"{n} places"


def _bending_layers(count: LineCount) -> list[str]:
    bends = [(name, n) for name, n in count.bends_by_layer().items() if n]
    width = max((len(name) for name, _ in bends[:_MOST_LAYERS]), default=0)
    lines = [f"  {name:<{width}}  {n} bends" for name, n in bends[:_MOST_LAYERS]]
    if len(bends) > _MOST_LAYERS:
        lines.append(f"  and {len(bends) - _MOST_LAYERS} more layers")
    return lines
