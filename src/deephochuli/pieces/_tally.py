"""Counts along a segment without the places of the bends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._assembly import Found
from deephochuli.pieces._program import Program
from deephochuli.pieces._result import Interval


@dataclass(frozen=True, slots=True)
class Tally:
    """How many regions and pieces a segment has; `LineCount` also says where.

    Attributes:
        n_regions: Number of regions, as float64 sees it.
        n_pieces: Number of pieces, as float64 sees it.
        regions: What the number of regions can be, rounding errors considered.
        pieces: What the number of pieces can be.
        bends_by_layer: How many breakpoints each layer makes, in the order of the program.
        smallest_gap: Shortest region, as a share of the segment.
        n_ambiguous: Places that the error bounds could not decide.
        length: Euclidean length of the segment.
        n_units: Number of units that can bend.
        max_error: Largest bound on the error of the outputs along the segment (2-norm).
    """

    n_regions: int
    n_pieces: int
    regions: Interval
    pieces: Interval
    bends_by_layer: dict[str, int]
    smallest_gap: float
    n_ambiguous: int
    length: float
    n_units: int
    max_error: float

    @property
    def is_certain(self) -> bool:
        """Whether both counts are known beyond rounding errors."""
        return self.regions.is_certain and self.pieces.is_certain

    def __str__(self) -> str:
        return f"{self.regions} regions, {self.pieces} pieces on a segment of {self.length:.6g}"


def tallied(program: Program, ends: Rows, parts: Iterable[Found]) -> Tally:
    """Count all parts, and forget each before the next is found."""
    n_bends, n_open, error = 0, 0, 0.0
    by_step = np.zeros(len(program.steps), dtype=np.int64)
    last, gap, regions, pieces = 0.0, np.inf, Interval(1, 1), Interval(1, 1)
    for part in parts:
        by_step += np.bincount(part.step, minlength=len(by_step))
        n_bends += int(part.is_bend.sum())
        n_open += len(part.open_low)
        regions, pieces = regions.beside(part.regions), pieces.beside(part.pieces)
        error = max(error, part.max_error)
        if len(part.t):
            gap = min(gap, float(np.diff(part.t, prepend=last).min()))
            last = float(part.t[-1])
    bends = dict.fromkeys((program.layers[i] for i in program.bending), 0)
    for i in program.bending:
        bends[program.layers[i]] += int(by_step[i])
    return Tally(
        n_regions=regions.nearest(int(by_step.sum()) + 1),
        n_pieces=pieces.nearest(n_bends + 1),
        regions=regions,
        pieces=pieces,
        bends_by_layer=bends,
        smallest_gap=min(gap, 1.0 - last),
        n_ambiguous=n_open,
        length=float(np.linalg.norm(ends[1] - ends[0])),
        n_units=program.n_units,
        max_error=error,
    )
