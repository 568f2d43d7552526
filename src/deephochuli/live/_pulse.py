"""How a recording goes: steps, rate, losses, and how much is lost at the bottom of the format."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deephochuli.store import RunReader

MOST_POINTS: Final = 60
STEPS_OF_RATE: Final = 32
GRADIENTS: Final = ("g", "dz", "da")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pulse:
    """The state of a run that grows.

    Attributes:
        n_steps: Recorded steps that can be read.
        last_step: The last of them; None before the first.
        steps_per_s: Training steps per second over the last recorded ones; None if unknown.
        loss: Last loss that was told; None if there was none.
        chunk_age_s: Seconds since the last chunk was written; None before the first.
    """

    n_steps: int
    last_step: int | None
    steps_per_s: float | None
    loss: float | None
    chunk_age_s: float | None


@dataclass(frozen=True, slots=True)
class Courses:
    """Curves over the recorded steps, at most `MOST_POINTS` points each, all at the same steps.

    Attributes:
        loss: Mean of the losses told in each group of neighbouring steps; nan where there is none.
        subnormal: Of the nonzero finite elements of all gradients (g, dz, da), the share that is
            subnormal in the format it is stored in; nan where there are none.
        swamped: Of the weights that should have moved, the share that did not; nan where none.
    """

    loss: tuple[float, ...]
    subnormal: tuple[float, ...]
    swamped: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What one layer lost over the whole run until now.

    Attributes:
        layer: Its name.
        swamped: Share of the weights that should have moved and did not; nan if none should have.
        subnormal: Share of its nonzero finite gradient elements that are subnormal; nan without.
    """

    layer: str
    swamped: float
    subnormal: float

    @property
    def worst(self) -> float:
        """The larger of the two shares; zero where neither was measured."""
        known = [share for share in (self.swamped, self.subnormal) if not math.isnan(share)]
        return max(known, default=0.0)


def pulse_of(run: RunReader) -> Pulse:
    """How a recording goes now.

    Numerics:
        The rate is a quotient of the numbers of steps and of the seconds between the first and the
        last of the last 32 recorded steps; it includes whatever training did in between. The age
        compares the clock of this machine with that of the file system.
    """
    steps, losses = run.steps["step"], run.steps["loss"]
    told = np.flatnonzero(run.steps["has_loss"])
    return Pulse(
        n_steps=len(steps),
        last_step=int(steps[-1]) if len(steps) else None,
        steps_per_s=rate_of(steps, run.steps["wall_s"]),
        loss=float(losses[told[-1]]) if len(told) else None,
        chunk_age_s=_age(run),
    )


def rate_of(steps: Ints, wall_s: Floats) -> float | None:
    """Steps per second over the last recorded steps; None if time has not passed, or went back.

    Time starts anew when a run is resumed, so that only steps since then count.

    Example:
        >>> rate_of(np.array([0, 10, 20]), np.array([0.0, 1.0, 2.0]))
        10.0
    """
    wall = wall_s[-STEPS_OF_RATE:]
    back = np.flatnonzero(~(np.diff(wall) >= 0))
    first = int(back[-1]) + 1 if len(back) else 0
    if len(wall) - first < 2 or not wall[-1] > wall[first]:
        return None
    recent = steps[-len(wall) :]
    return float((recent[-1] - recent[first]) / (wall[-1] - wall[first]))


def courses_of(run: RunReader) -> Courses:
    """Curves over the recorded steps: losses step by step, shares chunk by chunk.

    A share stands at each point whose first step is in its group of chunks, so that what stands
    above each other happened at the same time.

    Numerics:
        Counts are summed as integers over all taps and over groups of neighbouring chunks, and
        divided once.
    """
    losses = np.where(run.steps["has_loss"], run.steps["loss"], np.nan)
    rows = run.rollups(())
    starts, chunk = np.unique(rows.step_first, return_inverse=True)
    at, n_groups = grouped(chunk, len(starts))
    is_gradient = np.isin(_quantities(run)[rows.tap], GRADIENTS)
    point, n_points = grouped(np.arange(len(losses)), len(losses))
    first_steps = run.steps["step"][np.searchsorted(point, np.arange(n_points))]
    there, _ = grouped(np.searchsorted(starts, first_steps, "right") - 1, len(starts))
    subnormal = _shares(*_subnormal(rows.numbers, is_gradient), at, n_groups)
    swamped = _shares(*_swamped(rows.numbers), at, n_groups)
    return Courses(
        loss=_means(losses, point, n_points),
        subnormal=_drawn_at(there, subnormal),
        swamped=_drawn_at(there, swamped),
    )


def _drawn_at(groups: Ints, shares: Sequence[float]) -> tuple[float, ...]:
    """The share of the group of each point; nan before the first, as where nothing was recorded."""
    at: list[int] = groups.tolist()
    return tuple(shares[group] if group >= 0 and shares else math.nan for group in at)


def grouped(places: Ints, n: int) -> tuple[Ints, int]:
    """Groups of neighbours, at most `MOST_POINTS` of nearly equal size, and how many there are."""
    n_groups = min(MOST_POINTS, n)
    return places * n_groups // max(1, n), n_groups


def worst_layers(run: RunReader, most: int) -> list[LayerLoss]:
    """Layers that lost the largest share of their updates or gradients, worst first.

    Layers that lost nothing are left out.
    """
    rows = run.rollups(())
    layers = [tap.layer for tap in run.taps()]
    names = list(dict.fromkeys(layers))
    place = {name: number for number, name in enumerate(names)}
    layer = np.array([place[name] for name in layers], np.int64)[rows.tap]
    is_gradient = np.isin(_quantities(run)[rows.tap], GRADIENTS)
    swamped = _shares(*_swamped(rows.numbers), layer, len(names))
    subnormal = _shares(*_subnormal(rows.numbers, is_gradient), layer, len(names))
    found = [LayerLoss(*numbers) for numbers in zip(names, swamped, subnormal, strict=True)]
    return sorted((each for each in found if each.worst > 0), key=lambda each: -each.worst)[:most]


def _quantities(run: RunReader) -> npt.NDArray[np.str_]:
    """Quantity of each tap."""
    return np.array([tap.quantity for tap in run.taps()], np.str_)


def _subnormal(rows: Mapping[str, Ints], is_gradient: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Subnormal and nonzero finite elements of the gradients among the rows."""
    known = is_gradient & (rows["n_subnormal"] >= 0)
    nonzero = rows["n"] - rows["n_zero"] - rows["n_inf"] - rows["n_nan"]
    return np.where(known, rows["n_subnormal"], 0), np.where(known, nonzero, 0)


def _swamped(rows: Mapping[str, Ints]) -> tuple[Ints, Ints]:
    """Unmoved weights and those that should have moved; rows without such counts hold -1."""
    return np.maximum(rows["n_unmoved"], 0), np.maximum(rows["n_updatable"], 0)


def _shares(part: Ints, whole: Ints, at: Ints, size: int) -> tuple[float, ...]:
    """Quotients of sums by group; nan where there is nothing to divide by."""
    parts, wholes = _sums(part, at, size), _sums(whole, at, size)
    return tuple(
        p / w if w else math.nan for p, w in zip(parts.tolist(), wholes.tolist(), strict=True)
    )


def _sums(values: Ints, at: Ints, size: int) -> Ints:
    """Integer sums by group."""
    sums = np.zeros(size, np.int64)
    np.add.at(sums, at, values)
    return sums


def _means(values: Floats, at: Ints, size: int) -> tuple[float, ...]:
    """Means by group of the values that are there."""
    known = ~np.isnan(values)
    count = np.bincount(at[known], minlength=size)
    total = np.bincount(at[known], weights=values[known], minlength=size)
    return tuple(
        t / n if n else math.nan for t, n in zip(total.tolist(), count.tolist(), strict=True)
    )


def _age(run: RunReader) -> float | None:
    """Seconds since the last chunk was written."""
    ages = [_seconds_since(run, chunk.name) for chunk in run.chunks[-1:]]
    return next(iter(ages), None)


def _seconds_since(run: RunReader, chunk: str) -> float | None:
    try:
        return max(0.0, time.time() - (run.path / chunk).stat().st_mtime)
    except OSError:
        return None


def points_of(values: Sequence[float]) -> list[float]:
    """Heights of a curve between its smallest and its largest value, in [0, 1]; nan stays.

    Example:
        >>> points_of([3.0, 2.0, 1.0])
        [1.0, 0.5, 0.0]
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return [math.nan for _ in values]
    low, reach = min(known), max(known) - min(known)
    return [_height(value, low, reach) for value in values]


def _height(value: float, low: float, reach: float) -> float:
    if not math.isfinite(value):
        return math.nan
    return (value - low) / reach if reach > 0 else 0.5
