"""What a tracker shows of a run: totals of each step, layers and histograms by chunk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.sketch import Sketch
from deephochuli.store import Rollups, RunReader, TapInfo

QUANTITIES: Final = ("z", "g", "dw")
"""What is shown of each layer if nothing is said: its inputs, its gradients and its updates."""

GRADIENTS: Final = frozenset({"g", "dz", "da"})
_COUNTS: Final = (
    *("n", "n_zero", "n_subnormal", "n_inf", "n_nan"),
    *("n_updatable", "n_unmoved", "n_channels", "n_silent_channels"),
)
_STEP_NUMBERS: Final = ("loss", "loss_scale", "lr")

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Exact counts of nonzero finite numbers by their exponent e = floor(log2|x|).

    Attributes:
        exponents: int64, increasing: exponents that occur.
        counts: int64: how many numbers have each.
    """

    exponents: NDArray[np.int64]
    counts: NDArray[np.int64]

    def bins(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Counts in bins side by side, and the edges around them.

        Args:
            most: How many bins there may be.

        Returns:
            Counts, int64 [bins], and edges, float64 [bins + 1]. A bin is one binade wide, or, when
            there would be too many, the least power of two of binades; edges lie half way between
            exponents, so that no exponent lies on one.

        Numerics:
            Counts are exact integers.

        Example:
            >>> found = Histogram(np.array([-3, -1]), np.array([5, 7]))
            >>> [part.tolist() for part in found.bins(10)]
            [[5, 0, 7], [-3.5, -2.5, -1.5, -0.5]]
            >>> [part.tolist() for part in found.bins(2)]
            [[5, 7], [-3.5, -1.5, 0.5]]
        """
        low, high = int(self.exponents[0]), int(self.exponents[-1])
        width = 1
        while (high - low) // width >= most:
            width *= 2
        n_bins = (high - low) // width + 1
        counts = np.zeros(n_bins, np.int64)
        np.add.at(counts, (self.exponents - low) // width, self.counts)
        return counts, low - 0.5 + width * np.arange(n_bins + 1, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """What a tracker shows at one recorded step.

    Attributes:
        step: The step.
        totals: Numbers of the whole model in this step, by name.
        layers: Numbers of layers over the chunk that ends here, by name; empty at other steps.
        histograms: Exponents over the same chunk, by name.
    """

    step: int
    totals: dict[str, float]
    layers: dict[str, float] = field(default_factory=dict[str, float])
    histograms: dict[str, Histogram] = field(default_factory=dict[str, Histogram])


def numbers_of(run: RunReader, quantities: Sequence[str] = QUANTITIES) -> list[StepNumbers]:
    """All that a tracker shows of a run, step by step.

    Args:
        run: A run, or a part of one; at least one chunk.
        quantities: Quantities of which layers are shown.

    Returns:
        An entry for each recorded step, in order.

    Numerics:
        Shares are quotients of exact integer counts; what no element was counted for is left out.
        ``rms`` is the root of the recorded sum of squares over the number of finite elements.
    """
    layers = _layers(run, frozenset(quantities))
    return [StepNumbers(step, totals, *layers.get(step, ({}, {}))) for step, totals in _totals(run)]


# --- whole steps ---------------------------------------------------------------------------------


def _totals(run: RunReader) -> Iterator[tuple[int, dict[str, float]]]:
    """Numbers of the whole model, step by step."""
    steps, table, taps = run.steps, run.all_scalars(_COUNTS), run.taps()
    quantity = np.array([tap.quantity for tap in taps])[table["tap"]]
    at = np.searchsorted(steps["step"], table["step"])
    is_gradient = np.isin(quantity, sorted(GRADIENTS))

    def total(name: str, where: NDArray[np.bool_]) -> NDArray[np.int64]:
        found = np.zeros(len(steps["step"]), np.int64)
        np.add.at(found, at[where], table[name][where].astype(np.int64))
        return found

    everywhere = np.ones(len(at), np.bool_)
    moved, has_channels = table["n_updatable"] > 0, table["n_channels"] > 0
    nonfinite = total("n_inf", everywhere) + total("n_nan", everywhere)
    shares = {
        "updates_unmoved_share": (total("n_unmoved", moved), total("n_updatable", moved)),
        "gradients_zero_share": (total("n_zero", is_gradient), total("n", is_gradient)),
        "gradients_subnormal_share": (total("n_subnormal", is_gradient), total("n", is_gradient)),
        "channels_silent_share": (
            total("n_silent_channels", has_channels),
            total("n_channels", has_channels),
        ),
    }
    for row, step in enumerate(steps["step"].tolist()):
        found = {"nonfinite": float(nonfinite[row]), "skipped": float(steps["skipped"][row])}
        found |= {n: int(a[row]) / int(b[row]) for n, (a, b) in shares.items() if b[row]}
        found |= {n: float(steps[n][row]) for n in _STEP_NUMBERS if _is_told(steps, n, row)}
        yield step, found


def _is_told(steps: Columns, name: str, row: int) -> bool:
    """Whether a number of a step was recorded; a loss can be recorded as nan."""
    if name == "loss":
        return bool(steps["has_loss"][row])
    return not np.isnan(steps[name][row])


# --- layers --------------------------------------------------------------------------------------

Layers = tuple[dict[str, float], dict[str, Histogram]]


def _layers(run: RunReader, quantities: frozenset[str]) -> dict[int, Layers]:
    """Numbers and histograms of each tap, by the last step of the chunk that they are of."""
    rollups, taps = run.rollups(("key", "count")), run.taps()
    ends: dict[int, int] = {}
    for chunk, last in zip(rollups.chunk.tolist(), rollups.step_last.tolist(), strict=True):
        ends[chunk] = max(last, ends.get(chunk, last))
    found: dict[int, Layers] = {}
    for row, index in enumerate(rollups.tap.tolist()):
        tap = taps[int(index)]
        if tap.quantity in quantities:
            numbers, histograms = found.setdefault(ends[int(rollups.chunk[row])], ({}, {}))
            name = _name(tap)
            for measure, value in _measures(rollups.numbers, row):
                numbers[f"{name}/{measure}"] = value
            histogram = _histogram(rollups, row)
            if histogram is not None:
                histograms[name] = histogram
    return found


def _measures(columns: Columns, row: int) -> Iterator[tuple[str, float]]:
    """Numbers of one tap over one chunk."""
    count = {name: int(columns[name][row]) for name in _COUNTS}
    n_nonfinite = count["n_inf"] + count["n_nan"]
    yield "nonfinite", float(n_nonfinite)
    if count["n"]:
        yield "zero_share", count["n_zero"] / count["n"]
        yield "subnormal_share", count["n_subnormal"] / count["n"]
    if count["n"] > n_nonfinite:
        yield "rms", float(np.sqrt(columns["sum_sq"][row] / (count["n"] - n_nonfinite)))
    if count["n_updatable"] > 0:
        yield "unmoved_share", count["n_unmoved"] / count["n_updatable"]
    if count["n_channels"] > 0:
        yield "silent_share", count["n_silent_channels"] / count["n_channels"]


def _histogram(rollups: Rollups, row: int) -> Histogram | None:
    keys, counts = rollups.lists["key"][row], rollups.lists["count"][row]
    if keys is None or counts is None:
        return None
    binades = Sketch.from_counts(keys, counts, 0.0, 0.0, np.nan, np.nan).binades()
    if not binades:
        return None
    return Histogram(np.array(list(binades), np.int64), np.array(list(binades.values()), np.int64))


def _name(tap: TapInfo) -> str:
    """Name of a tap in words that every tracker takes: letters, digits and ``_ . - /``."""
    layer = tap.layer.replace("#", ".call")
    return re.sub(r"[^\w./-]", "_", f"{tap.quantity}/{layer}", flags=re.ASCII)
