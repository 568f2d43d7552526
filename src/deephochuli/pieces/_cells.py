"""Walk a polygon through a program: cells are cut, and every step moves the maps of all of them.

In a cell every value is an affine function of the place, kept as its values at the corners of a
triangle around the polygon. An affine step is one product for all corners of all cells; where a
unit bends within a cell, the cell is cut along the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _polygons as polygons
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._moves import Prepared, bend_error, moved, prepare
from deephochuli.pieces._norms import U, lipschitz
from deephochuli.pieces._program import Program
from deephochuli.pieces._state import Column, Entries, Value
from deephochuli.pieces._walk import Report

MOST_BYTES = 1 << 24
"""Batches that stay near the processor are done sooner than large ones."""
Index = NDArray[np.int64]
NEARLY_ZERO = 64 * U
"""A value at a vertex counts as zero up to this share of the values at the corners."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Some cells, and all that is known in them.

    Attributes:
        vertices: Shape (V, 2): corners of all cells, each cell's counter-clockwise.
        start: Shape (C + 1,): where each cell's corners begin.
        values: Values that later steps need, by number; three rows a cell.
        n_close: Decisions that the error bounds left open.
    """

    vertices: Rows
    start: Index
    values: dict[int, Value]
    n_close: int = 0

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.start) - 1

    def part(self, begin: int, end: int) -> Cells:
        """Some of the cells, with no open decisions."""
        first, last = self.start[begin], self.start[end]
        rows = slice(3 * begin, 3 * end)
        values = {k: v.part(rows) for k, v in self.values.items()}
        return Cells(self.vertices[first:last], self.start[begin : end + 1] - first, values)


def walk_cells(
    program: Program,
    corners: Rows,
    polygon: Rows,
    *,
    most_bytes: int = MOST_BYTES,
    report: Report | None = None,
) -> Iterator[Cells]:
    """Find all cells of a program in a polygon, and yield them in batches.

    Args:
        program: What is evaluated.
        corners: The inputs at the corners of the triangle, shape (3, numel).
        polygon: Corners of a convex polygon within the triangle, counter-clockwise, shape (k, 2).
        most_bytes: About how much memory the cells may take.
        report: Told the finished share of the polygon's area, and the number of cells so far.
    """
    start = np.array([0, len(polygon)], dtype=np.int64)
    cells = Cells(polygon, start, {0: Value(corners, np.zeros(3))})
    walker = _Walker(program, prepare(program), most_bytes)
    total, n_done, done = float(polygons.measured(polygon, start)[0][0]), 0, 0.0
    for found in walker.finish(cells, 0):
        n_done += len(found)
        done += float(polygons.measured(found.vertices, found.start)[0].sum())
        if report is not None:
            report(min(done / total, 1.0), n_done)
        yield found


class _Walker:
    """Does the steps of one program, batch by batch."""

    def __init__(self, program: Program, prepared: tuple[Prepared, ...], most_bytes: int) -> None:
        self._program = program
        self._prepared = prepared
        widest = max((each.step.op.size for each in prepared), default=1)
        self._most_cells = max(1, most_bytes // (8 * 3 * 8 * max(widest, 1)))

    def finish(self, cells: Cells, begin: int) -> Iterator[Cells]:
        """Do all steps from one on; where cells become too many, finish them in parts."""
        for i in range(begin, len(self._prepared)):
            if len(cells) > self._most_cells:
                half = len(cells) // 2
                first = replace(cells.part(0, half), n_close=cells.n_close)
                yield from self.finish(first, i)
                yield from self.finish(cells.part(half, len(cells)), i)
                return
            cells = self._do(cells, i)
        yield cells

    def _do(self, cells: Cells, i: int) -> Cells:
        prepared = self._prepared[i]
        step, op = prepared.step, prepared.step.op
        if isinstance(op, Elementwise):
            cells, out = _bent(cells, op, step.inputs[0])
        elif isinstance(op, Maximum):
            cells, out = _maximal(cells, op, step.inputs[0])
        else:
            out = moved(prepared, op, [cells.values[k] for k in step.inputs])
        needed = self._program.needed_after[i]
        kept = {k: v for k, v in (cells.values | {step.output: out}).items() if k in needed}
        return replace(cells, values=kept)


def _bent(cells: Cells, op: Elementwise, source: int) -> tuple[Cells, Value]:
    """Cut cells along the lines on which units meet a knot, and bend the values."""
    for knot in op.knots:
        z = cells.values[source]
        f = (z.rows - knot if knot else z.rows).reshape(len(cells), 3, -1)
        made = polygons.parted(
            cells.vertices, cells.start, f, _tolerance(z, knot), _bounds(z, len(cells))
        )
        cells = _children(cells, *made)
    z = cells.values[source]
    rounding = bend_error(op, z)
    rows = _rectified(cells, z) if op.is_relu else _chosen(cells, op, z)
    error = lipschitz(op) * z.error + rounding
    return cells, Value(rows, error, has_exact_zeros=op.is_relu)


def _rectified(cells: Cells, z: Value) -> Rows:
    """The function of each cell, where every unit is a ReLU."""
    is_on = _at_centers(cells, z) > 0
    return (z.rows.reshape(len(cells), 3, -1) * is_on[:, None]).reshape(z.rows.shape)


def _chosen(cells: Cells, op: Elementwise, z: Value) -> Rows:
    """The affine part of each unit that each cell is on, continued to the corners."""
    segment = np.searchsorted(op.knots, _at_centers(cells, z), side="left")
    anchor = np.repeat(np.maximum(segment - 1, 0), 3, axis=0)
    units = np.zeros(op.size, np.int64) if op.slopes.shape[1] == 1 else np.arange(op.size)
    slope = op.slopes[np.repeat(segment, 3, axis=0), units]
    return _heights(op)[anchor, units] + slope * (z.rows - op.knots[anchor])


def _heights(op: Elementwise) -> Rows:
    """Value of the function at each knot, shape (K, numel or 1)."""
    rises = op.slopes[1:-1] * np.diff(op.knots)[:, None]
    first = np.full((1, op.slopes.shape[1]), op.start)
    return np.concatenate([first, op.start + np.cumsum(rises, axis=0)])


def _maximal(cells: Cells, op: Maximum, source: int) -> tuple[Cells, Value]:
    """Cut cells where the largest candidate changes, and take the largest one."""
    z = cells.values[source]
    n_before = len(cells)
    rows = np.ascontiguousarray(z.rows).reshape(n_before, 3, -1)
    tol, bound = _tolerance(z, 0.0), _bounds(z, n_before)
    owner, vertices, start, n_close = np.arange(n_before), cells.vertices, cells.start, 0
    for candidates in _undecided(cells, op, z, bound):
        vertices, start, parent, close = polygons.parted_by_largest(
            vertices, start, rows, owner, candidates, tol, bound
        )
        owner, n_close = owner[parent], n_close + close
    cells = _children(cells, vertices, start, owner, n_close)
    z = cells.values[source]
    here = _at_centers(cells, z)
    picked = np.where(op.index >= 0, here[:, op.index], -np.inf)
    chosen = op.index[np.arange(op.size), picked.argmax(axis=2)]
    taken = np.take_along_axis(z.rows, np.repeat(chosen, 3, axis=0), axis=1)
    return cells, Value(taken, lipschitz(op) * z.error, has_exact_zeros=z.has_exact_zeros)


def _undecided(cells: Cells, op: Maximum, z: Value, bound: Rows) -> Iterator[Index]:
    """Candidates of each output that is not decided by one of them at all corners of all cells.

    A decision that the bounds leave open is none.
    """
    cell = np.repeat(np.arange(len(cells)), np.diff(cells.start))
    at = _at_vertices(cells, z)
    tol = NEARLY_ZERO * np.abs(at).max(initial=0.0)
    for index in op.index:
        known = index[index >= 0]
        values, bounds = at[:, known], bound[cell[:, None], known]
        winner = int(values[0].argmax())
        gap = values[:, winner, None] - values
        both = bounds[:, winner, None] + bounds
        wins = (gap >= -tol) & ((gap > both) | (both == 0))
        wins[:, winner] = True
        if not wins.all():
            yield np.ascontiguousarray(index)


def _children(cells: Cells, vertices: Rows, start: Index, parent: Index, n_close: int) -> Cells:
    """Cells that were cut out of others, with the maps of those."""
    n_close += cells.n_close
    if len(parent) == len(cells):
        return Cells(vertices, start, cells.values, n_close)
    rows = (3 * parent[:, None] + np.arange(3)).ravel()
    values = {
        k: Value(v.rows[rows], v.error[rows], _picked(v, rows), v.has_exact_zeros)
        for k, v in cells.values.items()
    }
    return Cells(vertices, start, values, n_close)


def _picked(value: Value, rows: Index) -> Entries | None:
    e = value.entries
    return None if e is None else replace(e, row=e.row[rows], reach=e.reach[rows])


def _at_centers(cells: Cells, z: Value) -> Rows:
    """Values at the centroid of each cell, shape (C, numel)."""
    centers = polygons.measured(cells.vertices, cells.start)[1]
    weights = np.stack([1 - centers.sum(axis=1), centers[:, 0], centers[:, 1]], axis=1)
    return np.matmul(weights[:, None], z.rows.reshape(len(cells), 3, -1))[:, 0]


def _at_vertices(cells: Cells, z: Value) -> Rows:
    """Values at the corners of all cells, shape (V, numel)."""
    cell = np.repeat(np.arange(len(cells)), np.diff(cells.start))
    at = z.rows.reshape(len(cells), 3, -1)[cell]
    s, t = cells.vertices[:, :1], cells.vertices[:, 1:]
    return at[:, 0] * (1 - s - t) + at[:, 1] * s + at[:, 2] * t


def _tolerance(z: Value, knot: float) -> Column:
    """Up to which value a vertex counts as lying on a line, for each cell."""
    size = np.abs(z.rows).max(axis=1, initial=0.0).reshape(-1, 3).max(axis=1)
    return NEARLY_ZERO * (size + abs(knot))


def _bounds(z: Value, n_cells: int) -> Rows:
    """Bound on the error of each unit within each cell, shape (C, numel).

    Minus infinity for a unit behind a ReLU that is off: its zero is exact, and as all others behind
    ReLUs are not below it, no comparison with it is ever open.
    """
    it = z.entry_bound()
    row = np.where(z.error == 0, 0.0, it.row).reshape(n_cells, 3).max(axis=1)
    at = np.abs(z.rows).reshape(n_cells, 3, -1).max(axis=1)
    bound = row[:, None] * it.unit + np.where(row > 0, 1.0, 0.0)[:, None] * it.floor + 4 * U * at
    return np.where(at == 0, -np.inf, bound) if z.has_exact_zeros else bound
