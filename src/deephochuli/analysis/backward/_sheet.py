"""A look at the backward pass as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deephochuli.analysis._finding import percent
from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.backward._result import Backward, GradientRow
from deephochuli.analysis.swamping import Estimate
from deephochuli.formats import get_format


@sheet_for.register(Backward)
def sheet_of(result: Backward) -> Sheet:
    """Tables, figures and an answer in words."""
    return Sheet(
        key="backward",
        title="The backward pass",
        question="Which gradients does a format lose, turn or shrink, and would they have vanished "
        "in exact arithmetic, too?",
        answer=_answer(result),
        findings=result.findings,
        tables=(_fates(result), _likenesses(result), *_sums(result), *_scales(result)),
        figures=(_sizes(result), _losses(result), *_ranges(result)),
        notes=_notes(result),
    )


def _answer(result: Backward) -> str:
    said: list[str] = []
    for name in result.arithmetics:
        rows = result.of(name)
        hit = [row for row in rows if row.vanishing in ("microscopic", "both")]
        if not hit:
            said.append(f"{name} loses less than 1 % of every gradient")
            continue
        worst = max(hit, key=lambda row: row.fate.vanished_share)
        said.append(
            f"{name} loses 1 % or more of {len(hit)} of {len(rows)} gradients, at most "
            f"{percent(worst.fate.vanished_share)} ({worst.layer}:{worst.tensor})"
        )
    exact = result.of(result.arithmetics[0])
    fading = sum(row.vanishing in ("ordinary", "both") for row in exact)
    return f"{'; '.join(said)}. In exact arithmetic {fading} of {len(exact)} gradients vanish."


def _notes(result: Backward) -> tuple[str, ...]:
    return (
        "Vanished: zero in the arithmetic, not zero in binary64 with the same weights and the same "
        "batch, other decisions of the forward left out. Microscopic: 1 % or more vanish. "
        "Ordinary: the exact gradient is 10 binades or more below that of the layer next to the "
        "loss.",
        f"Intervals ({percent(result.confidence)}) are those of a jackknife over the first "
        "dimension: samples, or the units of a weight. They speak of other samples, and not of "
        "other weights.",
        f"All executions ran with the loss scale {result.scale:g}; sizes are divided by it.",
        *(f"Sums of {name} were not replayed: {why}" for name, why in result.not_replayed.items()),
    )


def _fates(result: Backward) -> Table:
    return Table(
        key="fates",
        title="What becomes of gradient elements that are not zero in exact arithmetic",
        columns=(
            *("arithmetic", "layer", "tensor", "format", "not zero", "vanished (share)"),
            *("decided by the forward", "rounded to zero here", "lost inside sums here"),
            *("lost before", "subnormal"),
            *("vanished, would have moved a weight", "updates swamped", "exact rms", "rms"),
            *("decay (binades)", "vanishing"),
        ),
        rows=tuple(_fate(row) for row in result.rows),
        note="Lost before: by the layers between this one and the loss.",
    )


def _fate(row: GradientRow) -> tuple[str | float | int | None, ...]:
    fate = row.fate
    return (
        *(row.arithmetic, row.layer, row.tensor, row.format, fate.n_nonzero, fate.vanished_share),
        *(fate.decided, fate.rounded, fate.inside, fate.inherited, fate.subnormal),
        *(row.effective, row.unmoved, row.exact.rms, known(row.judged.rms)),
        *(known(row.decay), row.vanishing),
    )


def known(value: float) -> float | None:
    """A number, or None where there is none."""
    return value if math.isfinite(value) else None


def _likenesses(result: Backward) -> Table:
    heads = [
        head
        for name in ("cosine", "scale", "bias")
        for head in (name, f"{name}, low", f"{name}, high")
    ]
    return Table(
        key="likeness",
        title="Gradients beside the exact ones: angle, length and bias",
        columns=("arithmetic", "layer", "tensor", *heads),
        rows=tuple(
            (
                *(row.arithmetic, row.layer, row.tensor),
                *_ends(row.likeness.cosine),
                *_ends(row.likeness.scale),
                *_ends(row.likeness.bias),
            )
            for row in result.rows
        ),
        note="Scale: norm over exact norm. Bias: sum of the errors over the sum of the exact "
        "magnitudes.",
    )


def _ends(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return known(estimate.value), known(estimate.low), known(estimate.high)


def _sums(result: Backward) -> tuple[Table, ...]:
    rows = tuple(
        (
            *(name, row.layer, row.sum, row.order, row.format, row.n_addends),
            *(*_ends(row.absorbed), *_ends(row.lost_mass), row.n_underflowed, row.zero_share),
        )
        for name, found in result.sums.items()
        for row in found
    )
    if not rows:
        return ()
    columns = (
        *("arithmetic", "layer", "sum", "order", "format", "K"),
        *("absorbed", "absorbed, low", "absorbed, high"),
        *("lost mass", "lost mass, low", "lost mass, high"),
        *("addends rounded to zero", "zero addends (share)"),
    )
    note = "Weight and bias gradients are sums over the batch and over space."
    return (Table("sums", "Sums of the backward, replayed", columns, rows, note),)


def _scales(result: Backward) -> tuple[Table, ...]:
    rows = tuple(
        (name, each.layer, each.tensor, each.format, each.to_zero, each.lowest, each.highest)
        for name, found in result.scales.items()
        for each in found.tensors
    )
    if not rows:
        return ()
    columns = ("arithmetic", "layer", "tensor", "format", "rounded to zero", "lowest", "highest")
    title = "Loss scales that each exact gradient needs and allows"
    removed = next(iter(result.scales.values())).removed
    note = f"Lowest: removes {percent(removed)} of the underflow. Highest: nothing overflows."
    return (Table("scales", title, columns, rows, note),)


def _sizes(result: Backward) -> Figure:
    """Root mean square by layer, exact and in every arithmetic."""
    first = result.of(result.arithmetics[0])
    lines = [Series("exact", _names(first), _logs([row.exact.rms for row in first]), mark="line")]
    for name in result.arithmetics:
        rows = result.of(name)
        lines.append(Series(name, _names(rows), _logs([row.judged.rms for row in rows])))
    return Figure(
        key="sizes",
        title="Size of the gradients by layer",
        x=Axis("layer and tensor, from the input to the loss", "category"),
        y=Axis("log2 of the root mean square"),
        series=tuple(lines),
        how_to_read="Where the line falls to the left, gradients vanish by themselves; where "
        "points leave the line, a format changes them.",
    )


def _names(rows: Sequence[GradientRow]) -> tuple[str, ...]:
    return tuple(f"{row.layer}:{row.tensor}" for row in rows)


def _logs(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(math.log2(each) if 0 < each < math.inf else None for each in values)


def _losses(result: Backward) -> Figure:
    """Share of lost elements by layer."""
    return Figure(
        key="losses",
        title="Share of the gradient elements that only exact arithmetic keeps",
        x=Axis("layer and tensor, from the input to the loss", "category"),
        y=Axis("lost share", low=0.0),
        series=tuple(
            Series(name, _names(rows), tuple(row.fate.vanished_share for row in rows))
            for name in result.arithmetics
            if (rows := result.of(name))
        ),
        how_to_read="Elements that are zero in the arithmetic and not zero in binary64.",
    )


def _ranges(result: Backward) -> tuple[Figure, ...]:
    """Binades of the exact gradients, beside the smallest numbers of the formats."""
    rows = [row for row in result.of(result.arithmetics[0]) if row.exact.median is not None]
    if not rows:
        return ()
    ends = [[getattr(row.exact, name) for row in rows] for name in ("low", "median", "high")]
    low, median, high = (tuple(float(each) for each in column) for column in ends)
    formats = sorted({row.format for row in result.rows})
    floors = [
        Series(
            f"{name}: rounds to zero",
            (),
            (math.log2(get_format(name).smallest_subnormal) - 1,),
            mark="rule",
            dashed=True,
        )
        for name in formats
    ]
    exact = Series("1 %, median, 99 %", _names(rows), median, low, high)
    figure = Figure(
        key="ranges",
        title="Where the exact gradients lie, and where formats end",
        x=Axis("layer and tensor, from the input to the loss", "category"),
        y=Axis("binade of the magnitude", low=min(low) - 4),
        series=(*floors, exact),
        how_to_read="What lies below a dashed line becomes zero in that format; a loss scale of "
        "2^k lifts all points by k.",
    )
    return (figure,)
