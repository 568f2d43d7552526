"""Numbers of the study."""

# Values of a point are what JSON holds.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deephochuli.analysis import Table
from deephochuli.studies._study import Result
from deephochuli.studies.pieces._growth import growth
from deephochuli.studies.pieces._read import Row, chosen

_COUNTS = ("regions before", "regions after", "smallest", "largest", "pieces after")
_Cells = tuple[str | float | int | bool | None, ...]


def tables(rows: Sequence[Row], results: Sequence[Result]) -> tuple[Table, ...]:
    """All tables for which something was measured."""
    made = (
        growth(rows),
        _absolute(rows),
        _steps(rows),
        _random_nets(rows),
        _trainings(rows),
        _kept(rows),
        _reference(results),
    )
    return tuple(table for table in made if table.rows)


def _absolute(rows: Sequence[Row]) -> Table:
    return Table(
        "absolute",
        "Scaled teeth whose biases carry noise of a given size",
        ("layers", "width", "segment", "noise", *_COUNTS, "bound", "bound from variations"),
        tuple(
            (
                *(row.params["depth"], 2 * row.params.get("n_chains", 1)),
                *(2.0 ** -row.params["zoom"], row.level, *_counted(row)),
                *(row.bound, row.values["bound_variation"]),
            )
            for row in chosen(rows, kind="absolute")
        ),
        note="Means over networks; the bounds are means over the first three of them.",
    )


def _steps(rows: Sequence[Row]) -> Table:
    return Table(
        "steps",
        "One step of gradient descent from starts with many pieces",
        (
            *("start", "target", "log2 of learning rate", "layers", "width", "segment", "way"),
            *(*_COUNTS, "relative error of bias updates, median", "largest |dz/dx|", "bound"),
            *("bound from variations", "median 1/|D|"),
        ),
        tuple(
            (
                *(row.params["start"], row.params["target"], row.params["log2_lr"]),
                *(row.params["depth"], 2 * row.params.get("n_chains", 1)),
                *(2.0 ** -row.params["zoom"], row.way, *_counted(row)),
                *(row.values["gradient"]["median"], row.values["slope"], row.bound),
                *(row.values["bound_variation"], row.point["updates"]["median"]),
            )
            for row in chosen(rows, kind="step")
            if row.params["start"] != "he"
        ),
        note="The error is against the step in binary64 without noise; 1/|D| is of that step.",
    )


def _random_nets(rows: Sequence[Row]) -> Table:
    return Table(
        "random",
        "One step from random networks",
        (
            *("width", "layers", "way", *_COUNTS, "regions per neuron", "mean 1/|D|"),
            *("median 1/|D|", "dead before", "revived", "units"),
        ),
        tuple(
            (
                *(row.params["width"], row.params["depth"], row.way, *_counted(row)),
                *(row.mean / row.n_neurons, _mean(row.point["updates"]["mean_reciprocal"])),
                *(row.point["updates"]["median"], row.values["n_dead_before"]),
                *(row.values["n_revived"], row.values["n_units"]),
            )
            for row in chosen(rows, kind="step", start="he")
        ),
        note="He initialisation, biases of deviation 0.1, segment [-1, 1]. Dead: no positive "
        "pre-activation at any of the 64 training points.",
    )


def _trainings(rows: Sequence[Row]) -> Table:
    return Table(
        "trainings",
        "Whole trainings",
        (
            *("start", "target", "layers", "steps", "way", *_COUNTS, "loss before", "loss after"),
            *("dead before", "dead after", "units"),
        ),
        tuple(
            (
                *(row.params["start"], row.params["target"], row.params["depth"]),
                *(row.params["n_steps"], row.way, *_counted(row), *row.point["losses"]),
                *(row.values["n_dead_before"], row.values["n_dead"], row.values["n_units"]),
            )
            for row in chosen(rows, kind="training")
        ),
    )


def _kept(rows: Sequence[Row]) -> Table:
    return Table(
        "kept",
        "A parametrisation that keeps its pieces, trained exactly, then with noise on its biases",
        ("layers", "steps", "noise on the last update", *_COUNTS, "bound"),
        tuple(
            (row.params["depth"], row.params["n_steps"], row.way, *_counted(row), row.bound)
            for row in chosen(rows, kind="kept")
        ),
    )


def _reference(results: Sequence[Result]) -> Table:
    return Table(
        "reference",
        "Bias gradients in binary64 against rational arithmetic",
        ("start", "layers", "gradients", "relative error, median", "largest"),
        tuple(
            (
                *(result.params["start"], result.params["depth"], result.values["n"]),
                *(result.values["median"], result.values["largest"]),
            )
            for result in results
            if result.params["kind"] == "reference"
        ),
        note="The noise of binary64 itself, which the other tables take for exact.",
    )


def _counted(row: Row) -> _Cells:
    return (
        *(row.mean_before, row.mean, min(row.regions), max(row.regions)),
        float(np.mean(row.pieces)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
