"""Pictures of the study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from deephochuli.analysis import Axis, Figure, Series
from deephochuli.studies.pieces._read import Row, chosen

_REGIONS = Axis("activation regions", "log2")


def figures(rows: Sequence[Row]) -> tuple[Figure, ...]:
    """All figures for which something was measured."""
    made = (
        _against_depth(rows),
        _against_noise(rows),
        _zoomed(rows),
        _steps(rows),
        _reciprocals(rows),
        _random_nets(rows),
        _trainings(rows),
    )
    return tuple(figure for figure in made if figure.series)


def _against_depth(rows: Sequence[Row]) -> Figure:
    """Noise of given sizes on every bias, against depth, with 2^L, N L and the bound."""
    absolute = chosen(rows, kind="absolute", zoom=0, n_chains=1)
    ways = _ways(absolute)
    series = [_counts(f"noise {way[9:]}", chosen(absolute, way), _depth) for way in ways]
    depths = sorted({row.params["depth"] for row in absolute})
    if depths:
        series += [
            _line("2^L", depths, [2.0**depth for depth in depths]),
            _line("N L", depths, [2.0 * depth for depth in depths]),
        ]
    for way in ways[:3]:
        here = chosen(absolute, way)
        bounds = [row.bound for row in here]
        series.append(_line(f"bound, noise {way[9:]}", list(map(_depth, here)), bounds))
    return Figure(
        "count-depth",
        "Regions of scaled teeth whose biases are random, against depth",
        Axis("hidden layers L"),
        _REGIONS,
        tuple(series),
        "Points are means over networks with their smallest and largest count. Where the noise is "
        "far below 2^-L nothing is lost; where it is far above, the count stays below its bound.",
    )


def _against_noise(rows: Sequence[Row]) -> Figure:
    absolute = chosen(rows, kind="absolute", zoom=0, n_chains=1)
    series: list[Series] = []
    for depth in sorted({row.params["depth"] for row in absolute})[-5:]:
        here = chosen(absolute, depth=depth)
        series.append(_counts(f"L = {depth}", here, _level))
    if absolute:
        here = chosen(absolute, depth=max(row.params["depth"] for row in absolute))
        series.append(_line("bound, deepest", [row.level for row in here], [r.bound for r in here]))
    return Figure(
        "count-noise",
        "Regions of scaled teeth against the size of the noise on every bias",
        Axis("size of the noise s", "log2"),
        _REGIONS,
        tuple(series),
        "From right to left the noise shrinks; each curve levels off at 2^L or somewhat above, "
        "where kinks that coincide at the start are split.",
    )


def _zoomed(rows: Sequence[Row]) -> Figure:
    absolute = [row for row in chosen(rows, kind="absolute") if row.params["zoom"]]
    depths = sorted({row.params["depth"] for row in absolute})
    series = [_counts(f"L = {depth}", chosen(absolute, depth=depth), _level) for depth in depths]
    return Figure(
        "zoom",
        "Deep networks on short segments on which 1024 pieces lie before",
        Axis("size of the noise s", "log2"),
        _REGIONS,
        tuple(series),
        "The count falls where s passes 2^-L.",
    )


def _steps(rows: Sequence[Row]) -> Figure:
    steps = chosen(rows, kind="step", start="last", target="sin", log2_lr=-4, zoom=0, n_chains=1)
    ways = _ways(steps)
    series = [_counts(way, chosen(steps, way), _depth) for way in ways]
    depths = sorted({row.params["depth"] for row in steps})
    if depths:
        series.append(_line("2^L", depths, [2.0**depth for depth in depths]))
        bounded = chosen(steps, "relative 2^-4")
        bounds = [row.bound for row in bounded]
        series.append(_line("bound, relative 2^-4", list(map(_depth, bounded)), bounds))
    return Figure(
        "steps",
        "One step of gradient descent from scaled teeth, computed in several ways",
        Axis("hidden layers L"),
        _REGIONS,
        tuple(series),
        "Exact: binary64 without noise. If the other ways lie beside it, the step itself removed "
        "the pieces, and not the noise.",
    )


def _reciprocals(rows: Sequence[Row]) -> Figure:
    """Distribution of 1/|D| over binades, of the widest random networks and of teeth."""
    series: list[Series] = []
    for row in _one_each(chosen(rows, "exact", kind="step", zoom=0)):
        start, depth = row.params["start"], row.params["depth"]
        width = row.params.get("width", 3 if start == "square" else 2)
        wanted = (start == "he" and depth == 5) or (start != "he" and depth in (4, 8))
        binades = {int(k): n for k, n in row.point["updates"]["binades"].items()}
        if not wanted or row.params["log2_lr"] != -4 or row.params["target"] != "sin":
            continue
        total = sum(binades.values())
        places = range(min(binades), max(binades) + 2)
        shares = tuple(binades.get(place, 0) / total for place in places)
        name = f"{start}, width {width}, L = {depth}"
        series.append(Series(name, tuple(2.0**place for place in places), shares, mark="steps"))
    return Figure(
        "reciprocals",
        "Reciprocals of the bias updates of one exact step",
        Axis("1/|D|", "log2"),
        Axis("share of the updates that are not zero", low=0.0),
        tuple(series),
        "One step of a line is a binade. A tail that halves from binade to binade adds the same "
        "to the mean in each, so the mean grows with the number of neurons looked at.",
    )


def _random_nets(rows: Sequence[Row]) -> Figure:
    he = chosen(rows, kind="step", start="he")
    series = [_counts(way, chosen(he, way), lambda row: float(row.n_neurons)) for way in _ways(he)]
    return Figure(
        "random",
        "Regions of random networks after one step, against the number of neurons",
        Axis("neurons", "log2"),
        _REGIONS,
        tuple(series),
        "All widths and depths together.",
    )


def _trainings(rows: Sequence[Row]) -> Figure:
    trained = chosen(rows, kind="training", start="last", target="sin")
    series = [_counts(way, chosen(trained, way), _depth) for way in _ways(trained)]
    return Figure(
        "trainings",
        "Regions after a whole training from scaled teeth",
        Axis("hidden layers L"),
        _REGIONS,
        tuple(series),
    )


def _counts(name: str, rows: Sequence[Row], place: Callable[[Row], float]) -> Series:
    """Means with the smallest and the largest count of each group."""
    ordered = sorted(rows, key=place)
    return Series(
        name,
        tuple(map(place, ordered)),
        tuple(row.mean for row in ordered),
        tuple(float(min(row.regions)) for row in ordered),
        tuple(float(max(row.regions)) for row in ordered),
        note="mean, smallest and largest",
    )


def _line(name: str, x: Sequence[float], y: Iterable[float | None]) -> Series:
    return Series(name, tuple(map(float, x)), tuple(y), mark="line", dashed=True)


def _ways(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.way for row in rows))


def _depth(row: Row) -> float:
    return float(row.params["depth"])


def _level(row: Row) -> float:
    return row.level


def _one_each(rows: Sequence[Row]) -> list[Row]:
    """One row for each start, width and depth."""
    keys = [(row.params["start"], row.params.get("width"), row.params["depth"]) for row in rows]
    first = np.unique([str(key) for key in keys], return_index=True)[1]
    return [rows[index] for index in sorted(first)]
