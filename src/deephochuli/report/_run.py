"""One run as a page needs it: a small JSON part, and arrays in the blob."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from deephochuli.errors import FormatError
from deephochuli.formats import format_of_dtype
from deephochuli.report._codes import Blob, encode_counts, encode_magnitudes
from deephochuli.report._gather import (
    INFINITY_KEY,
    Cells,
    Entries,
    Sparse,
    cells_of,
    class_counts,
    entries_of,
    exact_sums,
    extremes,
    finite_nonzero,
    folded,
    half_binades,
    joined,
    merged_over_time,
    rectified,
)
from deephochuli.report._read import RunTables
from deephochuli.report._rows import Floats, Ints
from deephochuli.report._series import add_series
from deephochuli.report._units import add_units
from deephochuli.store import TapInfo

LOWEST_RATIO: Final = -(1 << 15)


def with_activations(taps: list[TapInfo]) -> tuple[list[TapInfo], Ints]:
    """Add the taps a = relu(z) that a run does not store, and say which z each comes from."""
    known = {(tap.layer, tap.quantity) for tap in taps}
    tap_of = np.full(len(taps), -1, dtype=np.int64)
    out = list(taps)
    for number, tap in enumerate(taps):
        if tap.quantity == "z" and tap.role == "relu" and (tap.layer, "a") not in known:
            tap_of[number] = len(out)
            out.append(replace(tap, quantity="a"))
    return out, tap_of


def add_run(blob: Blob, prefix: str, run: RunTables) -> dict[str, Any]:
    """Pack the arrays of one run and return its JSON part (see `_payload` for the layout)."""
    taps, tap_of = with_activations(run.taps)
    entries = _entries(run, tap_of)
    add_series(blob, prefix, run.curves, run.columns, len(run.taps))
    sparse = merged_over_time(entries, len(taps))
    _add_totals(blob, prefix, run, sparse)
    _add_sparse(blob, f"{prefix}sketch.", sparse, "u2")
    _add_bins(blob, prefix, run, entries, len(taps))
    _add_ratios(blob, prefix, run)
    _add_steps(blob, prefix, run)
    units = add_units(blob, prefix, run.histograms, run.bins, len(run.taps))
    return {
        "name": run.name,
        "taps": [_tap_payload(tap) for tap in taps],
        "columns": run.columns.as_payload(),
        "bins": run.bins.as_payload(),
        "n_recorded": int(run.columns.n.sum()),
        "n_stored_curves": len(run.taps),
        "units": units,
    }


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


def _entries(run: RunTables, tap_of: Ints) -> Entries:
    """Histogram entries of every tap, derived activations included, signs folded."""
    lists = run.histograms.lists
    signed = entries_of(run.histograms, lists["key"], lists["count"], run.bins)
    return folded(joined(signed, rectified(signed, tap_of)))


def _add_totals(blob: Blob, prefix: str, run: RunTables, sparse: Sparse) -> None:
    """Exact whole-run numbers that a histogram does not hold; of derived taps, from its edges."""
    rows, tap = run.histograms, run.histograms.tap
    n_taps = sparse.offsets.size - 1
    derived = np.arange(n_taps) >= len(run.taps)
    edges = _edge_totals(sparse)
    recorded = {
        "min_abs": extremes(rows.numbers["min_abs"], tap, n_taps, largest=False),
        "max_abs": extremes(rows.numbers["max_abs"], tap, n_taps, largest=True),
        "sum": np.bincount(tap, weights=rows.numbers["sum"], minlength=n_taps),
        "sum_sq": np.bincount(tap, weights=rows.numbers["sum_sq"], minlength=n_taps),
    }
    for name, values in recorded.items():
        blob.add(f"{prefix}total.{name}", "f8", np.where(derived, edges[name], values))
    for name in ("n_subnormal", "n_updatable", "n_unmoved"):
        known = rows.numbers[name] >= 0
        sums = exact_sums(tap[known], rows.numbers[name][known], n_taps)
        blob.add(f"{prefix}total.{name}", "i8", sums)


def _edge_totals(sparse: Sparse) -> dict[str, Floats]:
    """Extremes and sums of folded histograms with every magnitude at the lower edge of its key."""
    n_taps = sparse.offsets.size - 1
    tap = np.repeat(np.arange(n_taps), np.diff(sparse.offsets))
    edge = ((sparse.keys >> 1) << 49).astype(np.uint64).view(np.float64)
    finite = sparse.keys < INFINITY_KEY
    nonzero = finite & (sparse.keys > 0)
    with np.errstate(over="ignore"):
        square = np.where(finite, edge, 0.0) ** 2 * sparse.counts
    return {
        "min_abs": extremes(edge[nonzero], tap[nonzero], n_taps, largest=False),
        "max_abs": extremes(edge[finite], tap[finite], n_taps, largest=True),
        "sum": np.bincount(tap, np.where(finite, edge, 0.0) * sparse.counts, n_taps).astype(
            np.float64
        ),
        "sum_sq": np.bincount(tap, square, n_taps).astype(np.float64),
    }


def _add_sparse(blob: Blob, prefix: str, sparse: Sparse, kind: str) -> None:
    """Pack one sparse histogram a tap."""
    blob.add(f"{prefix}offsets", "u4", sparse.offsets, delta=True)
    blob.add(f"{prefix}keys", kind, sparse.keys, delta=True)
    blob.add(f"{prefix}counts", "i8", sparse.counts)


def _add_bins(blob: Blob, prefix: str, run: RunTables, entries: Entries, n_taps: int) -> None:
    """Pack the histograms over time, and what a histogram over time leaves out."""
    n_bins = len(run.bins)
    usual = finite_nonzero(entries)
    _add_cells(blob, f"{prefix}bins.", cells_of(usual, half_binades(usual.key), n_taps, n_bins))
    for name, counts in class_counts(entries, n_taps, n_bins).items():
        blob.add(f"{prefix}bins.{name}", "u2", encode_counts(counts), delta=True)
    rows = run.histograms
    cell = rows.tap * n_bins + run.bins.place(rows.first)
    for name, largest in (("min", False), ("max", True)):
        values = extremes(rows.numbers[f"{name}_abs"], cell, n_taps * n_bins, largest=largest)
        blob.add(f"{prefix}bins.{name}", "i4", encode_magnitudes(values), delta=True)


def _add_cells(blob: Blob, prefix: str, cells: Cells) -> None:
    """Pack counts by tap, slot and time bin."""
    blob.add(f"{prefix}low", "i2", cells.low)
    blob.add(f"{prefix}width", "u2", cells.width)
    blob.add(f"{prefix}counts", "u2", encode_counts(cells.counts), delta=True)


def _add_ratios(blob: Blob, prefix: str, run: RunTables) -> None:
    """Pack the histograms of floor(log2|dw|) - floor(log2|w|), over the run and over time."""
    lists = run.histograms.lists
    if "ratio" not in lists or lists["ratio"].values.size == 0:
        return
    entries = entries_of(run.histograms, lists["ratio"], lists["ratio_count"], run.bins)
    n_taps = len(run.taps)
    sparse = merged_over_time(entries, n_taps, lowest=LOWEST_RATIO)
    _add_sparse(blob, f"{prefix}ratio.", sparse, "i2")
    _add_cells(blob, f"{prefix}ratio.bins.", cells_of(entries, entries.key, n_taps, len(run.bins)))


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
