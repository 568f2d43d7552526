"""Headroom: how many binades are left to the largest finite number, and where it is heading.

Definition: headroom = log2(max_finite) - log2(largest finite magnitude) of a tensor in one recorded
step, in binades, for the format the tensor is stored in. The trend is the Theil-Sen slope of the
headroom over the recorded steps (median of the slopes of all pairs), with the interval of Sen
(1968) from the normal approximation to Kendall's statistic; a forecast is given only when that
interval excludes a growing headroom. In a long run it is the slope of the least headroom of
stretches of neighbouring steps (`Courses`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence
from deephochuli.analysis._tables import TapSeries, series_of
from deephochuli.store import RunReader

WARN_BINADES = 1.0
WATCH_BINADES = 12.0
MAX_POINTS = 128
CONFIDENCE_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, slots=True)
class Trend:
    """A robust line through a series.

    Attributes:
        slope: Median slope of all pairs of points, per step.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Headroom:
    """The room at the top of one tensor's format.

    Attributes:
        series: The tensor.
        steps: First step of each stretch of recorded steps with a nonzero finite element.
        binades: Least headroom in each of them.
        trend: Its trend, or None with fewer than 8 of them.
    """

    series: TapSeries
    steps: NDArray[np.int64]
    binades: NDArray[np.float64]
    trend: Trend | None

    @property
    def least(self) -> float:
        """Smallest headroom of any recorded step, in binades."""
        return float(self.binades.min())

    @property
    def least_at(self) -> int:
        """The first step that has it."""
        return int(self.series.tally.largest_at[self.series.index])

    @property
    def steps_left(self) -> tuple[float, float] | None:
        """Steps until the trend reaches the end of the range: (soonest, most likely), or None."""
        if self.trend is None or self.trend.high >= 0:
            return None
        now = float(np.median(self.binades[-max(1, len(self.binades) // 10) :]))
        return max(now, 0.0) / -self.trend.low, max(now, 0.0) / -self.trend.slope


def headrooms(run: RunReader) -> list[Headroom]:
    """Measure every tensor of a run, least headroom first."""
    found = [_measure(series) for series in series_of(run)]
    return sorted((h for h in found if h is not None), key=lambda h: h.least)


def theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> Trend:
    """Fit a line by the median of the slopes of all pairs.

    Args:
        x: Strictly increasing abscissae, float64 [n], n >= 2.
        y: Ordinates, float64 [n].

    Returns:
        The slope and its 95 % interval.

    References:
        Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    n = len(x)
    i, j = np.triu_indices(n, 1)
    slopes = np.sort((y[j] - y[i]) / (x[j] - x[i]))
    spread = CONFIDENCE_Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, int((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return Trend(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))


def find(run: RunReader) -> list[Finding]:
    """Report tensors that are about to overflow, or heading there."""
    last_step = int(run.steps["step"][-1]) if len(run.steps["step"]) else 0
    hit = [h for h in headrooms(run) if h.least < WARN_BINADES or _is_near(h, last_step)]
    by_dtype: dict[str, list[Headroom]] = {}
    for headroom in hit:
        by_dtype.setdefault(headroom.series.info.dtype, []).append(headroom)
    return [_finding(dtype, group) for dtype, group in by_dtype.items()]


def _is_near(headroom: Headroom, last_step: int) -> bool:
    """Whether the trend reaches the end of the range within as many steps as were made so far."""
    left = headroom.steps_left
    return left is not None and headroom.least < WATCH_BINADES and left[1] <= last_step


def _measure(series: TapSeries) -> Headroom | None:
    fmt = series.format
    if fmt is None:
        return None
    largest = series.courses.largest_of(series.index)
    measured = largest > 0
    if not measured.any():
        return None
    steps = series.courses.first[measured]
    binades = math.log2(fmt.max_finite) - np.log2(largest[measured])
    trend = None
    if len(steps) >= 8 and binades.min() < WATCH_BINADES:
        chosen = np.unique(np.linspace(0, len(steps) - 1, MAX_POINTS).astype(np.int64))
        trend = theil_sen(steps[chosen].astype(np.float64), binades[chosen])
    return Headroom(series, steps, binades, trend)


def _finding(dtype: str, group: list[Headroom]) -> Finding:
    worst = group[0]
    info = worst.series.info
    at = worst.least_at
    level: Level = "critical" if worst.least <= 0 else "warning"
    left = worst.steps_left
    forecast = (
        f" At its present trend it overflows in about {left[1]:.0f} steps (no sooner than "
        f"{left[0]:.0f}, 95 %)."
        if left
        else ""
    )
    return Finding(
        kind="overflow-headroom",
        level=level,
        score=1.0 - min(max(worst.least, 0.0), WATCH_BINADES) / WATCH_BINADES,
        title=(
            f"{info.layer} ({info.quantity}) is {worst.least:.2f} binades from overflow in {dtype}"
        ),
        layer=info.layer,
        quantity=info.quantity,
        summary=(
            f"Least headroom {worst.least:.2f} binades at step {at}; {len(group)} {dtype} tensors "
            f"are below {WARN_BINADES:g} binade or heading there.{forecast}"
        ),
        why="The next larger value becomes infinity, and one infinity makes the loss NaN.",
        advice="Use BF16 for this layer, lower its inputs by a normalisation, or lower the loss "
        "scale if this is a gradient.",
        code="with torch.autocast(device_type, dtype=torch.bfloat16):\n    y = layer(x)",
        numbers=(
            Number("least headroom", worst.least, "binades"),
            *((Number("forecast", left[1], "steps", left[0], None),) if left else ()),
        ),
        places=tuple(
            PlaceEvidence(h.series.info.layer, h.series.info.quantity, h.least) for h in group
        ),
        step_first=at,
        step_last=worst.series.last_step,
        evidence="headroom",
    )
