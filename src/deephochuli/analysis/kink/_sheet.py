"""The answer about the kink as tables and figures."""

from __future__ import annotations

from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.kink._causes import CAUSES
from deephochuli.analysis.kink._result import Kink


@sheet_for.register(Kink)
def sheet_of(kink: Kink) -> Sheet:
    """Tables of executions, of layers and of poolings, and two figures."""
    tables = [_runs(kink), _zeros(kink)]
    if kink.pools:
        tables.append(_pools(kink))
    return Sheet(
        key="kink",
        title=f"The kink at zero: {kink.model}",
        question="How often are pre-activations exactly zero, and what hangs on ReLU'(0)?",
        answer=". ".join(run.told(kink.alphas) for run in kink.runs) + ".",
        findings=kink.findings,
        tables=tuple(tables),
        figures=(_changed(kink), _causes(kink)),
        notes=(
            "One forward for each batch, and one backward for each alpha on the same graph; the "
            "weights are not trained.",
            f"Intervals have confidence {kink.confidence:g}: Clopper and Pearson's for batches.",
            "Operators outside of torch's activations (abs, maximum, adaptive pooling) keep "
            "torch's derivative.",
        ),
    )


def _runs(kink: Kink) -> Table:
    rows = tuple(
        (
            run.execution,
            run.n_batches,
            run.changed.value,
            run.changed.low,
            run.changed.high,
            *(run.size(alpha) for alpha in kink.alphas),
            run.largest,
            max(batch.weights for batch in run.batches),
            run.n_zero,
            run.n_numerical,
        )
        for run in kink.runs
    )
    return Table(
        key="executions",
        title="What hangs on ReLU'(0)",
        columns=(
            *("execution", "batches", "share changed", "low", "high"),
            *(f"median r({alpha:g})" for alpha in kink.alphas),
            *("largest r", "largest share of weights", "at the kink", "not by structure"),
        ),
        rows=rows,
        note="r is the change of the gradient relative to its norm at ReLU'(0) = 0.",
    )


def _zeros(kink: Kink) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            row.execution,
            row.layer,
            row.n,
            row.n_zero,
            row.share.value,
            row.share.low,
            row.share.high,
            *(row.causes.get(cause, 0) for cause in CAUSES),
        )
        for row in kink.zeros
    ]
    return Table(
        key="zeros",
        title="Pre-activations that are exactly at the kink",
        columns=("execution", "layer", "n", "at the kink", "share", "low", "high", *CAUSES),
        rows=tuple(rows),
        note="Structural: every term is zero. Exact: the terms are not, their exact sum is. "
        "Cancellation and underflow: the exact sum is not zero.",
    )


def _pools(kink: Kink) -> Table:
    return Table(
        key="pooling",
        title="Windows of max pooling with several largest elements",
        columns=("execution", "layer", "windows", "tied", "share"),
        rows=tuple(
            (row.execution, row.layer, row.n_windows, row.n_tied, row.n_tied / row.n_windows)
            for row in kink.pools
        ),
        note="Most ties lie among zeros of a ReLU, or come from equal inputs; the findings say "
        "whether the gradient hangs on them.",
    )


def _changed(kink: Kink) -> Figure:
    return Figure(
        key="changed",
        title="Batches whose gradient hangs on ReLU'(0)",
        x=Axis("execution", "category"),
        y=Axis("share of batches", low=0.0, high=1.0),
        series=(
            Series(
                name="changed",
                x=tuple(run.execution for run in kink.runs),
                y=tuple(run.changed.value for run in kink.runs),
                low=tuple(run.changed.low for run in kink.runs),
                high=tuple(run.changed.high for run in kink.runs),
            ),
        ),
        how_to_read="A point at 0 says that no gradient changed with the derivative at the kink; "
        "the bar is the interval for batches that were not seen.",
    )


def _causes(kink: Kink) -> Figure:
    names = tuple(run.execution for run in kink.runs)
    n = {name: sum(row.n for row in kink.zeros if row.execution == name) for name in names}
    series: list[Series] = []
    for cause in CAUSES:
        counts = [
            sum(row.causes.get(cause, 0) for row in kink.zeros if row.execution == name)
            for name in names
        ]
        if any(counts):
            shares = tuple(
                count / n[name] if count else None
                for count, name in zip(counts, names, strict=True)
            )
            series.append(Series(name=cause, x=names, y=shares, mark="points"))
    return Figure(
        key="causes",
        title="Why pre-activations are exactly zero",
        x=Axis("execution", "category"),
        y=Axis("share of pre-activations", "log10"),
        series=tuple(series),
        how_to_read="Each point is a cause; causes that do not occur have none.",
    )
