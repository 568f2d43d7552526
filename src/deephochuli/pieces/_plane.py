"""Activation regions and affine pieces of a module on a polygon of a plane through its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deephochuli.errors import PiecesError, check_kind
from deephochuli.pieces import _polygons as polygons
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._cells import MOST_BYTES, Cells, walk_cells
from deephochuli.pieces._exact_cells import ExactCell, exact_cells, n_pieces
from deephochuli.pieces._finite import stacked
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._result import Interval
from deephochuli.pieces._state import Column
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import Report

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
_SAME_PLACE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class PlaneCount:
    """Activation regions of a function on a convex polygon of a plane.

    The plane's points are x0 + a (x1 - x0) + b (x2 - x0); places are pairs (a, b). A region is a
    maximal open set on which no unit changes its side of a knot; it is convex. A piece is a maximal
    connected union of regions that share borders and the affine map.

    Attributes:
        n_regions: Number of regions, as float64 sees it.
        pieces: What the number of pieces can be: at least, with maps that differ by no more than
            the error bounds counted as one; at most, with equal bits alone counted as one.
        n_close: Decisions (does the line of a unit cross a cell?) that are as close, on either
            side, as the errors of the unit's values may be. The bounds leave out the rounding of
            the corners of cells, so 0 is a strong check of `n_regions`, and no proof.
        vertices: Corners of all regions, one behind the other, counter-clockwise, shape (V, 2).
        start: Where the corners of each region begin, shape (n_regions + 1,).
        areas: Area of each region in places, shape (n_regions,).
        maps: Affine map of each region: outputs are maps[i, 0] + a maps[i, 1] + b maps[i, 2]; shape
            (n_regions, 3, outputs).
        area: Area of the polygon, in places.
        area_scale: Area in the space of the inputs of a unit square of places.
        n_units: Number of units that can bend.
        is_exact: Whether everything was decided in exact arithmetic; places, areas and maps are
            then rounded once, at the end.
    """

    n_regions: int
    pieces: Interval
    n_close: int
    vertices: Rows = field(repr=False)
    start: NDArray[np.int64] = field(repr=False)
    areas: Column = field(repr=False)
    maps: NDArray[np.float64] = field(repr=False)
    area: float
    area_scale: float
    n_units: int
    is_exact: bool = False

    def polygon(self, region: int) -> Rows:
        """Corners of a region, counter-clockwise, shape (k, 2)."""
        return self.vertices[self.start[region] : self.start[region + 1]]

    def __str__(self) -> str:
        close = "" if self.n_close == 0 else f", {self.n_close} decisions within the error bounds"
        close = ", in exact arithmetic" if self.is_exact else close
        return (
            f"{self.n_regions} regions ({self.pieces} affine pieces) of {self.n_units} units on an "
            f"area of {self.area * self.area_scale:.6g}{close}; largest region "
            f"{self.areas.max() / self.area:.2%}, smallest {self.areas.min() / self.area:.2g} of it"
        )


def plane(
    model: nn.Module,
    x0: torch.Tensor,
    x1: torch.Tensor,
    x2: torch.Tensor,
    *,
    polygon: tuple[tuple[float, float], ...] = SQUARE,
    exact: bool = False,
    layer: str | None = None,
    most_bytes: int = MOST_BYTES,
    report: Report | None = None,
) -> PlaneCount:
    """Find all activation regions of a module on a polygon of the plane through three inputs.

    Args:
        model: A module of affine and piecewise linear operations; see `count`.
        x0: One input, without a batch dimension: the place (0, 0).
        x1: Another one: the place (1, 0).
        x2: A third one, not on a line with both: the place (0, 1).
        polygon: Corners of a convex polygon of places, in either direction; by default the unit
            square.
        exact: Decide everything in exact rational arithmetic. The time grows with the number of
            regions and with the digits of the weights: seconds for hundreds of regions.
        layer: Path of an inner module to look at alone; inputs are those of that module.
        most_bytes: About how much memory the walk may take, beside the result.
        report: Called now and then with the finished share of the area and the regions so far.

    Raises:
        PiecesError: The inputs do not fit, are not finite, or lie on one line; the polygon is not
            convex or has no area; or what `count` refuses.

    Numerics:
        float64. Values at corners of regions within 64 u of the values around the polygon count as
        zero, so that units with one line cut once. `n_close` counts decisions that are closer than
        the bounds on the errors, which hold for any order of the sums. With `exact=True` counts are
        those of the function with the stored weights in real arithmetic, the factors of batch norm
        being rounded to float64 once.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 2, bias=False)
        >>> _ = layer.load_state_dict({"weight": torch.eye(2)})
        >>> net = torch.nn.Sequential(layer, torch.nn.ReLU())
        >>> corner = torch.tensor([-1.0, -1.0])
        >>> found = plane(net, corner, torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0]))
        >>> found.n_regions, found.areas.tolist(), str(found.pieces)
        (4, [0.25, 0.25, 0.25, 0.25], '4')
    """
    places = _convex(polygon)
    points = _checked(x0, x1, x2)
    samples = _at(points, np.concatenate([places, places.mean(axis=0)[None]]))
    check_kind(model, nn.Module, "a torch.nn.Module", PiecesError, "Cannot count the pieces of")
    program = trace(model, torch.as_tensor(samples).reshape(-1, *x0.shape), layer, HANDLERS)
    if exact:
        found = exact_cells(program, points, places, report)
        return _exact_result(found, program.n_units, _scale(points))
    low = places.min(axis=0)
    reach = 2 * (places.max(axis=0) - low)
    corners = _at(points, low + np.array([[0.0, 0.0], [reach[0], 0.0], [0.0, reach[1]]]))
    inside = np.ascontiguousarray((places - low) / reach)
    batches = list(walk_cells(program, corners, inside, most_bytes=most_bytes, report=report))
    return _result(batches, program.output, program.n_units, low, reach, _scale(points))


def _convex(polygon: tuple[tuple[float, float], ...]) -> Rows:
    """The polygon, counter-clockwise."""
    places = np.array(polygon, dtype=np.float64)
    if places.ndim != 2 or places.shape[1:] != (2,) or len(places) < 3:
        raise PiecesError(f"A polygon needs three places (a, b) or more; got {polygon!r}.")
    if not np.isfinite(places).all():
        raise PiecesError(f"The polygon {polygon!r} holds NaN or infinity.")
    edges = np.roll(places, -1, axis=0) - places
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    if (turns < 0).all():
        return places[::-1].copy()
    if not (turns > 0).all():
        raise PiecesError(
            f"The polygon {polygon!r} is not convex, has corners on one line, or no area. Part it "
            "into convex ones, and give the corners in their order."
        )
    return places


def _checked(x0: torch.Tensor, x1: torch.Tensor, x2: torch.Tensor) -> Rows:
    """The three inputs in float64, flattened."""
    points = stacked((x0, x1, x2), "plane").reshape(3, -1).numpy()
    sides = points[1:] - points[0]
    if np.linalg.matrix_rank(sides / max(np.abs(sides).max(), 1e-300)) < 2:
        raise PiecesError("The three inputs lie on one line; give a third one beside it.")
    return points


def _at(points: Rows, places: Rows) -> Rows:
    """The inputs at some places."""
    return points[0] + places @ (points[1:] - points[0])


def _scale(points: Rows) -> float:
    """Area of the parallelogram of x1 - x0 and x2 - x0."""
    sides = points[1:] - points[0]
    return float(np.sqrt(np.linalg.det(sides @ sides.T)))


def _result(
    batches: list[Cells], output: int, n_units: int, low: Column, reach: Column, scale: float
) -> PlaneCount:
    vertices = np.concatenate([cells.vertices for cells in batches])
    sizes = np.concatenate([np.diff(cells.start) for cells in batches])
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    rows = np.concatenate([cells.values[output].rows for cells in batches])
    error = np.concatenate([cells.values[output].error for cells in batches])
    at_corners = rows.reshape(len(sizes), 3, -1)
    spread = error.reshape(-1, 3).max(axis=1)
    flat = np.ascontiguousarray(at_corners.reshape(len(sizes), -1))
    joined, equal = polygons.n_joined(vertices, start, flat, spread, _SAME_PLACE)
    areas = polygons.measured(vertices, start)[0] * reach.prod()
    return PlaneCount(
        n_regions=len(sizes),
        pieces=Interval(int(joined), int(equal)),
        n_close=sum(cells.n_close for cells in batches),
        vertices=low + vertices * reach,
        start=start,
        areas=areas,
        maps=_maps(at_corners, low, reach),
        area=float(areas.sum()),
        area_scale=scale,
        n_units=n_units,
    )


def _exact_result(cells: list[ExactCell], n_units: int, scale: float) -> PlaneCount:
    pieces, areas = n_pieces(cells), [cell.area for cell in cells]
    sizes = np.array([len(cell.polygon) for cell in cells])
    vertices = [(float(a), float(b)) for cell in cells for a, b in cell.polygon]
    maps = [
        [[float(v) for v in row] for row in (at, _less(along_a, at), _less(along_b, at))]
        for at, along_a, along_b in (cell.outputs for cell in cells)
    ]
    return PlaneCount(
        n_regions=len(cells),
        pieces=Interval(pieces, pieces),
        n_close=0,
        vertices=np.array(vertices),
        start=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        areas=np.array([float(area) for area in areas]),
        maps=np.array(maps),
        area=float(sum(areas)),
        area_scale=scale,
        n_units=n_units,
        is_exact=True,
    )


def _less(there: tuple[Fraction, ...], here: tuple[Fraction, ...]) -> list[Fraction]:
    return [b - a for a, b in zip(here, there, strict=True)]


def _maps(at: NDArray[np.float64], low: Column, reach: Column) -> NDArray[np.float64]:
    """Constant and slopes in places, from values at the corners of the triangle."""
    slope_a, slope_b = (at[:, 1] - at[:, 0]) / reach[0], (at[:, 2] - at[:, 0]) / reach[1]
    return np.stack([at[:, 0] - low[0] * slope_a - low[1] * slope_b, slope_a, slope_b], axis=1)
