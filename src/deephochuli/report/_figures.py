"""Static figures for papers and tickets, drawn by matplotlib (extra ``plot``)."""

# matplotlib is an optional extra and is typed only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.errors import FormatError, MissingExtraError, StoreError
from deephochuli.formats import Format, format_of_dtype
from deephochuli.report._build import Source, open_sources
from deephochuli.report._gather import INFINITY_KEY, Histogram
from deephochuli.report._read import RunTables, read_run
from deephochuli.report._rows import Ints
from deephochuli.report._run import magnitudes_of
from deephochuli.report._text import shortened
from deephochuli.store import KEYS_PER_BINADE_LOG2, TapInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES: Final = ("svg", "png")
MOST_LABELS: Final = 60
COLORS: Final = "YlGnBu"
EXPONENT_BIAS: Final = 1023


def write_figures(runs: Source | Sequence[Source], directory: str | os.PathLike[str]) -> list[Path]:
    """Write static figures of runs: swamped updates by layer and step, and exponents by layer.

    Args:
        runs: Run folder, open run, or several of them.
        directory: Folder for the figures; made when it is missing.

    Returns:
        The files written, each figure as SVG and as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StoreError: A run cannot be read, or the folder cannot be written.
    """
    figure_class = _figure_class()
    readers, names = open_sources(runs)
    folder = Path(directory)
    written: list[Path] = []
    for reader, name in zip(readers, names, strict=True):
        tables = read_run(reader, name, most_cells=160_000)
        stem = re.sub(r"[^\w.-]+", "_", name)[:80] or "run"
        written += _save(_updates_figure(tables, figure_class), folder / f"{stem}-updates")
        for quantity in sorted({tap.quantity for tap in tables.taps}):
            figure = _exponents_figure(tables, quantity, figure_class)
            suffix = re.sub(r"\W+", "_", quantity)
            written += _save(figure, folder / f"{stem}-exponents-{suffix}")
    return written


def _figure_class() -> type[Figure]:
    """The figure class, used without pyplot: no window, no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Writing static figures", "matplotlib", "plot") from error
    return Figure


def _save(figure: Figure | None, stem: Path) -> list[Path]:
    """Write one figure in every file type."""
    if figure is None:
        return []
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in SUFFIXES]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else {})
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"Figures cannot be written to {stem.parent}: {reason}.") from error
    return files


def _numbers_of(taps: Sequence[TapInfo], quantity: str) -> Ints:
    """Numbers of the taps of one quantity."""
    return np.array([i for i, tap in enumerate(taps) if tap.quantity == quantity], dtype=np.int64)


def _updates_figure(run: RunTables, figure_class: type[Figure]) -> Figure | None:
    """Share of the updates that were swamped, by layer and step."""
    chosen = _numbers_of(run.taps, "dw")
    columns = run.courses.over(np.searchsorted(run.courses.first, run.columns.first))
    unmoved, updatable = (columns[name].T[chosen] for name in ("n_unmoved", "n_updatable"))
    if not (updatable > 0).any():
        return None
    shares = np.where(updatable > 0, unmoved / np.maximum(updatable, 1), np.nan)
    figure, axes = _new(figure_class, chosen.size, f"{run.name}: updates swamped")
    edges = np.append(run.columns.first, run.columns.last[-1] + 1).astype(np.float64)
    mesh = axes.pcolormesh(
        edges, np.arange(chosen.size + 1), shares, cmap=COLORS, vmin=0, vmax=1, rasterized=True
    )
    axes.set_xlabel("step")
    figure.colorbar(mesh, ax=axes, label="share of the updates that left the weight unchanged")
    _label_layers(axes, [run.taps[i] for i in chosen])
    return figure


def _exponents_figure(run: RunTables, quantity: str, figure_class: type[Figure]) -> Figure | None:
    """Share of the elements in each binade, by layer, with the limits of the stored format."""
    chosen = _numbers_of(run.taps, quantity)
    shares, low = _binade_shares(run, chosen)
    if shares.size == 0:
        return None
    figure, axes = _new(figure_class, chosen.size, f"{run.name}: exponents of {quantity}")
    mesh = axes.pcolormesh(
        np.arange(low, low + shares.shape[1] + 1),
        np.arange(chosen.size + 1),
        np.where(shares > 0, shares, np.nan),
        cmap=COLORS,
        rasterized=True,
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("exponent k of the binade [2^k, 2^(k+1))")
    figure.colorbar(mesh, ax=axes, label="share of the nonzero finite elements")
    _label_layers(axes, [run.taps[i] for i in chosen])
    _draw_limits(axes, _common_format([run.taps[i] for i in chosen]))
    return figure


def _binade_shares(run: RunTables, chosen: Ints) -> tuple[npt.NDArray[np.float64], int]:
    """Shares by tap and binade, and the exponent of the first binade."""
    by_tap = magnitudes_of(run)
    counts = [_binades(by_tap[tap]) for tap in chosen]
    used = sorted({exponent for one in counts for exponent in one})
    if not used:
        return np.zeros((0, 0)), 0
    grid = np.zeros((chosen.size, used[-1] - used[0] + 1))
    for row, one in enumerate(counts):
        for exponent, count in one.items():
            grid[row, exponent - used[0]] = count
    return grid / np.maximum(grid.sum(1, keepdims=True), 1), used[0]


def _binades(histogram: Histogram) -> Counter[int]:
    """Nonzero finite elements by exponent."""
    found: Counter[int] = Counter()
    for key, count in zip(histogram.keys.tolist(), histogram.counts.tolist(), strict=True):
        if 0 < key < INFINITY_KEY:
            found[(key >> KEYS_PER_BINADE_LOG2) - EXPONENT_BIAS] += count
    return found


def _common_format(taps: Sequence[TapInfo]) -> Format | None:
    """The format that all of some taps were stored in, or None."""
    dtypes = {tap.dtype for tap in taps}
    try:
        return format_of_dtype(dtypes.pop()) if len(dtypes) == 1 else None
    except FormatError:
        return None


def _draw_limits(axes: Any, fmt: Format | None) -> None:
    """Limits of a format as lines, where they lie inside the figure."""
    if fmt is None:
        return
    low, high = axes.get_xlim()
    limits = {
        "smallest subnormal": np.log2(fmt.smallest_subnormal),
        "smallest normal": np.log2(fmt.smallest_normal),
        "max finite": np.log2(fmt.max_finite),
    }
    for label, place in limits.items():
        if low <= place <= high:
            axes.axvline(place, color="#b3341f", linewidth=0.9, linestyle="--")
            axes.annotate(f"{fmt.name} {label}", (place, 1.0), (2, 2), xycoords=_top_of(axes),
                          textcoords="offset points", fontsize=6, color="#b3341f")  # fmt: skip


def _top_of(axes: Any) -> Any:
    """Coordinates: data along x, the whole height along y."""
    return axes.get_xaxis_transform()


def _new(figure_class: type[Figure], n_rows: int, title: str) -> tuple[Figure, Any]:
    """An empty figure with room for some layers."""
    figure = figure_class(figsize=(8.0, 1.6 + 0.2 * min(n_rows, 80)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(shortened(title, 100), loc="left", fontsize=10, parse_math=False, pad=14)
    return figure, axes


def _label_layers(axes: Any, taps: Sequence[TapInfo]) -> None:
    """Names of the layers, the first at the top; thinned where they would touch."""
    every = -(-len(taps) // MOST_LABELS)
    rows = range(0, len(taps), every)
    names = [shortened(taps[row].layer, 48) for row in rows]
    axes.set_yticks([row + 0.5 for row in rows], names, fontsize=6, parse_math=False)
    axes.invert_yaxis()
