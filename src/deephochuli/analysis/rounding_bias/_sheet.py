"""The answer about rounding bias as tables and a figure."""

from __future__ import annotations

from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.rounding_bias._result import Bias, Direction

_DIRECTIONS: tuple[Direction, ...] = ("up", "outward", "drift")


@sheet_for.register(Bias)
def sheet_of(bias: Bias) -> Sheet:
    """One table of tensors and directions, one figure of mean errors."""
    n = len(bias.alarms)
    worst = f" The strongest is {bias.alarms[0].layer}." if n else ""
    return Sheet(
        key="rounding-bias",
        title=f"Rounding bias: {bias.model}",
        question="Does rounding push anything to one side, step after step?",
        answer=f"{n} of {bias.n_wagers} wagers gave an alarm, where a run without rounding bias "
        f"gives any with probability at most {bias.alpha:g}.{worst}",
        findings=bias.findings,
        tables=(_table(bias),),
        figures=(_figure(bias),),
        notes=(
            "Errors are those of one step against the same step in binary64, in gaps between "
            "neighbouring numbers of the format.",
            "Alarms hold at any time (Ville's inequality) and over all tensors and directions "
            "(Bonferroni); p-values and intervals are for one look at the end.",
            *(f"Not followed: {name}, {why}." for name, why in bias.unseen),
        ),
    )


def _table(bias: Bias) -> Table:
    return Table(
        key="wagers",
        title="Mean signed rounding error, by tensor and direction",
        columns=(
            *("tensor", "quantity", "direction", "format", "steps", "mean (gaps)", "low", "high"),
            *("p (one look)", "log10 evidence", "alarm at step", "part of updates"),
        ),
        rows=tuple(
            (
                *(row.layer, row.quantity, row.direction, row.format, row.n_steps),
                *(row.mean.value, row.mean.low, row.mean.high),
                *(row.p_value, row.evidence, row.alarm, row.part),
            )
            for row in bias.rows
        ),
        note="Strongest evidence first.",
    )


def _figure(bias: Bias) -> Figure:
    series: list[Series] = []
    for direction in _DIRECTIONS:
        rows = [row for row in bias.rows if row.direction == direction]
        if rows:
            series.append(
                Series(
                    name=direction,
                    x=tuple(f"{row.layer} {row.quantity}" for row in rows),
                    y=tuple(row.mean.value for row in rows),
                    low=tuple(row.mean.low for row in rows),
                    high=tuple(row.mean.high for row in rows),
                )
            )
    return Figure(
        key="means",
        title="Mean signed rounding error of a step",
        x=Axis("tensor", "category"),
        y=Axis("gaps between neighbouring numbers"),
        series=tuple(series),
        how_to_read="An interval that does not hold 0 says that errors take one side; with many "
        "tensors a few do so by chance, which the alarm allows for and the interval does not.",
    )
