"""Infinities and NaNs: where the first one was born.

Within one step values are produced in the order: pre-activations and activations in the order of
the layers, their gradients in the reverse order, weight gradients, then state, updates and weights.
The first tensor in that order, in the first recorded step that has any, is the birthplace, as far
as the recorded places can tell; everything later may only carry it on.
"""

from __future__ import annotations

from dataclasses import dataclass

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence
from deephochuli.analysis._tables import TapSeries, series_of
from deephochuli.store import RunReader, TapInfo

_FORWARD, _BACKWARD, _WEIGHTS = 0, 1, 2
_STAGES = {"z": _FORWARD, "a": _FORWARD, "dz": _BACKWARD, "da": _BACKWARD, "g": _BACKWARD}
_WITHIN = {"z": 0, "a": 1, "da": 0, "dz": 1, "g": 2, "dw": 1, "w": 2}


@dataclass(frozen=True, slots=True)
class Birth:
    """The first non-finite values of one tensor.

    Attributes:
        series: The tensor.
        step: First recorded step with an infinity or a NaN.
        n_inf: Infinities in that step.
        n_nan: NaNs in that step.
    """

    series: TapSeries
    step: int
    n_inf: int
    n_nan: int


def births(run: RunReader) -> list[Birth]:
    """List every tensor with non-finite values, in the order in which they appeared."""
    found = [birth for series in series_of(run) if (birth := _measure(series))]
    return sorted(found, key=lambda b: (b.step, *_causal_order(b.series.info)))


def find(run: RunReader) -> list[Finding]:
    """Report where the first infinity or NaN was born."""
    found = births(run)
    if not found:
        return []
    steps = run.steps
    skipped = set(steps["step"][steps["skipped"].astype(bool)].tolist())
    lasting = [birth for birth in found if birth.step not in skipped]
    return [_skipped(found, len(skipped))] if not lasting else [_damage(lasting)]


def _damage(found: list[Birth]) -> Finding:
    first = found[0]
    info = first.series.info
    what = " and ".join(
        f"{n} {name}" for n, name in ((first.n_inf, "infinities"), (first.n_nan, "NaNs")) if n
    )
    return Finding(
        kind="non-finite",
        level="critical",
        score=1.0,
        title=f"First infinity or NaN: {info.layer} ({info.quantity}) at step {first.step}",
        layer=info.layer,
        quantity=info.quantity,
        summary=(
            f"{what} in {info.layer} ({info.quantity}, {info.dtype}) at step {first.step}; "
            f"{len(found)} tensors have some by the end of the run. This is the first recorded "
            "place in the order of computation: the cause lies there, or between it and the "
            "recorded place before it."
        ),
        why="One NaN in a weight makes every later output NaN; training is over without saying so.",
        advice="Look at the inputs of this layer at this step: a division, a logarithm, an "
        "exponential or an overflow. Compute this layer in BF16 or FP32, or clip the gradient.",
        code="torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)",
        numbers=(
            Number("infinities, first step", first.n_inf),
            Number("NaNs, first step", first.n_nan),
            Number("tensors with any", len(found)),
        ),
        places=tuple(
            PlaceEvidence(b.series.info.layer, b.series.info.quantity, float(b.n_inf + b.n_nan))
            for b in found
        ),
        step_first=first.step,
        step_last=first.series.last_step,
        evidence="nonfinite",
    )


def _skipped(found: list[Birth], n_skipped: int) -> Finding:
    first = found[0]
    info = first.series.info
    return Finding(
        kind="skipped-steps",
        level="note",
        score=0.1,
        title=f"{n_skipped} recorded steps were skipped by the gradient scaler",
        layer=info.layer,
        quantity=info.quantity,
        summary=(
            f"The first one at step {first.step}: {info.layer} ({info.quantity}) overflowed first "
            f"({first.n_inf} infinities, {first.n_nan} NaNs). No weight became non-finite."
        ),
        why="A scaler tries larger scales until a gradient overflows, and skips that step: a few "
        "are normal, many mean that the scale is too high for this tensor.",
        advice="If steps are skipped often, lower the growth of the scale, or keep this layer in "
        "BF16.",
        code="torch.amp.GradScaler(device_type, growth_interval=4000)",
        numbers=(Number("skipped steps", n_skipped, "steps"),),
        places=tuple(
            PlaceEvidence(b.series.info.layer, b.series.info.quantity, float(b.n_inf + b.n_nan))
            for b in found
        ),
        step_first=first.step,
        step_last=found[-1].step,
        evidence="nonfinite",
    )


def _measure(series: TapSeries) -> Birth | None:
    tally, at = series.tally, series.index
    if tally.born[at] < 0:
        return None
    return Birth(series, int(tally.born[at]), int(tally.n_inf[at]), int(tally.n_nan[at]))


def _causal_order(tap: TapInfo) -> tuple[int, int, int, str]:
    stage = _STAGES.get(tap.quantity, _WEIGHTS)
    order = -tap.order if stage == _BACKWARD else tap.order
    return stage, order, _WITHIN.get(tap.quantity, 0), tap.layer
