"""Steps and weight decay that are smaller than half an ulp of the weights they should move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence, percent
from deephochuli.analysis.doctor._constants import undecayed_share
from deephochuli.analysis.doctor._patient import (
    Group,
    Patient,
    format_name,
    format_of,
    groups_of,
    sample,
)
from deephochuli.analysis.doctor._report import finding, place, worst_first

_DECOUPLED: Final = ("AdamW",)
_BOUNDED: Final = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")
"""Optimizers whose usual step is at most about the learning rate, whatever the gradient."""
_PLAIN: Final = ("SGD",)
_STUCK: Final = 0.5


def inert_weight_decay(patient: Patient) -> Iterator[Finding]:
    """Weight decay that no weight of a format can feel."""
    for group in groups_of(patient):
        factor = decay_per_step(group)
        for dtype, members in group.by_dtype().items():
            fmt = format_of(dtype)
            if fmt is None or not 0 < factor < 1:
                continue
            share = undecayed_share(1 - factor, fmt)
            if share < _STUCK:
                continue
            verb = "never acts" if share == 1 else f"does not act on {percent(share)} of weights"
            alone = "" if _is_decoupled(group) else "by itself "
            yield finding(
                "inert-weight-decay",
                "warning",
                f"Weight decay of {group.label} {alone}{verb} in {format_name(dtype)}",
                places=[place(name, "weight", share) for name, _ in members],
                summary=f"One step shrinks a weight by {factor:.2g} of itself; half an ulp is "
                f"{fmt.unit_roundoff / 2:.2g} to {fmt.unit_roundoff:.2g} of it.",
                why="The product is rounded back to the weight it came from, in each step. The "
                "regularisation that was asked for is not there.",
                advice="Keep the weights that the optimizer changes in FP32; or decay rarely by a "
                "larger factor.",
                code="model.float()  # and autocast for the forward pass",
                numbers=[Number("weights that it cannot change", share, "share")],
                score=share,
            )


def decay_per_step(group: Group) -> float:
    """The share of itself that a weight loses to weight decay in one step; 0 when unknown."""
    decay, kind = group.number("weight_decay") or 0.0, type(group.optimizer).__name__
    if _is_decoupled(group):
        return group.rate * decay
    if kind in _PLAIN:
        return group.rate * decay * _gain(group)
    return 0.0


def _is_decoupled(group: Group) -> bool:
    is_asked = group.constants.get("decoupled_weight_decay") is True
    return is_asked or type(group.optimizer).__name__ in _DECOUPLED


def _gain(group: Group) -> float:
    """How much momentum multiplies a gradient that stays the same."""
    momentum = group.number("momentum") or 0.0
    return 1 / (1 - momentum) if 0 <= momentum < 1 else 1.0


def swamped_steps(patient: Patient) -> Iterator[Finding]:
    """Weights that a usual step of their optimizer cannot move."""
    for group in groups_of(patient):
        for dtype, members in group.by_dtype().items():
            if format_of(dtype) is None:
                continue
            shares = {
                name: share for name, w in members if (share := _stuck_share(group, w)) is not None
            }
            stuck = [place(n, "weight", s) for n, s in shares.items() if s >= _STUCK]
            if stuck and _is_telling(group, members, shares):
                yield _swamped(group, dtype, members, worst_first(stuck), shares)


def _is_telling(group: Group, members: list[tuple[str, Tensor]], shares: dict[str, float]) -> bool:
    """Whether lost steps mean something.

    A bias in front of a normalisation layer has a gradient of pure rounding noise: where steps
    are known from gradients alone, only a loss on most elements of the group is no such accident.
    """
    return type(group.optimizer).__name__ in _BOUNDED or _overall(members, shares) >= _STUCK


def _overall(members: list[tuple[str, Tensor]], shares: dict[str, float]) -> float:
    """Share of all elements, of the tensors for which it is known."""
    sizes = {name: w.numel() for name, w in members}
    total = sum(sizes[name] for name in shares)
    return sum(share * sizes[name] for name, share in shares.items()) / max(1, total)


def _swamped(
    group: Group,
    dtype: torch.dtype,
    members: list[tuple[str, Tensor]],
    stuck: list[PlaceEvidence],
    shares: dict[str, float],
) -> Finding:
    overall = _overall(members, shares)
    level: Level = "critical" if overall >= _STUCK else "warning"
    return finding(
        "swamped-steps",
        level,
        f"Steps of {group.label} are too small for {len(stuck)} weights in {format_name(dtype)}",
        places=stuck,
        summary=f"A step of {_step_text(group)} rounds back to the weight it started from for "
        f"{percent(overall)} of all elements, and for {percent(stuck[0].value)} in the worst "
        "tensor.",
        why="The sum of weight and step is rounded to the weight's format. A step below half an "
        "ulp is lost, and so is the next one.",
        advice="Keep the weights that the optimizer changes in FP32 and compute in a narrow format "
        "by autocast; or use stochastic rounding, or a larger learning rate.",
        code="model.float()\nwith torch.autocast(device_type, dtype=torch.bfloat16):\n"
        "    loss = criterion(model(x), y)",
        numbers=[Number("elements that a step cannot move", overall, "share")],
        score=overall,
    )


def _step_text(group: Group) -> str:
    if type(group.optimizer).__name__ in _BOUNDED:
        return f"lr = {group.rate:g}"
    return f"lr = {group.rate:g} times the present gradient"


def _stuck_share(group: Group, weight: Tensor) -> float | None:
    """Share of the elements of a weight that a usual step leaves as they are.

    Returns:
        The share; None when the size of a step is not known.

    Numerics:
        The sum is formed in binary64 and rounded once to the dtype, to both sides of the weight.
    """
    w = weight.detach()
    is_open = w.device.type != "meta" and w.layout is torch.strided and w.numel() > 0
    if not is_open or group.rate <= 0:
        return None
    values = sample(w)
    kind = type(group.optimizer).__name__
    if kind in _BOUNDED:
        steps = torch.full_like(values, group.rate, dtype=torch.float64)
    elif kind in _PLAIN and weight.grad is not None and weight.grad.layout is torch.strided:
        steps = sample(weight.grad).double().abs() * group.rate * _gain(group)
    else:
        return None
    return _unmoved_share(values, steps)


def _unmoved_share(values: Tensor, steps: Tensor) -> float | None:
    """Share of the values that neither value + step nor value - step moves; zero steps are out."""
    wide = values.double()
    up, down = (wide + steps).to(values.dtype).double(), (wide - steps).to(values.dtype).double()
    is_step = (steps > 0) & steps.isfinite() & wide.isfinite()
    n = int(is_step.sum())
    return int((is_step & (up == wide) & (down == wide)).sum()) / n if n else None
