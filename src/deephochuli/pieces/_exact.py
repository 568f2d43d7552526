"""The same walk in exact rational arithmetic, on short parts of a segment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._assembly import Found
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._integers import ExactAffine, ExactKnots, Ratio, between, largest, start
from deephochuli.pieces._program import Program, Step
from deephochuli.pieces._result import Interval
from deephochuli.pieces._walk import Report


@dataclass(frozen=True, slots=True)
class ExactBend:
    """A bend whose place is a rational number.

    Attributes:
        t: Where on the segment.
        step: Step of the unit that bends; of the first one if several do.
        unit: That unit.
        jump: Largest magnitude by which the slope of an output changes, per unit of t; 0 if the
            function does not bend.
    """

    t: Fraction
    step: int
    unit: int
    jump: Fraction


@dataclass(slots=True)
class _Row:
    """All values that are needed at one place."""

    t: Fraction
    values: dict[int, Ratio]
    step: int = -1
    unit: int = -1


@dataclass(frozen=True, slots=True)
class _Takeover:
    """A change of side inside of a cell, `share` of the way through it."""

    share: Fraction
    unit: int


class ExactWalker:
    """Walks parts of one segment through a program without rounding."""

    def __init__(self, program: Program, ends: Rows) -> None:
        """Write down all numbers of a program as integers."""
        self._program = program
        self._ends = start(ends[0]), start(ends[1])
        self._ops = [_exact(step) for step in program.steps]

    def bends(self, low: float, high: float) -> list[ExactBend]:
        """All bends strictly between two places.

        Numerics:
            Exact: integers of any size. Denominators grow by the size of the weights with each
            layer, and so does the time.
        """
        rows = [self._row(low), self._row(high)]
        for i, step in enumerate(self._program.steps):
            op = self._ops[i]
            if isinstance(op, ExactAffine):
                for row in rows:
                    row.values[step.output] = op.apply([row.values[k] for k in step.inputs])
            else:
                rows = self._bent(rows, i, step)
            needed = self._program.needed_after[i]
            for row in rows:
                row.values = {k: v for k, v in row.values.items() if k in needed}
        return self._found(rows)

    def _row(self, t: float) -> _Row:
        place = Fraction(t)
        a, b = self._ends
        weights = place.denominator - place.numerator, place.numerator
        return _Row(place, {0: between(a, b, *weights)})

    def _bent(self, rows: list[_Row], i: int, step: Step) -> list[_Row]:
        """Rows put in at the changes of one step, and its output at all of them."""
        source, op = step.inputs[0], self._ops[i]
        grown: list[_Row] = []
        for a, b in pairwise(rows):
            grown.append(a)
            za, zb = a.values[source], b.values[source]
            places: dict[Fraction, int] = {}
            for each in _takeovers(step, op, za, zb):
                places.setdefault(each.share, each.unit)
            grown += [_inside(a, b, share, i, places[share]) for share in sorted(places)]
        grown.append(rows[-1])
        for row in grown:
            z = row.values[source]
            row.values[step.output] = op.apply(z) if isinstance(op, ExactKnots) else _most(step, z)
        return grown

    def _found(self, rows: list[_Row]) -> list[ExactBend]:
        out = self._program.output
        slopes = [_slopes(a.values[out], b.values[out], b.t - a.t) for a, b in pairwise(rows)]
        found: list[ExactBend] = []
        for row, before, behind in zip(rows[1:-1], slopes[:-1], slopes[1:], strict=True):
            jump = max(
                (abs(p - q) for p, q in zip(before, behind, strict=True)), default=Fraction()
            )
            found.append(ExactBend(row.t, row.step, row.unit, jump))
        return found


def _exact(step: Step) -> ExactAffine | ExactKnots | None:
    if isinstance(step.op, Elementwise):
        return ExactKnots(step.op)
    return None if isinstance(step.op, Maximum) else ExactAffine(step.op)


def _most(step: Step, z: Ratio) -> Ratio:
    assert isinstance(step.op, Maximum)
    return largest(step.op, z)


def _inside(a: _Row, b: _Row, share: Fraction, step: int, unit: int) -> _Row:
    weights = share.denominator - share.numerator, share.numerator
    values = {k: between(a.values[k], b.values[k], *weights) for k in a.values}
    return _Row(a.t + share * (b.t - a.t), values, step, unit)


def _takeovers(
    step: Step, op: ExactAffine | ExactKnots | None, za: Ratio, zb: Ratio
) -> list[_Takeover]:
    if isinstance(op, ExactKnots):
        return _crossings(op, za, zb)
    assert isinstance(step.op, Maximum)
    return _changes(step.op, za, zb)


def _crossings(op: ExactKnots, za: Ratio, zb: Ratio) -> list[_Takeover]:
    found: list[_Takeover] = []
    for k in range(len(op.knots)):
        a, b = op.beside(za, k), op.beside(zb, k)
        for unit in np.nonzero(((a < 0) & (b > 0)) | ((a > 0) & (b < 0)))[0].tolist():
            from_a, from_b = abs(int(a[unit])) * zb.bottom, abs(int(b[unit])) * za.bottom
            found.append(_Takeover(Fraction(from_a, from_a + from_b), unit))
    return found


def _changes(op: Maximum, za: Ratio, zb: Ratio) -> list[_Takeover]:
    """Follow the largest candidate of each output through a cell."""
    found: list[_Takeover] = []
    # Over one denominator:
    a, b = [p * zb.bottom for p in za.top.tolist()], [q * za.bottom for q in zb.top.tolist()]
    for unit, listed in enumerate(op.index.tolist()):
        lines = [(a[j], b[j]) for j in listed if j >= 0]
        now = max(lines)
        while now[1] < max(line[1] for line in lines):
            shares = [
                (Fraction(now[0] - p, (now[0] - p) + (q - now[1])), p - q, (p, q))
                for p, q in lines
                if q > now[1]
            ]
            share, _, now = min(shares)
            if 0 < share < 1:
                found.append(_Takeover(share, unit))
    return found


def _slopes(a: Ratio, b: Ratio, length: Fraction) -> list[Fraction]:
    return [
        Fraction(q * a.bottom - p * b.bottom, a.bottom * b.bottom) / length
        for p, q in zip(a.top.tolist(), b.top.tolist(), strict=True)
    ]


def decided(program: Program, ends: Rows, found: Found, report: Report | None) -> Found:
    """Bends with every open place decided exactly.

    Args:
        program: What is evaluated.
        ends: Both inputs.
        found: What float64 found.
        report: Told how far it is.
    """
    if not len(found.open_low):
        return found
    walker = ExactWalker(program, ends)
    exact: list[ExactBend] = []
    replaced = np.zeros(len(found.t), dtype=bool)
    parts = _parts(found)
    for i, (low, high) in enumerate(parts):
        replaced |= (found.t >= low) & (found.t <= high)
        exact += walker.bends(low, high)
        if report is not None:
            report((i + 1) / len(parts), len(exact))
    return _merged(found, exact, ~replaced)


def _parts(found: Found) -> list[tuple[float, float]]:
    """Parts of the segment that hold all open places, from one clear place to the next."""
    begin = np.searchsorted(found.clear, found.open_low, side="right") - 1
    end = np.searchsorted(found.clear, found.open_high, side="left")
    last = len(found.clear) - 1
    pairs = zip(np.maximum(begin, 0).tolist(), np.minimum(end, last).tolist(), strict=True)
    return [(float(found.clear[i]), float(found.clear[j])) for i, j in dict.fromkeys(pairs)]


def _merged(found: Found, exact: list[ExactBend], kept: NDArray[np.bool_]) -> Found:
    t = np.append(found.t[kept], [float(each.t) for each in exact])
    order = np.argsort(t, kind="stable")
    jump = np.append(found.jump[kept], [float(each.jump) for each in exact])
    is_bend = np.append(found.is_bend[kept], [each.jump != 0 for each in exact]).astype(bool)
    step = np.append(found.step[kept], [each.step for each in exact]).astype(np.int32)
    unit = np.append(found.unit[kept], [each.unit for each in exact]).astype(np.int32)
    n_regions, n_pieces = len(t) + 1, int(is_bend.sum()) + 1
    return replace(
        found,
        t=t[order],
        step=step[order],
        unit=unit[order],
        jump=jump[order],
        is_bend=is_bend[order],
        regions=Interval(n_regions, n_regions),
        pieces=Interval(n_pieces, n_pieces),
        open_low=np.zeros(0),
        open_high=np.zeros(0),
        n_exact=len(found.open_low),
    )
