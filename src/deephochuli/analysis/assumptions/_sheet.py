"""The assumptions as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deephochuli.analysis._finding import percent
from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.assumptions._result import Assumptions, Floats

_QUESTION = "Do the assumptions of the theorem on affine pieces hold, and what does it bound?"
_METHOD = (
    "The step, and the steps with noise, were taken on copies; noise is relative to what the "
    "optimizer really added to each bias.",
    "The bound is derived by the project from the statement of Karner, Kazeev and Petersen (2024); "
    "their constants are not known to it.",
)


@sheet_for.register(Assumptions)
def sheet_of(result: Assumptions) -> Sheet:
    """One measurement."""
    return Sheet(
        key="assumptions",
        title=f"Assumptions of the theorem on affine pieces: {result.model}",
        question=_QUESTION,
        answer=_answer(result),
        tables=(_updates(result), _slopes(result)),
        figures=(
            _distribution(
                "reciprocals",
                "How large the reciprocals of the bias updates are",
                "1/|D|",
                [(bias.name, bias.reciprocals) for bias in result.biases],
            ),
            _distribution(
                "slopes",
                "How steep pre-activations are along the segment",
                "largest |dz/ds| of a unit",
                [(each.name or "no bias", each.sup_slope) for each in result.slopes],
            ),
        ),
        notes=(*_METHOD, *result.notes),
    )


def sheet_over_time(results: Sequence[Assumptions]) -> Sheet:
    """Measurements through a training."""
    if not results:
        return Sheet("assumptions", "Assumptions through the training", _QUESTION, "No step yet.")
    steps = tuple(float(each.step or 0) for each in results)
    counted = [each for each in results if each.n_noisy]
    return Sheet(
        key="assumptions",
        title=f"Assumptions through the training: {results[0].model}",
        question=_QUESTION,
        answer=(
            f"At the last of {len(results)} steps looked at: {_answer(results[-1])} The count was "
            f"below the bound in {sum(bool(each.is_below) for each in counted)} of "
            f"{len(counted)} steps."
        ),
        tables=(_over_time(results),),
        figures=(
            _lines(
                "over-time",
                "What the two assumptions bound, through the training",
                steps,
                {
                    "(A) mean 1/|D|": [each.mean_reciprocal for each in results],
                    "(B) largest |dz/ds|": [each.sup_slope for each in results],
                },
            ),
            _lines(
                "regions",
                "Activation regions and the bound, through the training",
                steps,
                {
                    "regions before the step": [each.n_before for each in results],
                    "regions after a step with noise": [each.mean_noisy for each in results],
                },
                {
                    "bound from C": [each.bound for each in results],
                    "bound from variations": [each.bound_variation for each in results],
                },
            ),
        ),
        notes=tuple(dict.fromkeys([*_METHOD, *(note for each in results for note in each.notes)])),
    )


def _answer(result: Assumptions) -> str:
    staying = result.share_staying_dead
    dead = "no neuron is dead" if math.isnan(staying) else f"{percent(staying)} of the dead stay so"
    counts = (
        f"a step with noise {result.level:.3g} leaves {result.mean_noisy:.4g} regions on average"
        if result.n_noisy
        else "regions could not be counted"
    )
    return (
        f"The mean of 1/|D| is {result.mean_reciprocal:.4g}, {dead}; pre-activations rise by at "
        f"most {result.sup_slope:.4g} a unit of length; {counts}, and the bound is "
        f"{result.bound:.4g} ({result.bound_variation:.4g} from variations)."
    )


def _updates(result: Assumptions) -> Table:
    return Table(
        "updates",
        "Bias updates of one step: assumption (A)",
        ("bias", "neurons", "D = 0", "mean 1/|D|", "largest 1/|D|", "dead before", "revived"),
        tuple(
            (
                *(bias.name, bias.updates.size, bias.n_still, _finite(bias.mean_reciprocal)),
                float(bias.reciprocals.max()) if bias.reciprocals.size else None,
                *(bias.n_dead, bias.n_revived),
            )
            for bias in result.biases
        ),
        note="Means are over the updates that are not zero. Dead: without a positive input on the "
        "whole batch.",
    )


def _slopes(result: Assumptions) -> Table:
    return Table(
        "slopes",
        "Slopes of pre-activations along the segment: assumption (B)",
        ("bias", "units", "largest |dz/ds|", "median of units", "mean variation"),
        tuple(
            (
                *(each.name or "no bias", each.sup_slope.size, float(each.sup_slope.max())),
                *(float(np.median(each.sup_slope)), float(each.variation.mean())),
            )
            for each in result.slopes
        ),
        note="Exact: taken on every activation region."
        if result.is_exact
        else "Lower bounds: taken on a grid, because the regions could not be found.",
    )


def _over_time(results: Sequence[Assumptions]) -> Table:
    return Table(
        "steps",
        "The assumptions through the training",
        (
            *("step", "mean 1/|D|", "dead", "revived", "largest |dz/ds|", "regions before"),
            *("regions after, with noise", "bound from C", "bound from variations"),
        ),
        tuple(
            (
                *(each.step, _finite(each.mean_reciprocal)),
                sum(bias.n_dead for bias in each.biases),
                sum(bias.n_revived for bias in each.biases),
                *(each.sup_slope, each.n_before, _finite(each.mean_noisy)),
                *(_finite(each.bound), _finite(each.bound_variation)),
            )
            for each in results
        ),
    )


def _distribution(key: str, title: str, label: str, groups: Sequence[tuple[str, Floats]]) -> Figure:
    """Histograms over binades, one for each group."""
    series: list[Series] = []
    for name, values in groups:
        positive = values[values > 0]
        if not positive.size:
            continue
        binades = np.floor(np.log2(positive)).astype(int)
        first = int(binades.min())
        counts = np.bincount(binades - first)
        edges = 2.0 ** np.arange(first, first + len(counts) + 1)
        series.append(
            Series(
                name,
                tuple(edges.tolist()),
                (*(counts / counts.sum()).tolist(), 0.0),
                mark="steps",
            )
        )
    return Figure(
        key,
        title,
        Axis(label, "log2"),
        Axis("share of units", low=0.0),
        tuple(series),
        "One step of the line is one binade; its height is the share of the units in it.",
    )


def _lines(
    key: str,
    title: str,
    steps: tuple[float, ...],
    measured: dict[str, list[float | int | None]],
    bounds: dict[str, list[float | int | None]] | None = None,
) -> Figure:
    drawn = [
        Series(name, steps, tuple(map(_finite, values)), mark="line", dashed=dashed)
        for dashed, group in ((False, measured), (True, bounds or {}))
        for name, values in group.items()
    ]
    return Figure(key, title, Axis("step"), Axis("number", "log2"), tuple(drawn))


def _finite(value: float | int | None) -> float | None:
    """A number that can be drawn and written; None for the others."""
    return float(value) if value is not None and math.isfinite(value) else None
