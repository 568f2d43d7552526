"""Gradient underflow: gradients that a format has no small enough number for.

What was flushed to zero left no trace but a zero, and zeros have other causes (a closed ReLU). So
the share of lost gradients is bounded from both sides:

- from above by the zeros that are there;
- from below by the smallest number there is. Of the magnitudes that rounded to the smallest
  subnormal s, all came from (s/2, 3s/2), a range of width s on each side of zero; what was flushed
  came from (-s/2, s/2). If small gradients are no rarer than slightly larger ones (the density does
  not increase with the magnitude), at least half as many were flushed as are found at exactly s.

Counted directly besides: the share of the nonzero gradients that are subnormal and have lost bits.

Under a gradient scaler, dz and da are what the network held: multiplied by the scale of their step.
It is divided out where a scale is advised, and only there; from g the scaler had divided it out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent
from deephochuli.analysis._tables import TapSeries, series_of, share
from deephochuli.analysis._whole import sketches
from deephochuli.formats import Format
from deephochuli.kernels import key_of
from deephochuli.sketch import Sketch, highest_scale
from deephochuli.store import RunReader

GRADIENTS = ("g", "dz", "da")
WARN_SHARE = 0.01
CRITICAL_SHARE = 0.10
MARGIN_BINADES = 4

_SCALE_THE_LOSS: Final = (
    "Scale the loss, so that gradients move up into the range of the format; or use BF16, which "
    "has the range of FP32."
)


@dataclass(frozen=True, slots=True)
class Underflow:
    """What one gradient lost at the bottom of its format.

    Attributes:
        series: The gradient.
        format: Its format.
        sketch: All its values over the recorded steps.
        flushed_low: At least this many nonzero gradients became zero.
        flushed_high: At most this many.
        subnormal: Nonzero gradients that are subnormal.
    """

    series: TapSeries
    format: Format
    sketch: Sketch
    flushed_low: int
    flushed_high: int
    subnormal: int

    @property
    def n_nonzero(self) -> int:
        """Nonzero finite gradients that are left."""
        return self.sketch.n_finite - self.sketch.n_zero

    @property
    def flushed_low_share(self) -> float:
        """At least this share of the gradients that were not zero became zero."""
        return share(self.flushed_low, self.n_nonzero + self.flushed_low)

    @property
    def flushed_high_share(self) -> float:
        """At most this share."""
        return share(self.flushed_high, self.n_nonzero + self.flushed_high)

    @property
    def damaged_share(self) -> float:
        """Share of the gradients that became zero (lower bound) or lost bits."""
        return share(self.flushed_low + self.subnormal, self.n_nonzero + self.flushed_low)


def underflows(run: RunReader) -> list[Underflow]:
    """Measure every gradient of a run that lost anything, worst first."""
    wanted = [s for s in series_of(run, lambda tap: tap.quantity in GRADIENTS) if _may_lose(s)]
    merged = sketches(run, [series.info for series in wanted])
    found = [_measure(series, merged[series.info.layer, series.info.quantity]) for series in wanted]
    return sorted((u for u in found if u), key=lambda u: -u.damaged_share)


def find(run: RunReader) -> list[Finding]:
    """Report gradients that underflow."""
    hit = [u for u in underflows(run) if u.damaged_share >= WARN_SHARE]
    by_format: dict[str, list[Underflow]] = {}
    for underflow in hit:
        by_format.setdefault(underflow.series.info.dtype, []).append(underflow)
    return [_finding(run, dtype, group) for dtype, group in by_format.items()]


def limiting_scale(run: RunReader, fmt: Format) -> tuple[float, str] | None:
    """Find the largest loss scale that no recorded gradient of a format forbids.

    Returns:
        The power of two, leaving ``MARGIN_BINADES`` of room at the top, whatever scale the run
        used; and the layer and quantity that limit it. None without gradients.
    """
    largest = [
        (_largest_unscaled(run, series), f"{series.info.layer}:{series.info.quantity}")
        for series in series_of(run, lambda tap: tap.quantity in GRADIENTS)
    ]
    max_abs, place = max(largest, key=lambda each: each[0], default=(0.0, ""))
    if max_abs == 0.0:
        return None
    return highest_scale(max_abs, fmt, margin_binades=MARGIN_BINADES), place


def loss_scales(run: RunReader) -> NDArray[np.float64]:
    """By what the loss was multiplied in each recorded step; 1 where nothing scaled it."""
    found = run.steps["loss_scale"].astype(np.float64)
    return np.where(np.isnan(found), 1.0, found)


def _largest_unscaled(run: RunReader, series: TapSeries) -> float:
    """Largest magnitude of a gradient with the loss scale divided out.

    A long run keeps the largest magnitude of stretches of steps. Each is divided by the smallest
    scale in its stretch, so what is returned is never too small.
    """
    if series.info.quantity == "g":
        return float(series.tally.largest[series.index])
    starts = np.searchsorted(run.steps["step"], series.courses.first)
    scales = np.minimum.reduceat(loss_scales(run), starts) if len(starts) else np.ones(0)
    values = series.courses.largest_of(series.index) / scales
    return float(np.fmax.reduce(values, initial=0.0))


def _may_lose(series: TapSeries) -> bool:
    return series.format is not None and series.total("n_subnormal") > 0


def _measure(series: TapSeries, sketch: Sketch) -> Underflow | None:
    fmt = series.format
    if fmt is None:
        return None
    smallest = key_of(fmt.smallest_subnormal)
    at_smallest = sketch.count_key(smallest) + sketch.count_key(0x8000 | smallest)
    zeros = sketch.n_zero
    return Underflow(
        series,
        fmt,
        sketch,
        min(at_smallest // 2, zeros),
        zeros,
        series.total("n_subnormal"),
    )


def _finding(run: RunReader, dtype: str, group: list[Underflow]) -> Finding:
    worst = group[0]
    info = worst.series.info
    first, last = worst.series.span("n_subnormal")
    advice, code = _remedy(run, worst)
    subnormal = share(worst.subnormal, worst.n_nonzero)
    low, high = worst.flushed_low_share, worst.flushed_high_share
    return Finding(
        kind="gradient-underflow",
        level="critical" if worst.damaged_share >= CRITICAL_SHARE else "warning",
        score=worst.damaged_share,
        title=(
            f"Gradients underflow in {dtype}: {percent(worst.damaged_share)} of {info.layer} "
            f"({info.quantity}) lost or damaged"
        ),
        layer=info.layer,
        quantity=info.quantity,
        summary=(
            f"{len(group)} gradient tensors reach below the normal range of {dtype} "
            f"({worst.format.smallest_normal:.3g}). In {info.layer} ({info.quantity}) "
            f"{percent(subnormal)} of the nonzero gradients are subnormal, and between "
            f"{percent(low)} and {percent(high)} were flushed to zero (the upper bound counts "
            "every zero, whatever its cause)."
        ),
        why=(
            "A gradient below half the smallest subnormal "
            f"({worst.format.zero_threshold:.3g}) becomes exactly zero, and just above it keeps "
            "only one or two bits. The weights behind it stop learning."
        ),
        advice=advice,
        code=code,
        numbers=(
            Number("flushed to zero", low, "share", low, high),
            Number("subnormal, of nonzero", subnormal, "share"),
            Number("nonzero gradients recorded", worst.n_nonzero),
        ),
        places=tuple(_evidence(underflow) for underflow in group),
        step_first=first,
        step_last=last,
        evidence="subnormal",
    )


def _remedy(run: RunReader, worst: Underflow) -> tuple[str, str]:
    """Advice and code: the loss scale that the gradients allow, unless the run had it already."""
    limit = limiting_scale(run, worst.format)
    if limit is None:
        return _SCALE_THE_LOSS, _scaler(2.0**16)
    highest, place = limit
    room = (
        f" The gradients of this run allow a scale of {_power(highest)} with {MARGIN_BINADES} "
        f"binades to spare; {place} is the tensor that limits it."
    )
    had = float(loss_scales(run).max(initial=1.0))
    if had > 1.0 and had >= highest:
        return (
            f"The loss was scaled by up to {had:.6g} already. Use BF16, which has the range of "
            f"FP32, or keep these layers in FP32.{room}"
        ), ""
    return _SCALE_THE_LOSS + room, _scaler(highest)


def _power(scale: float) -> str:
    return f"2.0**{math.log2(scale):.0f}"


def _scaler(scale: float) -> str:
    return (
        f"scaler = torch.amp.GradScaler(device_type, init_scale={_power(scale)})\n"
        "scaler.scale(loss).backward()\n"
        "scaler.step(optimizer); scaler.update()"
    )


def _evidence(underflow: Underflow) -> PlaceEvidence:
    info = underflow.series.info
    return PlaceEvidence(
        info.layer,
        info.quantity,
        underflow.damaged_share,
        underflow.flushed_low_share,
        underflow.flushed_high_share,
    )
