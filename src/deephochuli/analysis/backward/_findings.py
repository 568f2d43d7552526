"""Findings about gradients that a format loses, turns, shrinks or blows up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch.nn.modules import activation

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent, ranked
from deephochuli.analysis.backward._result import LOST_SHARE, GradientRow
from deephochuli.analysis.backward._scale import LossScale
from deephochuli.analysis.swamping import SumRow
from deephochuli.analysis.swamping._findings import find as find_sums

CRITICAL_SHARE = 0.10
TURNED = 0.99
"""Cosine below which a gradient points elsewhere: an angle of 8 degrees."""

SWAMPED_SHARE = 0.25
"""Share of swamped updates from which on they are reported, as for recorded runs."""


def find(
    rows: Sequence[GradientRow],
    sums: Mapping[str, tuple[SumRow, ...]],
    scales: Mapping[str, LossScale],
    scale: float,
) -> tuple[Finding, ...]:
    """What should be known about a backward pass, worst first."""
    found: list[Finding] = []
    for name in dict.fromkeys(row.arithmetic for row in rows):
        own = [row for row in rows if row.arithmetic == name]
        found += [*_lost(own, scales.get(name), scale), *_overflow(own), *_turned(own)]
        found += _swamped_updates(own)
        found += find_sums(_kindest(sums.get(name, ())))
    found += _ordinary([row for row in rows if row.arithmetic == rows[0].arithmetic])
    return tuple(ranked(found))


def _kindest(rows: Sequence[SumRow]) -> list[SumRow]:
    """The last order of each sum, which absorbs least, so that nothing is overdone."""
    return list({(row.layer, row.sum): row for row in rows}.values())


def quantity(row: GradientRow) -> str:
    """The gradient in the words of a recording."""
    if row.tensor != "input":
        return "g"
    return "dz" if hasattr(activation, row.kind) else "da"


def _places(rows: Sequence[GradientRow], values: Sequence[float]) -> tuple[PlaceEvidence, ...]:
    pairs = sorted(zip(rows, values, strict=True), key=lambda pair: -pair[1])
    return tuple(PlaceEvidence(row.layer, quantity(row), value) for row, value in pairs)


def _lost(rows: Sequence[GradientRow], found: LossScale | None, scale: float) -> Iterator[Finding]:
    """Gradients that vanish to the format."""
    hit = [row for row in rows if row.fate.vanished_share >= LOST_SHARE]
    if not hit:
        return
    worst = max(hit, key=lambda row: row.fate.vanished_share)
    fate = worst.fate
    effective = sum(row.effective or 0 for row in hit)
    lost = sum(row.fate.lost for row in hit if row.effective is not None)
    yield Finding(
        kind="gradient-underflow",
        level="critical" if fate.vanished_share >= CRITICAL_SHARE else "warning",
        score=fate.vanished_share,
        title=f"{percent(fate.vanished_share)} of the {worst.tensor} gradient of {worst.layer!r} "
        f"vanish to {worst.arithmetic}, and not in exact arithmetic",
        layer=worst.layer,
        quantity=quantity(worst),
        summary=f"Of {fate.vanished} such elements {fate.rounded} are too small for {worst.format} "
        f"where they are computed, {fate.inside} became zero inside a product or a sum, "
        f"{fate.inherited} were lost nearer to the loss. Of {lost} lost elements of parameters "
        f"{effective} would have moved their weight.",
        why="The exact gradient is not zero there: this is no vanishing of the gradient, but of "
        "its format. Weights behind it get no signal at all.",
        advice=_scale_advice(found, scale),
        code="" if found is None else _scaler(found),
        numbers=(
            Number("lost", fate.vanished_share, "share"),
            Number("lost elements that would have moved a weight", effective),
        ),
        places=_places(hit, [row.fate.vanished_share for row in hit]),
        step_first=0,
        step_last=0,
        evidence="zero",
    )


def _scaler(found: LossScale) -> str:
    power = round(math.log2(found.advised))
    return f"scaler = torch.amp.GradScaler(device_type, init_scale=2.0**{power})"


def _scale_advice(found: LossScale | None, scale: float) -> str:
    if found is None:
        return "Keep gradients in a format with more exponent bits."
    if not found.demanding:
        return (
            "No loss scale helps: the exact gradients fit into the format, and are lost inside "
            "products and sums. Sum in a wider format."
        )
    text = (
        f"Scale the loss by {found.lowest:g} to {found.highest:g} (now {scale:g}): "
        f"{found.demanding} asks for the first, {found.limiting} forbids more than the second."
    )
    if found.fits:
        return text
    return (
        f"No single loss scale serves all: {found.demanding} needs {found.lowest:g}, and "
        f"{found.limiting} overflows beyond {found.highest:g}. Scale tensor by tensor, or use a "
        "format with more exponent bits."
    )


def _overflow(rows: Sequence[GradientRow]) -> Iterator[Finding]:
    """Gradients beyond the largest number."""
    hit = [row for row in rows if row.fate.nonfinite]
    if not hit:
        return
    worst = max(hit, key=lambda row: row.order)
    yield Finding(
        kind="gradient-overflow",
        level="critical",
        score=1.0,
        title=f"{worst.fate.nonfinite} elements of the {worst.tensor} gradient of "
        f"{worst.layer!r} overflow in {worst.arithmetic}",
        layer=worst.layer,
        quantity=quantity(worst),
        summary=f"{len(hit)} gradients hold infinity or NaN; this one is nearest to the loss.",
        why="The exact gradient is finite. A loss scaler skips such a step, and one overflow "
        "spoils everything behind it.",
        advice="Lower the loss scale, or use a format with more exponent bits.",
        code="",
        numbers=(Number("elements that are not finite", worst.fate.nonfinite),),
        places=_places(hit, [float(row.fate.nonfinite) for row in hit]),
        step_first=0,
        step_last=0,
        evidence="nonfinite",
    )


def _turned(rows: Sequence[GradientRow]) -> Iterator[Finding]:
    """Gradients of parameters that point elsewhere."""
    hit = [
        row
        for row in rows
        if row.tensor != "input"
        and row.likeness.cosine.value < TURNED
        and not row.likeness.cosine.low >= TURNED
    ]
    if not hit:
        return
    worst = min(hit, key=lambda row: row.likeness.cosine.value)
    cosine = worst.likeness.cosine
    yield Finding(
        kind="gradient-direction",
        level="critical" if cosine.value < 0.9 else "warning",
        score=min(1.0, 1 - max(0.0, cosine.value)),
        title=f"The {worst.tensor} gradient of {worst.layer!r} has cosine {cosine.value:.4f} with "
        f"the exact one in {worst.arithmetic}",
        layer=worst.layer,
        quantity="g",
        summary=f"{len(hit)} gradients of parameters are turned by more than 8 degrees; the norm "
        f"of this one is {worst.likeness.scale.value:.4g} times the exact one.",
        why="The step goes elsewhere than the gradient of these weights on this batch says.",
        advice="Compute the layers named here in a wider format; `keep_wide` finds the fewest.",
        code="",
        numbers=(
            Number("cosine", cosine.value, "", cosine.low, cosine.high),
            Number("norm ratio", worst.likeness.scale.value),
        ),
        places=_places(hit, [1 - row.likeness.cosine.value for row in hit]),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _swamped_updates(rows: Sequence[GradientRow]) -> Iterator[Finding]:
    """Updates that leave their weights as they were."""
    known = [(row, row.unmoved) for row in rows if row.unmoved is not None]
    shares = [(n / max(1, row.fate.n_nonzero - row.fate.lost), row) for row, n in known]
    hit = sorted((each for each in shares if each[0] >= SWAMPED_SHARE), key=lambda each: -each[0])
    if not hit:
        return
    share, worst = hit[0]
    yield Finding(
        kind="swamped-updates",
        level="critical" if share >= 0.75 else "warning",
        score=share,
        title=f"{percent(share)} of the updates of {worst.layer}.{worst.tensor} are swamped in "
        f"{worst.arithmetic}",
        layer=worst.layer,
        quantity="dw",
        summary=f"{len(hit)} of {len(known)} parameters lose at least {percent(SWAMPED_SHARE)} of "
        "the updates that exact arithmetic makes; counted element by element in one step.",
        why="The gradient arrived and was thrown away in the last addition.",
        advice="Keep the weights that the optimizer changes in a wider format.",
        code="model.float()  # weights and optimizer in FP32",
        numbers=(Number("updates swamped", share, "share"),),
        places=tuple(PlaceEvidence(row.layer, "dw", value) for value, row in hit),
        step_first=0,
        step_last=0,
        evidence="unmoved",
    )


def _ordinary(rows: Sequence[GradientRow]) -> Iterator[Finding]:
    """Gradients that vanish in exact arithmetic, too."""
    hit = [row for row in rows if row.vanishing in ("ordinary", "both")]
    if not hit:
        return
    worst = min(hit, key=lambda row: row.decay)
    yield Finding(
        kind="vanishing-gradient",
        level="note",
        score=min(1.0, -worst.decay / 100),
        title=f"The exact {worst.tensor} gradient of {worst.layer!r} is {-worst.decay:.0f} binades "
        "below that of the layer next to the loss",
        layer=worst.layer,
        quantity=quantity(worst),
        summary=f"{len(hit)} gradients decay by 10 binades or more in binary64.",
        why="This is ordinary vanishing: the model and its initialisation make it, no format does, "
        "and no loss scale or format cures it.",
        advice="Change the initialisation, add normalisation or residual connections.",
        code="",
        numbers=(Number("decay", -worst.decay, "binades"),),
        places=_places(hit, [-row.decay for row in hit]),
        step_first=0,
        step_last=0,
        evidence="",
    )
