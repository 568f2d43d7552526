"""A significance analysis, and a drift, as sheets: tables and figures as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from deephochuli.analysis._finding import percent
from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.significance._drift import Drift
from deephochuli.analysis.significance._result import BranchStability, LayerBits, Significance

MOST_PLACES: Final = 40
"""Places that a figure shows; the table has all of them."""

QUANTITIES: Final = {
    "a": "outputs",
    "da": "gradients of outputs",
    "g": "gradients of weights",
    "dw": "updates",
}
_WAYS: Final = (
    ("forward", "Significant bits, forward", ("a",)),
    ("backward", "Significant bits, backward", ("da", "g", "dw")),
)


@sheet_for.register(Significance)
def sheet_of(result: Significance) -> Sheet:
    """Lay a result out; a pure function of it.

    Numerics:
        Every number is one of the rows of the result, except the mean shares below k bits, which
        weight layers by the elements that were followed and have digits.
    """
    figures = [each for way in _WAYS for each in _bits(result, *way)]
    figures += [*_shares(result), *_branches(result.branches)]
    tables = [_layer_table(result)] if result.layers else []
    tables += [_branch_table(result.branches)] if result.branches else []
    return Sheet(
        key="significance",
        title="Significant bits",
        question=f"How many bits of the numbers of {result.model} are significant, and which of "
        "its decisions hang on rounding?",
        answer=_answer(result),
        findings=result.findings,
        tables=tuple(tables),
        figures=tuple(figures),
        notes=_notes(result),
    )


def _answer(result: Significance) -> str:
    said = [_of_quantity(quantity, result.of(quantity)) for quantity in QUANTITIES]
    known = [branch for branch in result.branches if not math.isnan(branch.share)]
    if known:
        worst = max(known, key=lambda branch: branch.share)
        said.append(
            f"Up to {percent(worst.share)} of the decisions of a layer hang on rounding, in "
            f"{worst.layer!r} ({worst.kind})."
            if worst.share
            else "No decision that was followed hangs on rounding."
        )
    return " ".join(filter(None, said)) or f"{result.model} has no number that was followed."


def _of_quantity(quantity: str, rows: Sequence[LayerBits]) -> str:
    known = [row for row in rows if not math.isnan(row.median)]
    if not known:
        return ""
    worst = min(known, key=lambda row: row.median)
    return (
        f"{QUANTITIES[quantity].capitalize()}: {worst.median:.1f} of {worst.precision} bits in the "
        f"worst layer, {worst.layer!r} (median, {worst.guaranteed:.1f} guaranteed)."
    )


def _bits(
    result: Significance, key: str, title: str, quantities: Sequence[str]
) -> tuple[Figure, ...]:
    """Bits by layer with their spread over the elements, and the guaranteed ones hollow."""
    rows = _fewest([row for row in result.layers if row.quantity in quantities])
    if not rows:
        return ()
    n_all = len({row.layer for row in result.layers if row.quantity in quantities})
    shown = f" (the {MOST_PLACES} layers of {n_all} with the fewest)" if n_all > MOST_PLACES else ""
    series = [_limit(row_precision) for row_precision in sorted({row.precision for row in rows})]
    for quantity in quantities:
        series += _of_rows(QUANTITIES[quantity], [row for row in rows if row.quantity == quantity])
    figure = Figure(
        key=key,
        title=title + shown,
        x=Axis("layer, in the order of the computation", "category"),
        y=Axis("significant bits", low=0.0),
        series=tuple(series),
        how_to_read="Filled: median over the elements of a layer, with its middle half. Hollow: "
        "the median of the bits that are guaranteed. A mark at the precision stands for numbers "
        "that agree to the last bit in all runs: they may have more bits than runs can show.",
    )
    return (figure,)


def _fewest(rows: Sequence[LayerBits]) -> list[LayerBits]:
    """Rows of the layers with the fewest bits, in the order in which they were seen."""
    fewest: dict[str, float] = {}
    for row in rows:
        if not math.isnan(row.median):
            fewest[row.layer] = min(fewest.get(row.layer, math.inf), row.median)
    kept = set(sorted(fewest, key=lambda layer: fewest[layer])[:MOST_PLACES])
    return [row for row in rows if row.layer in kept]


def _limit(precision: int) -> Series:
    return Series(f"precision, {precision} bits", (), (float(precision),), mark="rule", dashed=True)


def _of_rows(name: str, rows: Sequence[LayerBits]) -> list[Series]:
    if not rows:
        return []
    layers = tuple(row.layer or "(model)" for row in rows)
    return [
        Series(
            name=name,
            x=layers,
            y=tuple(row.median for row in rows),
            low=tuple(row.quantiles[1] for row in rows),
            high=tuple(row.quantiles[2] for row in rows),
            note="median over elements, bar from the 25 % to the 75 % quantile",
        ),
        Series(
            name=f"{name}, guaranteed",
            x=layers,
            y=tuple(row.guaranteed for row in rows),
            dashed=True,
            note="median over elements of the bits that are guaranteed",
        ),
    ]


def _shares(result: Significance) -> tuple[Figure, ...]:
    """Share of elements with fewer than k guaranteed bits, over all layers."""
    series = tuple(
        Series(name, tuple(k for k, _ in shares), tuple(share for _, share in shares), mark="line")
        for quantity, name in QUANTITIES.items()
        if (shares := shares_below(result.of(quantity)))
    )
    if not series:
        return ()
    figure = Figure(
        key="shares",
        title="Elements with few guaranteed bits",
        x=Axis("guaranteed bits k", "log2"),
        y=Axis("share of elements with fewer than k", low=0.0, high=1.0),
        series=series,
        how_to_read="All layers together, each by the number of its elements that were followed.",
    )
    return (figure,)


def shares_below(rows: Sequence[LayerBits]) -> tuple[tuple[int, float], ...]:
    """Share of elements with fewer than k guaranteed bits over several layers.

    Args:
        rows: Tensors; those of which no element has digits are left out.

    Returns:
        Pairs of k and the share; empty where no element is left.

    Numerics:
        Mean of the shares of the rows in binary64, weighted by the elements in each.
    """
    used = [(row, row.n_followed - row.n_zero - row.n_nonfinite) for row in rows]
    total = sum(n for _, n in used)
    if not total:
        return ()
    return tuple(
        (k, math.fsum(n * dict(row.share_below)[k] for row, n in used if n) / total)
        for k, _ in rows[0].share_below
    )


def _branches(branches: Sequence[BranchStability]) -> tuple[Figure, ...]:
    known = [branch for branch in branches if not math.isnan(branch.share)]
    if not known:
        return ()
    kept = sorted(known, key=lambda branch: -branch.share)[:MOST_PLACES]
    shown = f" (the {MOST_PLACES} of {len(known)} layers with the most)"
    figure = Figure(
        key="decisions",
        title="Decisions that rounding could turn" + (shown if len(known) > MOST_PLACES else ""),
        x=Axis("layer", "category"),
        y=Axis("share of decisions that are not significant", "log10"),
        series=tuple(
            Series(
                kind,
                tuple(each.layer for each in known if each in kept and each.kind == kind),
                tuple(each.share for each in known if each in kept and each.kind == kind),
            )
            for kind in dict.fromkeys(each.kind for each in known)
        ),
        how_to_read="Decisions that changed in some run, or whose margin lies within its noise.",
    )
    return (figure,)


def _layer_table(result: Significance) -> Table:
    columns = (
        *("layer", "quantity", "format", "p", "elements", "followed", "zero", "not finite"),
        *("agree to the last bit", "bits, median", "bits, 5 %", "25 %", "75 %", "95 %"),
        *("guaranteed", "agreed", "below 4 bits", "bias"),
    )
    return Table(
        key="layers",
        title="Tensors, in the order in which they were first seen",
        columns=columns,
        rows=tuple(_layer_cells(row) for row in result.layers),
        note="Quantity: a output, da gradient of the loss by it, g gradient of a parameter, dw "
        "what a step adds to it. Below 4 bits: share of elements with fewer guaranteed bits. Bias: "
        "mean shift of the samples, in standard errors.",
    )


def _layer_cells(row: LayerBits) -> tuple[str | float | int | None, ...]:
    low, lower, upper, high = row.quantiles
    return (
        *(row.layer or "(model)", row.quantity, row.format, row.precision, row.n_elements),
        *(row.n_followed, row.n_zero, row.n_nonfinite, row.n_resolution_limited, row.median),
        *(low, lower, upper, high, row.guaranteed, row.agreed, dict(row.share_below)[4], row.bias),
    )


def _branch_table(branches: Sequence[BranchStability]) -> Table:
    return Table(
        key="decisions",
        title="Decisions",
        columns=("layer", "kind", "decisions", "followed", "ties", "turned", "unstable", "share"),
        rows=tuple(
            (
                *(each.layer, each.kind, each.n_decisions, each.n_followed, each.n_ties),
                *(each.n_turned, each.n_unstable, each.share),
            )
            for each in branches
        ),
        note="Turned: decided otherwise in some run. Unstable: turned, or with a margin within its "
        "noise. Share: of the decisions that are no ties.",
    )


def _notes(result: Significance) -> tuple[str, ...]:
    size = (
        "one ulp of each tensor's own dtype"
        if result.precision_bits is None
        else f"relative size 2^-{result.precision_bits}"
    )
    notes = [
        f"{result.n_samples} runs with random errors of {size}, beside one without, on one batch.",
        f"Guaranteed bits are the estimate minus {result.penalty:.2f} bits: with a confidence of "
        f"{percent(result.confidence)} they hold in a run with a probability of "
        f"{percent(result.probability)}, for normal errors.",
        "Agreed bits need no assumption about the law and hold with a probability of "
        f"{percent(result.bernoulli_probability)}.",
    ]
    if result.lost:
        notes.append(f"Shapes changed between runs, nothing is said of: {', '.join(result.lost)}.")
    return tuple(notes)


def drift_sheet(rows: Sequence[Drift]) -> Sheet:
    """Rounding bias over steps, from `bias_drift`.

    Numerics:
        Bars in the figure are two standard errors either way.
    """
    shown = rows[:MOST_PLACES]
    many = f" (the {MOST_PLACES} of {len(rows)} tensors with the largest t)"
    figure = Figure(
        key="bias",
        title="Rounding bias of each tensor" + (many if len(rows) > MOST_PLACES else ""),
        x=Axis("tensor, the least likely chance first", "category"),
        y=Axis("bias, in standard errors of one element"),
        series=(
            Series("no bias", (), (0.0,), mark="rule"),
            Series(
                "mean over the steps",
                tuple(f"{row.layer} · {row.quantity}" for row in shown),
                tuple(row.bias for row in shown),
                tuple(row.bias - 2 * row.error for row in shown),
                tuple(row.bias + 2 * row.error for row in shown),
                note="bar: two standard errors, from the spread over the steps",
            ),
        ),
        how_to_read="A bar that crosses zero is no drift. Beyond a t of about 4, rounding pushes "
        "the tensor to one side.",
    )
    table = Table(
        key="drift",
        title="Rounding bias over the steps",
        columns=("tensor", "quantity", "steps", "bias", "standard error", "t"),
        rows=tuple((r.layer, r.quantity, r.n_steps, r.bias, r.error, r.t) for r in rows),
    )
    return Sheet(
        key="drift",
        title="Rounding bias",
        question="Does rounding push a quantity to one side, step after step?",
        answer=_drift_answer(rows),
        tables=(table,),
        figures=(figure,) if rows else (),
        notes=("Elements of one step share their errors, so only the spread over steps counts.",),
    )


def _drift_answer(rows: Sequence[Drift]) -> str:
    if not rows:
        return "No tensor was seen in all steps."
    worst, n_far = rows[0], sum(abs(row.t) > 4 for row in rows)
    return (
        f"{n_far} of {len(rows)} tensors drift (|t| > 4); the largest t is {worst.t:.1f}, of "
        f"{worst.layer!r} ({worst.quantity}), over {worst.n_steps} steps."
    )
