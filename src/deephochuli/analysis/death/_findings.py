"""Findings about units that are dead or frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deephochuli.analysis._finding import (
    Finding,
    Level,
    Number,
    PlaceEvidence,
    percent,
    ranked,
)
from deephochuli.analysis.death._result import LayerUnits

WARN_SHARE: Final = 0.10
CRITICAL_SHARE: Final = 0.50


@dataclass(frozen=True, slots=True)
class _Text:
    """What a fate means, and what helps against it."""

    kind: str
    said: str
    quantity: str
    why: str
    advice: str
    code: str


_LOST: Final = "What such a unit would add to the model is missing, and its weights get no gradient"
_TEXTS: Final = {
    "by rounding": _Text(
        "dead-by-rounding",
        "dead by rounding in the layer itself",
        "z",
        f"{_LOST}; in binary64, with the same weights and the same inputs of the layer, it fires.",
        "Compute this layer in a wider format; where pre-activations underflow, scale them up by "
        "the initialisation (He) or a normalisation layer.",
        'torch.autocast("cuda", enabled=False)  # around this layer',
    ),
    "by inherited rounding": _Text(
        "dead-by-inherited-rounding",
        "dead by rounding in the layers before",
        "z",
        f"{_LOST}; in binary64, with the same weights, it fires.",
        "Compute the layers before in a wider format; deephochuli compare names the one that errs.",
        "",
    ),
    "by bias": _Text(
        "dead-by-bias",
        "dead by their bias, in every format",
        "z",
        f"{_LOST}; without its bias it would fire, so one large step has probably pushed it down.",
        "Lower the learning rate or warm it up; a leaky ReLU gives the bias a gradient back.",
        "torch.nn.LeakyReLU(0.01)  # in place of torch.nn.ReLU()",
    ),
    "by data": _Text(
        "dead-by-data",
        "dead on all the data, in every format",
        "z",
        f"{_LOST}; with or without its bias it never fires, so no change of arithmetic helps.",
        "Use He initialisation, a normalisation layer before the ReLU, or a leaky ReLU.",
        "torch.nn.LeakyReLU(0.01)  # in place of torch.nn.ReLU()",
    ),
    "frozen by absorption": _Text(
        "frozen-by-absorption",
        "frozen: every update is absorbed by its weight",
        "dw",
        "They have a gradient in low arithmetic too, but it is less than half an ulp of the weight "
        "in each of them: the same step in a wider format would move them.",
        "Keep master weights in FP32; or round updates stochastically, or keep what was lost "
        "(Kahan). A larger loss scale does not help.",
        "optimizer = Adam(model.float().parameters())  # and autocast for the rest",
    ),
    "frozen by underflow": _Text(
        "frozen-by-underflow",
        "frozen: their gradient underflows to zero",
        "g",
        "In binary64 it is not zero. Master weights do not help: there is nothing to add to them.",
        "Scale the loss, or keep gradients in a format with more exponent bits, such as BF16.",
        "scaler = torch.amp.GradScaler()",
    ),
}


def find(layers: Sequence[LayerUnits], arithmetic: str, n_steps: int) -> tuple[Finding, ...]:
    """What should be known about units, worst first."""
    return tuple(
        ranked([each for fate in _TEXTS for each in _of_fate(layers, fate, arithmetic, n_steps)])
    )


def _of_fate(
    layers: Sequence[LayerUnits], fate: str, arithmetic: str, n_steps: int
) -> Iterator[Finding]:
    hit = [(float(layer.which(fate).mean()), layer) for layer in layers]
    hit = sorted((each for each in hit if each[0] > 0), key=lambda each: -each[0])
    if not hit:
        return
    text, (share, worst) = _TEXTS[fate], hit[0]
    n_hit = sum(int(layer.which(fate).sum()) for _, layer in hit)
    n_all = sum(layer.n_units for layer in layers)
    yield Finding(
        kind=text.kind,
        level=_level(share),
        score=share,
        title=f"{percent(share)} of the units of {worst.layer!r} are {text.said} ({arithmetic})",
        layer=worst.layer,
        quantity=text.quantity,
        summary=f"{n_hit} of {n_all} units in {len(hit)} of {len(layers)} layers, "
        f"{int(worst.which(fate).sum())} of {worst.n_units} in {worst.layer!r}; all units and all "
        "the data given were looked at.",
        why=text.why,
        advice=text.advice,
        code=text.code,
        numbers=(
            Number("units, worst layer", share, "share"),
            Number("units", n_hit, "channels"),
        ),
        places=tuple(PlaceEvidence(layer.layer, text.quantity, value) for value, layer in hit),
        step_first=0,
        step_last=n_steps,
        evidence="",
    )


def _level(share: float) -> Level:
    if share >= CRITICAL_SHARE:
        return "critical"
    return "warning" if share >= WARN_SHARE else "note"
