"""Values that are already damaged: not finite, subnormal, at the end of the range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from deephochuli.analysis._finding import Finding, Number, percent
from deephochuli.analysis.doctor._patient import Held, Patient, format_name, n_distinct, sample
from deephochuli.analysis.doctor._report import finding, named, place, worst_first

_MANY_SUBNORMAL: Final = 0.1
_FEWEST: Final = 64
"""Elements below which a share says nothing."""


def nonfinite_values(patient: Patient) -> Iterator[Finding]:
    """NaN anywhere, and infinities where no mask or bound is meant."""
    found = [
        place(held.name, _quantity(held), share)
        for held in patient.tensors
        if held.is_readable and held.tensor.is_floating_point() and (share := _nonfinite(held)) > 0
    ]
    if found:
        worst = worst_first(found)
        yield finding(
            "nonfinite-values",
            "critical",
            f"NaN or infinity is stored in {named(worst)}",
            places=worst,
            summary=f"{len(found)} tensors; in the worst {percent(worst[0].value)} of the elements "
            "are not finite.",
            why="Whatever is computed from them is not finite either; a training that goes on from "
            "here is lost.",
            advice="Go back to a checkpoint without them, and record the steps before they appear.",
            code="assert all(p.isfinite().all() for p in model.parameters())",
            numbers=[Number("not finite", worst[0].value, "share")],
        )


def _nonfinite(held: Held) -> float:
    """Share of the elements that are not finite; infinities that may be meant do not count."""
    tensor = _comparable(held.tensor)
    if held.is_constant or held.role.startswith(("min", "max")):
        bad = tensor.isnan()
        if not held.role.startswith(("min", "max", "best")) and tensor.numel() > 1:
            bad = bad | (tensor == torch.inf)
    else:
        bad = ~tensor.isfinite()
    return int(bad.sum()) / tensor.numel()


def subnormal_values(patient: Patient) -> Iterator[Finding]:
    """Tensors with many subnormal numbers, which have lost bits already."""
    found = [
        place(held.name, _quantity(held), share)
        for held in patient.tensors
        if held.is_readable
        and held.format is not None
        and (share := _subnormal(held)) >= _MANY_SUBNORMAL
    ]
    if found:
        worst = worst_first(found)
        yield finding(
            "subnormal-values",
            "warning",
            f"Many numbers are subnormal in their format: {named(worst)}",
            places=worst,
            summary=f"{len(found)} tensors; in the worst {percent(worst[0].value)} of the nonzero "
            "elements are below the smallest normal number.",
            why="A subnormal number has fewer significand bits, down to one, and hardware that "
            "flushes subnormal numbers makes it zero.",
            advice="Keep this tensor in a format with more exponent bits, BF16 or FP32, or scale "
            "it.",
            code="tensor.to(torch.bfloat16)  # or keep it in float32",
            numbers=[Number("subnormal, of the nonzero elements", worst[0].value, "share")],
        )


def _subnormal(held: Held) -> float:
    fmt = held.format
    values = _comparable(sample(held.tensor)).double().abs()
    nonzero = int((values > 0).sum())
    if fmt is None or nonzero < _FEWEST:
        return 0.0
    return int(((values > 0) & (values < float(fmt.smallest_normal))).sum()) / nonzero


def little_headroom(patient: Patient) -> Iterator[Finding]:
    """Weights and states of a narrow range that are close to its end."""
    found = [
        place(held.name, _quantity(held), largest / limit)
        for held in patient.of_kind("weight", "state", "gradient")
        if held.is_readable
        and (fmt := held.format) is not None
        and fmt.emax < 127
        and (limit := float(fmt.max_finite)) / 2 <= (largest := float(_finite_max(held.tensor)))
    ]
    if found:
        worst = worst_first(found)
        yield finding(
            "little-headroom",
            "warning",
            f"Less than a binade is left to the largest number: {named(worst)}",
            places=worst,
            summary=f"The largest magnitude is {percent(worst[0].value)} of the largest "
            "finite one.",
            why="Doubling such a number overflows, and so does nearly every product with it.",
            advice="Use BF16 or FP32, or a smaller scale.",
            code="model.to(torch.bfloat16)",
        )


def _finite_max(tensor: Tensor) -> Tensor:
    values = _comparable(tensor).abs()
    return torch.where(values.isfinite(), values, 0).max()


def _comparable(tensor: Tensor) -> Tensor:
    """The same values in a dtype that torch can compare; it cannot do so for FP8."""
    return tensor.float() if tensor.element_size() == 1 else tensor


def _quantity(held: Held) -> str:
    """What tables call the tensor."""
    return f"state:{held.role}" if held.kind == "state" else held.kind


def narrow_contents(patient: Patient) -> Iterator[Finding]:
    """FP32 weights that hold only numbers of a narrower format: an earlier cast shows."""
    found = [
        place(held.name, held.kind)
        for held in patient.of_kind("weight", "tensor")
        if held.is_readable and held.tensor.dtype is torch.float32 and _is_bfloat16(held.tensor)
    ]
    wide = [held for held in patient.of_kind("weight", "tensor") if held.tensor.ndim >= 2]
    if found and 2 * len(found) >= len(wide):
        yield finding(
            "narrow-contents",
            "note",
            f"{len(found)} tensors in {format_name(torch.float32)} hold only BF16 numbers",
            places=found,
            summary=f"All 16 lower bits of every element are zero: {named(found)}.",
            why="The weights have been through BF16, so 16 of their bits carry nothing yet. "
            "Updates fill them; the state of an earlier FP32 training is lost.",
            advice="Nothing to do when this is where a training starts. To go on with an FP32 "
            "training, load the checkpoint that it saved in FP32.",
        )


def _is_bfloat16(tensor: Tensor) -> bool:
    values = sample(tensor)
    if values.numel() < _FEWEST or n_distinct(values[:_FEWEST]) < _FEWEST // 2:
        return False
    return bool((values.bfloat16().float() == values).all())
