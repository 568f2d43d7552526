"""The function and its bends on a segment, and its regions on a plane, as sheets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.pieces import LineCount, PlaneCount

MOST_POINTS = 4000
MOST_OUTPUTS = 4
MOST_REGIONS = 4000
_SHADES = 8


def sheet_of(found: LineCount, title: str = "Affine pieces along a segment") -> Sheet:
    """Say and draw what a count found.

    Args:
        found: The count.
        title: Heading.

    Returns:
        Its counts with their certainty, a table of layers, the function with its bends, and the
        growth of the count along the segment. Figures show every bend up to `MOST_POINTS` of them,
        and evenly chosen ones beyond.

    Numerics:
        Values of the function are float64 forward passes at the breakpoints, see
        `LineCount.evaluate`; between them the function is affine, so lines drawn through them are
        the function.

    Example:
        >>> import torch
        >>> from deephochuli.pieces import count
        >>> found = count(torch.nn.ReLU(), torch.tensor([-1.0]), torch.tensor([1.0]))
        >>> sheet_of(found).answer
        '2 activation regions and 2 affine pieces; no rounding error can change either count.'
    """
    return Sheet(
        key="pieces",
        title=title,
        question="How many affine pieces has the function on this segment, and whose are they?",
        answer=_answer(found),
        tables=(_layers(found),),
        figures=(_function(found), _growth(found)),
        notes=(
            "A region ends where a unit changes its side of a knot; a piece ends where the "
            "function bends. Every bend is found by its sign, however close to the next one.",
            f"The segment has length {found.length:.6g}; the model has {found.n_units} units that "
            "can bend.",
        ),
    )


def _answer(found: LineCount) -> str:
    counts = f"{found.n_regions} activation regions and {found.n_pieces} affine pieces; "
    if found.is_certain:
        return counts + "no rounding error can change either count."
    return counts + (
        f"considering rounding errors, regions are {found.regions} and pieces {found.pieces}: "
        f"open places: {found.n_ambiguous}, and exact=True decides them."
    )


def _layers(found: LineCount) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, n, n_bends) for name, n, n_bends in zip(found.layers, *found.tally(), strict=True)
    ]
    return Table(
        key="layers",
        title="Breakpoints by layer",
        columns=("layer", "breakpoints", "reach the output"),
        rows=tuple(rows),
        note="A breakpoint at which several units bend counts for the earliest of them.",
    )


def _chosen(n: int) -> NDArray[np.int64]:
    """Up to `MOST_POINTS` of n places, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(np.int64))


def _function(found: LineCount) -> Figure:
    places = found.places()
    places = places[_chosen(len(places))]
    values = found.evaluate(places)
    lines = tuple(
        Series(f"output {k}", tuple(places.tolist()), tuple(values[:, k].tolist()), mark="line")
        for k in range(min(values.shape[1], MOST_OUTPUTS))
    )
    bends = found.t[found.is_bend]
    bends = bends[_chosen(len(bends))] if len(bends) else bends
    first = found.evaluate(bends)[:, 0] if len(bends) else bends
    points = Series("bends", tuple(bends.tolist()), tuple(first.tolist()), mark="points")
    return Figure(
        key="function",
        title="The function and its bends on the segment",
        x=Axis("place t on the segment", low=0.0, high=1.0),
        y=Axis("output"),
        series=(*lines, points),
        how_to_read="Each dot is a place where the function bends; between dots it is straight.",
    )


def _growth(found: LineCount) -> Figure:
    series: list[Series] = []
    for k, name in enumerate(found.layers):
        t = found.t[found.layer == k]
        if len(t):
            chosen = _chosen(len(t))
            y = (chosen + 1).astype(float)
            series.append(Series(name, tuple(t[chosen].tolist()), tuple(y.tolist()), mark="steps"))
    return Figure(
        key="growth",
        title="Breakpoints of each layer, counted along the segment",
        x=Axis("place t on the segment", low=0.0, high=1.0),
        y=Axis("breakpoints up to t", low=0.0),
        series=tuple(series),
        how_to_read="A straight line means that the layer bends evenly along the segment.",
    )


def sheet_of_plane(found: PlaneCount, title: str = "Affine pieces on a plane") -> Sheet:
    """Say and draw what was found on a plane.

    Args:
        found: The regions.
        title: Heading.

    Returns:
        The counts with their certainty, the distribution of areas, and the regions as polygons: the
        largest `MOST_REGIONS`, coloured by the direction in which the first output grows.

    Example:
        >>> import torch
        >>> from deephochuli.pieces import plane
        >>> corners = [torch.tensor(v) for v in ([-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0])]
        >>> sheet_of_plane(plane(torch.nn.ReLU(), *corners)).answer
        '4 activation regions and 4 affine pieces; no cut is as close as rounding errors may be.'
    """
    return Sheet(
        key="plane",
        title=title,
        question="Into how many affine pieces does the function part this polygon?",
        answer=_plane_answer(found),
        tables=(_sizes(found),),
        figures=(_picture(found),),
        notes=(
            "Places (a, b) stand for the inputs x0 + a (x1 - x0) + b (x2 - x0).",
            f"Areas add up to {found.area:.15g} in places; a unit square of places has an area of "
            f"{found.area_scale:.6g} among the inputs. The model has {found.n_units} units that "
            "can bend.",
        ),
    )


def _plane_answer(found: PlaneCount) -> str:
    counts = f"{found.n_regions} activation regions and {found.pieces} affine pieces; "
    if found.is_exact:
        return counts + "every cut is decided in exact arithmetic."
    if found.n_close == 0:
        return counts + "no cut is as close as rounding errors may be."
    return counts + f"{found.n_close} decisions on cuts are as close as rounding errors may be."


def _sizes(found: PlaneCount) -> Table:
    shares = np.sort(found.areas)[::-1] / found.area
    rows: list[tuple[Cell, ...]] = [("largest", float(shares[0]))]
    rows += [(f"{q:.0%} quantile", float(np.quantile(shares, q))) for q in (0.9, 0.5, 0.1)]
    rows.append(("smallest", float(shares[-1])))
    return Table("areas", "Areas of the regions", ("region", "share of the area"), tuple(rows))


def _picture(found: PlaneCount) -> Figure:
    largest = np.argsort(-found.areas, kind="stable")[:MOST_REGIONS]
    angle = np.arctan2(found.maps[largest, 2, 0], found.maps[largest, 1, 0]) / (2 * np.pi) + 0.5
    shade = np.minimum((angle * _SHADES).astype(int), _SHADES - 1)
    series: list[Series] = []
    for k in range(_SHADES):
        x: list[float | None] = []
        y: list[float | None] = []
        for region in largest[shade == k].tolist():
            corners = found.polygon(region)
            x += [*corners[:, 0].tolist(), None]
            y += [*corners[:, 1].tolist(), None]
        if x:
            name = f"grows towards {360 * (k + 0.5) / _SHADES - 180:.0f}°"
            series.append(Series(name, tuple(x), tuple(y), mark="polygons"))
    shown = found.areas[largest].sum() / found.area
    which = "all regions" if len(largest) == found.n_regions else f"{shown:.3%} of the area"
    return Figure(
        key="regions",
        title=f"Regions of the function ({which})",
        x=Axis("a"),
        y=Axis("b"),
        series=tuple(series),
        how_to_read="In each polygon the function is affine. Colours tell in which direction of "
        "the plane its first output grows.",
    )
