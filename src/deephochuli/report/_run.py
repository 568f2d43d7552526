"""One run as a page needs it: a small JSON part, and arrays in the blob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deephochuli.errors import FormatError
from deephochuli.formats import format_of_dtype
from deephochuli.report._codes import Blob, encode_counts, encode_magnitudes
from deephochuli.report._gather import (
    INFINITY_KEY,
    Entries,
    Histogram,
    entries_of,
    exact_sums,
    extremes,
    magnitudes,
    ratios,
    rectified,
    stacked,
    whole_entries,
)
from deephochuli.report._read import RunTables
from deephochuli.report._rows import Floats, Ints
from deephochuli.report._series import add_series
from deephochuli.report._units import add_units
from deephochuli.store import TapInfo


def rectified_taps(taps: Sequence[TapInfo]) -> list[int]:
    """Taps of z whose activation a = relu(z) a run does not store, because it follows exactly."""
    known = {(tap.layer, tap.quantity) for tap in taps}
    return [
        number
        for number, tap in enumerate(taps)
        if tap.quantity == "z" and tap.role == "relu" and (tap.layer, "a") not in known
    ]


def add_run(blob: Blob, prefix: str, run: RunTables) -> dict[str, Any]:
    """Pack the arrays of one run and return its JSON part (see `_payload` for the layout)."""
    sources = rectified_taps(run.taps)
    taps = [*run.taps, *(replace(run.taps[source], quantity="a") for source in sources)]
    histograms = _histograms(run, sources)
    add_series(blob, prefix, run.courses, run.columns)
    _add_totals(blob, prefix, run, histograms)
    _add_sparse(blob, f"{prefix}sketch.", histograms, "u2")
    _add_bins(blob, prefix, run, histograms)
    _add_ratios(blob, prefix, run)
    _add_steps(blob, prefix, run)
    return {
        "name": run.name,
        "taps": [_tap_payload(tap) for tap in taps],
        "columns": run.columns.as_payload(),
        "bins": run.bins.as_payload(),
        "n_recorded": int(run.columns.n.sum()),
        "n_stored_curves": len(run.taps),
        "units": add_units(blob, prefix, run.histograms, run.bins, len(run.taps)),
    }


def _histograms(run: RunTables, sources: Sequence[int]) -> list[Histogram]:
    """Histograms of every tap, then of the activations that follow from those in `sources`."""
    recorded = magnitudes_of(run)
    whole, over_time = (rectified(each, sources) for each in _entries(run))
    return recorded + magnitudes(whole, over_time, len(sources), len(run.bins))


def magnitudes_of(run: RunTables) -> list[Histogram]:
    """Histograms of every recorded tap."""
    return magnitudes(*_entries(run), len(run.taps), len(run.bins))


def _entries(run: RunTables) -> tuple[Entries, Entries]:
    """Histograms over the whole run, and over time."""
    whole = whole_entries(run.wholes.key, run.wholes.count)
    return whole, entries_of(run.histograms, "slot", "slot_count", run.bins)


def _tap_payload(tap: TapInfo) -> dict[str, Any]:
    """What the page knows of a tap besides its numbers."""
    return {
        "layer": tap.layer,
        "quantity": tap.quantity,
        "role": tap.role,
        "module": tap.module,
        "type": tap.module_type,
        "dtype": tap.dtype,
        "format": _format_name(tap.dtype),
        "order": tap.order,
    }


def _format_name(dtype: str) -> str | None:
    """Number format of a dtype, where there is one."""
    try:
        return format_of_dtype(dtype).name
    except FormatError:
        return None


def _add_totals(blob: Blob, prefix: str, run: RunTables, histograms: Sequence[Histogram]) -> None:
    """Exact whole-run numbers that a histogram does not hold; of derived taps, from its edges."""
    rows, tap = run.histograms, run.histograms.tap
    n_taps = len(histograms)
    recorded = {
        "min_abs": extremes(rows.numbers["min_abs"], tap, n_taps, largest=False),
        "max_abs": extremes(rows.numbers["max_abs"], tap, n_taps, largest=True),
        "sum": np.bincount(tap, weights=rows.numbers["sum"], minlength=n_taps),
        "sum_sq": np.bincount(tap, weights=rows.numbers["sum_sq"], minlength=n_taps),
    }
    for number in range(len(run.taps), n_taps):
        for name, value in _edge_totals(histograms[number]).items():
            recorded[name][number] = value
    for name, values in recorded.items():
        blob.add(f"{prefix}total.{name}", "f8", values)
    for name in ("n_subnormal", "n_updatable", "n_unmoved"):
        known = rows.numbers[name] >= 0
        sums = exact_sums(tap[known], rows.numbers[name][known], n_taps)
        blob.add(f"{prefix}total.{name}", "i8", sums)


def _edge_totals(histogram: Histogram) -> dict[str, float]:
    """Extremes and sums of a histogram with every magnitude at the lower edge of its key."""
    finite = histogram.keys < INFINITY_KEY
    edges = edges_of(histogram.keys[finite])
    counts = histogram.counts[finite]
    nonzero = edges[edges > 0]
    with np.errstate(over="ignore"):
        sum_sq = float(edges**2 @ counts)
    return {
        "min_abs": float(nonzero[0]) if nonzero.size else float("nan"),
        "max_abs": float(edges[-1]) if edges.size else float("nan"),
        "sum": float(edges @ counts),
        "sum_sq": sum_sq,
    }


def edges_of(keys: Ints) -> Floats:
    """Lower edges of magnitude keys."""
    return ((keys >> 1) << 49).astype(np.uint64).view(np.float64)


def _add_sparse(blob: Blob, prefix: str, histograms: Sequence[Histogram], kind: str) -> None:
    """Pack the whole-run part of histograms."""
    offsets = np.cumsum([0, *(histogram.keys.size for histogram in histograms)])
    blob.add(f"{prefix}offsets", "u4", offsets, delta=True)
    blob.add(f"{prefix}keys", kind, stacked(h.keys for h in histograms), delta=True)
    blob.add(f"{prefix}counts", "i8", stacked(h.counts for h in histograms))


def _add_cells(blob: Blob, prefix: str, histograms: Sequence[Histogram]) -> None:
    """Pack the part over time of histograms."""
    blob.add(f"{prefix}low", "i2", np.array([h.low for h in histograms], np.int64))
    blob.add(f"{prefix}width", "u2", np.array([h.slots.shape[0] for h in histograms], np.int64))
    codes = [encode_counts(h.slots) for h in histograms]  # one by one, for they are large
    blob.add(f"{prefix}counts", "u2", stacked(codes), delta=True)


def _add_bins(blob: Blob, prefix: str, run: RunTables, histograms: Sequence[Histogram]) -> None:
    """Pack the histograms over time, and what a histogram over time leaves out."""
    _add_cells(blob, f"{prefix}bins.", histograms)
    for name in ("n", "zero", "inf", "nan"):
        counts = stacked(h.classes[name] for h in histograms)
        blob.add(f"{prefix}bins.{name}", "u2", encode_counts(counts), delta=True)
    rows, n_bins = run.histograms, len(run.bins)
    cell = rows.tap * n_bins + run.bins.place(rows.first)
    for name, largest in (("min", False), ("max", True)):
        column = rows.numbers[f"{name}_abs"]
        values = extremes(column, cell, len(histograms) * n_bins, largest=largest)
        blob.add(f"{prefix}bins.{name}", "i4", encode_magnitudes(values), delta=True)


def _add_ratios(blob: Blob, prefix: str, run: RunTables) -> None:
    """Pack the histograms of floor(log2|dw|) - floor(log2|w|), over the run and over time."""
    if run.histograms.lists["ratio"].values.size == 0:
        return
    entries = entries_of(run.histograms, "ratio", "ratio_count", run.bins)
    found = ratios(entries, len(run.taps), len(run.bins))
    _add_sparse(blob, f"{prefix}ratio.", found, "i2")
    _add_cells(blob, f"{prefix}ratio.bins.", found)


def _add_steps(blob: Blob, prefix: str, run: RunTables) -> None:
    """Pack the curves of the steps themselves: means over each column, and skipped steps."""
    column = run.columns.place(run.steps["step"])
    size = len(run.columns)
    for name in ("loss", "loss_scale", "lr"):
        values = run.steps[name]
        known = np.isfinite(values)
        n_known = np.bincount(column[known], minlength=size)
        sums = np.bincount(column[known], weights=values[known], minlength=size)
        means = np.where(n_known > 0, sums / np.maximum(n_known, 1), np.nan)
        blob.add(f"{prefix}steps.{name}", "f4", means)
    skipped = np.bincount(column, weights=run.steps["skipped"], minlength=size)
    blob.add(f"{prefix}steps.skipped", "u2", skipped)
