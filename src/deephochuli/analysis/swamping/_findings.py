"""Findings about sums that swallow their addends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.analysis._finding import (
    Finding,
    Level,
    Number,
    PlaceEvidence,
    percent,
    ranked,
)
from deephochuli.analysis.swamping._result import SumRow

MUCH_MASS = 2.0**-7
"""Lost mass from which on a sum is no better than one of BF16 numbers."""

FEW_BITS = 8
"""A gradient with fewer right bits than this is worse than one that is stored in BF16."""


def find(rows: Sequence[SumRow]) -> tuple[Finding, ...]:
    """What should be known about sums, worst first."""
    return tuple(ranked([*_lost_mass(rows), *_lost_bits(rows), *_underflow(rows)]))


def _quantity(row: SumRow) -> str:
    if row.sum in ("weight gradient", "bias gradient"):
        return "g"
    return "z" if row.direction == "forward" else "dz"


def _lost_mass(rows: Sequence[SumRow]) -> Iterator[Finding]:
    hit = [row for row in rows if row.lost_mass.low >= MUCH_MASS]
    if not hit:
        return
    hit.sort(key=lambda row: -row.lost_mass.value)
    worst = hit[0]
    level: Level = "critical" if worst.lost_mass.low >= 0.1 else "warning"
    predicted = dict(worst.growth[1:2])
    more = "".join(
        f" For K = {k} the share of absorbed additions is predicted to be {percent(share)}."
        for k, share in predicted.items()
    )
    yield Finding(
        kind="swamped-sums",
        level=level,
        score=min(1.0, worst.lost_mass.value),
        title=f"{percent(worst.lost_mass.value)} of the mass of the {worst.sum} sums of "
        f"{worst.layer!r} is absorbed in {worst.format}",
        layer=worst.layer,
        quantity=_quantity(worst),
        summary=f"{percent(worst.absorbed.value)} of the additions of K = {worst.n_addends} "
        f"addends, {worst.order}, return the larger operand unchanged; from {worst.n_sampled} of "
        f"{worst.n_sums} sums.{more}",
        why="What is absorbed is missing from the result whatever the other addends are; it is "
        "mostly of one kind, the small addends, so that it does not average out.",
        advice="Sum in a wider format, or in blocks of which the sums are added up.",
        code="torch.backends.cuda.matmul.allow_fp16_accumulation = False",
        numbers=(
            Number(
                "lost mass",
                worst.lost_mass.value,
                "share",
                worst.lost_mass.low,
                worst.lost_mass.high,
            ),
            Number(
                "absorbed additions",
                worst.absorbed.value,
                "share",
                worst.absorbed.low,
                worst.absorbed.high,
            ),
        ),
        places=_places(hit),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _places(rows: Sequence[SumRow]) -> tuple[PlaceEvidence, ...]:
    return tuple(
        PlaceEvidence(
            row.layer, _quantity(row), row.lost_mass.value, row.lost_mass.low, row.lost_mass.high
        )
        for row in rows
    )


def _lost_bits(rows: Sequence[SumRow]) -> Iterator[Finding]:
    """Sums of which few bits are right, cancellation included."""
    hit = [(row, _precision(row) - row.bits_lost) for row in rows if row.n_addends > 2]
    hit = sorted((each for each in hit if each[1] < FEW_BITS), key=lambda each: each[1])
    if not hit:
        return
    worst, right = hit[0]
    yield Finding(
        kind="inexact-sums",
        level="warning" if right < 4 else "note",
        score=1 - right / _precision(worst),
        title=f"Half of the {worst.sum} sums of {worst.layer!r} have at most {right:.1f} right "
        f"bits in {worst.format}",
        layer=worst.layer,
        quantity=_quantity(worst),
        summary=f"K = {worst.n_addends} addends, {worst.order}; {worst.bits_lost:.1f} of "
        f"{_precision(worst)} bits are lost against the exact sum of the same addends.",
        why="Rounding of partial sums, multiplied by cancellation: the sum is small beside its "
        "addends.",
        advice="Sum in a wider format; where the addends cancel, take the difference before.",
        code="",
        numbers=(Number("bits lost", worst.bits_lost, "", None, worst.bits_lost_high),),
        places=tuple(PlaceEvidence(row.layer, _quantity(row), row.bits_lost) for row, _ in hit),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _precision(row: SumRow) -> int:
    from deephochuli.formats import get_format

    return get_format(row.format).precision


def _underflow(rows: Sequence[SumRow]) -> Iterator[Finding]:
    """Products that vanish before they are added."""
    shares = [
        (row.n_underflowed / max(1.0, row.n_sampled * row.n_addends * (1 - row.zero_share)), row)
        for row in rows
    ]
    hit = sorted((each for each in shares if each[0] >= 0.01), key=lambda each: -each[0])
    if not hit:
        return
    share, worst = hit[0]
    yield Finding(
        kind="underflowed-products",
        level="warning" if share >= 0.5 else "note",
        score=min(1.0, share),
        title=f"{percent(share)} of the addends of the {worst.sum} sums of {worst.layer!r} round "
        f"to zero in {worst.format}",
        layer=worst.layer,
        quantity=_quantity(worst),
        summary=f"{worst.n_underflowed} addends vanish before they are added; they are not counted "
        "as absorbed.",
        why="They are smaller than what the format can hold, whatever they are added to.",
        advice="Scale the loss, or keep products in a format with more exponent bits.",
        code="scaler = torch.amp.GradScaler()",
        numbers=(Number("addends that become zero", share, "share"),),
        places=tuple(PlaceEvidence(row.layer, _quantity(row), value) for value, row in hit),
        step_first=0,
        step_last=0,
        evidence="",
    )
