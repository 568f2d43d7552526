"""What should be known about runs that part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence, ranked
from deephochuli.analysis.parting._judge import TapParting
from deephochuli.analysis.parting._pair import RunPair
from deephochuli.analysis.parting._text import listed, place, sentences
from deephochuli.analysis.parting._training import FindingChange

CLEAR_SPREADS: Final = 3.0
"""Standard deviations of the reference's last losses by which a loss must be worse."""


def findings_of(pairs: Iterable[RunPair]) -> tuple[Finding, ...]:
    """What should be known, worst first."""
    found: list[Finding] = []
    for pair in pairs:
        found += [*_parted(pair), *_loss(pair), *_unaligned(pair), *_harms(pair)]
    return tuple(ranked(found))


def _finding(
    pair: RunPair,
    kind: str,
    level: Level,
    title: str,
    summary: str,
    why: str,
    advice: str,
    *,
    score: float = 0.0,
    code: str = "",
    numbers: tuple[Number, ...] = (),
    at: TapParting | None = None,
    step: int | None = None,
) -> Finding:
    first = step if step is not None else (pair.steps[0] if pair.steps else 0)
    evidence = () if at is None else (PlaceEvidence(at.layer, at.quantity, at.largest[1]),)
    return Finding(
        kind=kind,
        level=level,
        score=score,
        title=title,
        layer="" if at is None else at.layer,
        quantity="" if at is None else at.quantity,
        summary=summary,
        why=why,
        advice=advice,
        code=code,
        numbers=numbers,
        places=evidence,
        step_first=first,
        step_last=pair.steps[-1] if pair.steps else 0,
        evidence="",
    )


def _parted(pair: RunPair) -> list[Finding]:
    """The parting itself: a warning where it is beyond the ordinary."""
    first, beyond = pair.first, pair.beyond
    if first is None:
        return []
    n_parted = sum(tap.first_step is not None for tap in pair.taps)
    n_beyond = sum(tap.beyond_step is not None for tap in pair.taps)
    where = f"{pair.other} parts from {pair.reference} at step {first.first_step} in {place(first)}"
    if beyond is None:
        advice = "Where runs should repeat to the bit, look at what lies before that place."
    else:
        advice = (
            f"Look at {listed(pair.between)} and at what was made differently."
            if pair.between
            else f"Look at {listed(_layers(pair))}, and at what was made differently."
        )
    return [
        _finding(
            pair,
            "runs-part",
            "note" if beyond is None else "warning",
            where,
            " ".join(sentences(pair)),
            "Everything after that step and place follows from what differs there.",
            advice,
            score=n_beyond / max(1, len(pair.taps)),
            code=_closer(first),
            numbers=(
                Number("places that differ", n_parted),
                Number("places beyond the ordinary", n_beyond),
                Number("places compared", len(pair.taps)),
            ),
            at=first,
            step=first.first_step,
        )
    ]


def _closer(first: TapParting) -> str:
    """How to record the steps that lie between the last equal one and the first that is not."""
    low, high = first.last_equal, first.first_step
    if low is None or high is None or high - low == 1:
        return ""
    return f'dh.record(..., every="{low}:{high + 1}")  # no step between these was recorded'


def _layers(pair: RunPair) -> list[str]:
    """Layers that part first."""
    return list(dict.fromkeys(tap.layer for tap in pair.first_places))


def _loss(pair: RunPair) -> list[Finding]:
    """A loss that ends clearly higher, or is no number any more."""
    losses = pair.losses
    if losses is None:
        return []
    before, after = losses.final
    is_lost = math.isfinite(before) and not math.isfinite(after)
    is_higher = after - before > CLEAR_SPREADS * losses.spread
    if not is_lost and not is_higher:
        return []
    return [
        _finding(
            pair,
            "runs-loss",
            "critical" if is_lost else "warning",
            f"The loss of {pair.other} ends at {after:.4g}, that of {pair.reference} at "
            f"{before:.4g}",
            f"Means over the last tenth of {losses.n} common steps with a loss; the reference "
            f"varies by {losses.spread:.2g} there (one standard deviation).",
            "What was changed costs quality, or the chance of one run does.",
            "Repeat both with other seeds before concluding.",
            score=1.0 if is_lost else 0.5,
            numbers=(Number("reference", before), Number("other run", after)),
            step=losses.first_step,
        )
    ]


def _unaligned(pair: RunPair) -> list[Finding]:
    """Layers that were not compared."""
    if not pair.unaligned:
        return []
    suggested = [each for each in pair.unaligned if each.suggestion and not each.is_reference]
    hint = (
        f"If {suggested[0].layer} is {suggested[0].suggestion}, rename it."
        if suggested
        else "Record both runs with the same selection, or rename layers."
    )
    rename = f"--rename {suggested[0].layer}={suggested[0].suggestion}" if suggested else ""
    names = listed([each.layer for each in pair.unaligned])
    return [
        _finding(
            pair,
            "runs-unaligned",
            "warning" if len(pair.unaligned) > len(pair.taps) else "note",
            f"{len(pair.unaligned)} layers are in only one of {pair.reference} and {pair.other}",
            f"Not compared: {names}.",
            "The place where the runs part may be among them.",
            hint,
            code=f"deephochuli diff {pair.reference} {pair.other} {rename}".strip(),
            numbers=(Number("layers", len(pair.unaligned)),),
        )
    ]


def _harms(pair: RunPair) -> list[Finding]:
    """Findings of the other run that the reference does not have, or has less."""
    return [_harm(pair, change) for change in pair.findings if change.status in {"new", "worse"}]


def _harm(pair: RunPair, change: FindingChange) -> Finding:
    after, before = change.after, change.before
    assert after is not None, "what is new or worse is there"
    was = "no finding of this kind" if before is None else f"{before.level}: {before.title}"
    return _finding(
        pair,
        f"runs-{change.status}-finding",
        after.level,
        f"{change.status.capitalize()} in {pair.other}: {after.title}",
        f"{pair.reference} has {was}. {after.summary}",
        after.why,
        after.advice,
        score=after.score,
        code=after.code,
        numbers=after.numbers,
        step=after.step_first,
    )
