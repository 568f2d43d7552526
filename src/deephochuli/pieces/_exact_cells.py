"""Regions of a plane in exact arithmetic: every cut is decided, and no corner is rounded.

A place (s, t) of the plane is written as whole numbers (w, s w, t w) with w > 0, and a value as its
whole numbers at the places (0, 0), (1, 0) and (0, 1) over one denominator. The side of a line that
a corner lies on is then the sign of a sum of products of whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._integers import ExactAffine, ExactKnots, Integers, Ratio, start
from deephochuli.pieces._program import Program, Step
from deephochuli.pieces._walk import Report

Corner = tuple[int, int, int]
Polygon = list[Corner]
Place = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class ExactCell:
    """A region, and what the outputs are in it.

    Attributes:
        polygon: Its corners, counter-clockwise.
        outputs: Affine map: values at the places (0, 0), (1, 0) and (0, 1) of the plane.
    """

    polygon: tuple[Place, ...]
    outputs: tuple[tuple[Fraction, ...], ...]

    @property
    def area(self) -> Fraction:
        """Area in places."""
        x0, y0 = self.polygon[0]
        sides = [(x - x0, y - y0) for x, y in self.polygon[1:]]
        crosses = (a[0] * b[1] - a[1] * b[0] for a, b in pairwise(sides))
        return sum(crosses, Fraction()) / 2


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell on its way through the program; each value is a row for each place of the frame."""

    polygon: Polygon
    values: dict[int, tuple[Ratio, ...]]


def exact_cells(
    program: Program, points: Rows, polygon: Rows, report: Report | None = None
) -> list[ExactCell]:
    """Find all regions of a program in a polygon.

    Args:
        program: What is evaluated.
        points: The inputs at the places (0, 0), (1, 0) and (0, 1), shape (3, numel).
        polygon: Corners of a convex polygon, counter-clockwise, shape (k, 2).
        report: Told the finished share of the steps, and the number of cells so far.

    Numerics:
        Exact: integers of any size. The time grows with the cells, and with the digits, of which
        each layer adds as many as its weights have.
    """
    corners = [_corner(Fraction(a), Fraction(b)) for a, b in polygon.tolist()]
    cells = [_Cell(corners, {0: tuple(start(point) for point in points)})]
    for i, step in enumerate(program.steps):
        needed = program.needed_after[i]
        grown = _moved(step, cells)
        cells = [
            _Cell(c.polygon, {k: v for k, v in c.values.items() if k in needed}) for c in grown
        ]
        if report is not None:
            report((i + 1) / len(program.steps), len(cells))
    return [_finished(cell, program.output) for cell in cells]


def _moved(step: Step, cells: list[_Cell]) -> list[_Cell]:
    source = step.inputs[0]
    if isinstance(step.op, Elementwise):
        knots = ExactKnots(step.op)
        parts = [(c, found) for c in cells for found in _bent(c, knots, source)]
    elif isinstance(step.op, Maximum):
        most = step.op
        parts = [(c, found) for c in cells for found in _maximal(c, most, source)]
    else:
        affine = ExactAffine(step.op)
        parts = [(c, (c.polygon, _through(affine, c, step.inputs))) for c in cells]
    return [_Cell(polygon, c.values | {step.output: out}) for c, (polygon, out) in parts]


def _through(op: ExactAffine, cell: _Cell, inputs: Sequence[int]) -> tuple[Ratio, ...]:
    return tuple(op.apply([cell.values[k][place] for k in inputs]) for place in range(3))


def _bent(cell: _Cell, op: ExactKnots, source: int) -> Iterator[tuple[Polygon, tuple[Ratio, ...]]]:
    """Parts of a cell on which no unit changes its side of a knot, with the values bent."""
    z = _over_one_denominator(cell.values[source])
    sides = [_functions([op.beside(each, k) for each in z]) for k in range(len(op.knots))]
    parts = [cell.polygon]
    for functions in sides:
        for unit in _crossing(cell.polygon, functions):
            parts = [half for part in parts for half in _halves(part, functions[:, unit])]
    for part in parts:
        above = [(np.array(part, dtype=object) @ functions > 0).any(axis=0) for functions in sides]
        segment = np.stack(above).sum(axis=0, dtype=np.int64)
        yield part, tuple(op.continued(each, segment) for each in z)


def _maximal(cell: _Cell, op: Maximum, source: int) -> Iterator[tuple[Polygon, tuple[Ratio, ...]]]:
    """Parts of a cell on which one candidate of each output is the largest."""
    z = _over_one_denominator(cell.values[source])
    functions = _functions([each.top for each in z])
    parts: list[tuple[Polygon, list[int]]] = [(cell.polygon, [])]
    for listed in op.index.tolist():
        known = [j for j in listed if j >= 0]
        parts = [
            (won, [*chosen, j])
            for part, chosen in parts
            for place, j in enumerate(known)
            if (won := _won(part, functions, known, place))
        ]
    for part, chosen in parts:
        yield part, tuple(Ratio(each.top[chosen], each.bottom).reduced() for each in z)


def _won(part: Polygon, functions: Integers, known: list[int], place: int) -> Polygon:
    """Where a candidate is the largest; of functions that are one, the first has the region."""
    for other, j in enumerate(known):
        if other == place:
            continue
        ahead = functions[:, known[place]] - functions[:, j]
        values = _at(part, ahead)
        if max(values) <= 0:
            if other < place or min(values) < 0:
                return []
        elif min(values) < 0:
            part = _halves(part, ahead)[0]
    return part


def _over_one_denominator(value: tuple[Ratio, ...]) -> tuple[Ratio, ...]:
    bottom = math.lcm(*(each.bottom for each in value))
    return tuple(Ratio(each.top * (bottom // each.bottom), bottom) for each in value)


def _functions(at: list[Integers]) -> Integers:
    """Numbers by which (w, s w, t w) is multiplied for the value of each function there."""
    return np.stack([at[0], at[1] - at[0], at[2] - at[0]])


def _crossing(polygon: Polygon, functions: Integers) -> list[int]:
    """Functions with both signs in a polygon."""
    values = np.array(polygon, dtype=object) @ functions
    both = (values > 0).any(axis=0) & (values < 0).any(axis=0)
    return np.nonzero(both)[0].tolist()


def _at(polygon: Polygon, function: Integers) -> list[int]:
    a, b, c = function.tolist()
    return [a * w + b * s + c * t for w, s, t in polygon]


def _halves(polygon: Polygon, function: Integers) -> list[Polygon]:
    """A polygon cut where a function is zero: (above, below), or itself where there is no cut."""
    values = _at(polygon, function)
    if min(values) >= 0 or max(values) <= 0:
        return [polygon]
    above: Polygon = []
    below: Polygon = []
    for i, (corner, value) in enumerate(zip(polygon, values, strict=True)):
        following, beyond = polygon[i - len(polygon) + 1], values[i - len(polygon) + 1]
        if value >= 0:
            above.append(corner)
        if value <= 0:
            below.append(corner)
        if (value > 0 > beyond) or (value < 0 < beyond):
            # Values are in units of 1 / w, which both corners have of their own.
            near, far = abs(value), abs(beyond)
            numbers = [far * x + near * y for x, y in zip(corner, following, strict=True)]
            above.append(_reduced(*numbers))
            below.append(above[-1])
    return [above, below]


def _reduced(w: int, s: int, t: int) -> Corner:
    factor = math.gcd(w, s, t)
    return w // factor, s // factor, t // factor


def _corner(s: Fraction, t: Fraction) -> Corner:
    w = math.lcm(s.denominator, t.denominator)
    return w, int(s * w), int(t * w)


def _finished(cell: _Cell, output: int) -> ExactCell:
    places = tuple((Fraction(s, w), Fraction(t, w)) for w, s, t in cell.polygon)
    outputs = tuple(
        tuple(Fraction(top, value.bottom) for top in value.top.tolist())
        for value in cell.values[output]
    )
    return ExactCell(places, outputs)


def n_pieces(cells: Sequence[ExactCell]) -> int:
    """Number of pieces: regions that share borders and have one affine map are one."""
    groups: dict[tuple[tuple[Fraction, ...], ...], list[ExactCell]] = {}
    for cell in cells:
        groups.setdefault(cell.outputs, []).append(cell)
    return sum(_n_connected(group) for group in groups.values())


def _n_connected(group: list[ExactCell]) -> int:
    """Number of connected unions of polygons."""
    left, n = list(group), 0
    while left:
        n += 1
        reached = [left.pop()]
        while reached:
            here = reached.pop()
            touching = [each for each in left if _borders(here.polygon, each.polygon)]
            left = [each for each in left if each not in touching]
            reached += touching
    return n


def _borders(a: Sequence[Place], b: Sequence[Place]) -> bool:
    """Whether two polygons without common inner points share a stretch of their borders."""
    for (px, py), (qx, qy) in _edges(a):
        dx, dy = qx - px, qy - py
        for edge in _edges(b):
            if any(dx * (y - py) != dy * (x - px) for x, y in edge):
                continue
            along = sorted(dx * (x - px) + dy * (y - py) for x, y in edge)
            if min(along[1], dx * dx + dy * dy) > max(along[0], 0):
                return True
    return False


def _edges(polygon: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    return zip(polygon, [*polygon[1:], polygon[0]], strict=True)
