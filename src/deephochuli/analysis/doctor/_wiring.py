"""Which tensors belong together, and do not fit: optimizers, dtypes, tied weights, scalers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import torch

from deephochuli.analysis._finding import Finding
from deephochuli.analysis.doctor._patient import (
    Held,
    Patient,
    format_name,
    format_of,
    groups_of,
    n_distinct,
    sample,
)
from deephochuli.analysis.doctor._report import finding, named, place

_FEWEST: Final = 16
_SMALL_SCALE: Final = 1.0


def unoptimized_weights(patient: Patient) -> Iterator[Finding]:
    """Weights that want a gradient and that no optimizer changes, and the reverse."""
    if not patient.optimizers or patient.model is None:
        return
    held = {id(p) for group in groups_of(patient) for _, p in group.parameters}
    own = dict(patient.model.named_parameters())
    left = [place(n, "weight") for n, p in own.items() if p.requires_grad and id(p) not in held]
    foreign = held - {id(p) for p in own.values()}
    if left:
        stale = bool(foreign)
        yield finding(
            "unoptimized-weights",
            "critical" if stale else "warning",
            f"{len(left)} weights want a gradient but are in no optimizer: {named(left)}",
            places=left,
            summary=f"{len(foreign)} parameters of the optimizers do not belong to the model."
            if stale
            else "Their gradients are computed, and nothing is done with them.",
            why="The optimizer was made before these weights were: it changes tensors that are no "
            "longer used."
            if stale
            else "They stay as they are; if that is meant, computing their gradients is wasted.",
            advice="Make the optimizer after the model has its final weights."
            if stale
            else "Give them to the optimizer, or switch their gradients off.",
            code="optimizer = torch.optim.AdamW(model.parameters())"
            if stale
            else "parameter.requires_grad_(False)",
        )


def shared_by_optimizers(patient: Patient) -> Iterator[Finding]:
    """Weights that two optimizers change."""
    names = patient.names
    counts = Counter(
        id(p)
        for optimizer in patient.optimizers
        for p in {id(p): p for g in optimizer.param_groups for p in g["params"]}.values()
    )
    found = [place(names.get(key, "?"), "weight") for key, n in counts.items() if n > 1]
    if found:
        yield finding(
            "shared-by-optimizers",
            "warning",
            f"Two optimizers change the same weights: {named(found)}",
            places=found,
            summary=f"{len(found)} weights are in more than one optimizer.",
            why="Each keeps averages of gradients that the other one's steps have made wrong, and "
            "weight decay acts twice.",
            advice="Give each weight to one optimizer.",
        )


def untrainable_dtypes(patient: Patient) -> Iterator[Finding]:
    """Weights that want a gradient in a format of 8 bits or fewer."""
    if patient.model is None:
        return
    found = [
        place(name, "weight")
        for name, p in patient.model.named_parameters()
        if p.requires_grad and p.is_floating_point() and p.dtype.itemsize == 1
    ]
    if found:
        yield finding(
            "untrainable-dtype",
            "critical",
            f"Weights in 8 bits want a gradient: {named(found)}",
            places=found,
            summary=f"{len(found)} weights are stored in FP8.",
            why="With 3 or 4 significand bits nearly every update is below half an ulp, and torch "
            "has no optimizer arithmetic for them.",
            advice="Keep master weights in FP32 or BF16 and make the FP8 copies from them.",
            code="parameter.requires_grad_(False)",
        )


def mixed_dtypes(patient: Patient) -> Iterator[Finding]:
    """Formats side by side that nobody mixes on purpose."""
    weights = patient.of_kind("weight", "tensor")
    by_dtype = Counter(held.tensor.dtype for held in weights if held.tensor.is_floating_point())
    if by_dtype[torch.float16] and by_dtype[torch.bfloat16]:
        rarer = min((torch.float16, torch.bfloat16), key=lambda dtype: by_dtype[dtype])
        yield _stray(
            "mixed-halves",
            [h for h in weights if h.tensor.dtype is rarer],
            "FP16 and BF16 weights are mixed",
            "A product of the two is an error or a silent cast to FP32; the two fail in opposite "
            "ways, by range and by precision.",
        )
    doubles = [
        h
        for h in patient.of_kind("weight", "buffer")
        if h.tensor.dtype is torch.float64 and h.tensor.ndim > 0
    ]
    n_single = by_dtype[torch.float32] + by_dtype[torch.bfloat16] + by_dtype[torch.float16]
    if doubles and n_single > by_dtype[torch.float64]:
        yield _stray(
            "stray-float64",
            doubles,
            "FP64 tensors in a model of narrower weights",
            "What is computed with them becomes FP64 too, or raises an error; on a GPU that is up "
            "to 64 times slower.",
        )


def _stray(kind: str, found: list[Held], title: str, why: str) -> Finding:
    places = [place(held.name, held.kind) for held in found]
    return finding(
        kind,
        "warning",
        f"{title}: {named(places)}",
        places=places,
        summary=f"{len(found)} tensors in {format_name(found[0].tensor.dtype)}.",
        why=why,
        advice="Cast the whole model at once.",
        code="model.to(torch.float32)",
    )


def torn_ties(patient: Patient) -> Iterator[Finding]:
    """Weights of the same values in different dtypes: tied once, and torn by a cast."""
    by_shape: dict[tuple[int, ...], list[Held]] = {}
    for held in patient.of_kind("weight", "tensor"):
        if held.is_readable and held.format is not None and held.tensor.numel() >= _FEWEST:
            by_shape.setdefault(tuple(held.tensor.shape), []).append(held)
    for same in by_shape.values():
        dtypes = {held.tensor.dtype for held in same}
        for one, other in _pairs(same) if len(dtypes) > 1 else ():
            if _is_cast_of(one, other):
                places = [place(other.name, "weight"), place(one.name, "weight")]
                yield finding(
                    "torn-tie",
                    "warning",
                    f"{other.name!r} is a copy of {one.name!r} in "
                    f"{format_name(other.tensor.dtype)}",
                    places=places,
                    summary="All their values are the same up to rounding; they are two tensors.",
                    why="Weights that were tied and are cast one by one are two weights from then "
                    "on: each is trained alone, and a checkpoint loads only one of them.",
                    advice="Tie them after the cast.",
                    code="model.tie_weights()  # or: head.weight = embedding.weight",
                )


def _pairs(same: list[Held]) -> Iterator[tuple[Held, Held]]:
    """Pairs of different dtypes, the wider one first."""
    for wide in same:
        for narrow in same:
            a, b = wide.format, narrow.format
            if a is not None and b is not None and a.precision > b.precision:
                yield wide, narrow


def _is_cast_of(wide: Held, narrow: Held) -> bool:
    values = sample(wide.tensor)
    if n_distinct(values[:_FEWEST]) < _FEWEST // 2:
        return False  # constants, such as the ones of a normalisation layer
    cast = values.to(narrow.tensor.dtype)
    return bool((cast.float() == sample(narrow.tensor).float()).all())


def loss_scaling(patient: Patient) -> Iterator[Finding]:
    """FP16 weights without a gradient scaler that can serve them, and scalers that do nothing."""
    if not patient.optimizers:
        return
    half = [
        place(n, "weight")
        for group in groups_of(patient)
        for dtype, members in group.by_dtype().items()
        if dtype is torch.float16
        for n, _ in members
    ]
    is_scaled = patient.scaler is not None and patient.scaler.is_enabled()
    if half:
        yield finding(
            "fp16-weights-and-scaler" if is_scaled else "fp16-without-scaling",
            "critical" if is_scaled else "warning",
            f"{len(half)} FP16 weights are trained "
            + ("with a gradient scaler" if is_scaled else "without loss scaling"),
            places=half,
            summary="Gradients of FP16 weights are FP16: what is below 3e-8 is zero.",
            why="GradScaler refuses to unscale FP16 gradients: scaler.step raises an error."
            if is_scaled
            else "Small gradients underflow, and the weights they belong to stop learning.",
            advice="Keep the weights in FP32, compute in FP16 by autocast, and use a GradScaler.",
            code="model.float(); scaler = torch.amp.GradScaler()",
        )
    if is_scaled and patient.scaler is not None:
        yield from _scaler(patient, patient.scaler.get_scale())


def _scaler(patient: Patient, scale: float) -> Iterator[Finding]:
    dtypes = {held.tensor.dtype for held in patient.of_kind("weight")}
    if torch.bfloat16 in dtypes:
        yield finding(
            "scaler-with-bfloat16",
            "note",
            "A gradient scaler is used with BF16 weights",
            places=[place("GradScaler", "flag")],
            summary=f"The scale is {scale:g}.",
            why="BF16 has the range of FP32, so nothing needs to be lifted over an underflow "
            "threshold; steps are skipped for nothing.",
            advice="Leave the scaler out.",
            code="scaler = torch.amp.GradScaler(enabled=False)",
        )
    if scale < _SMALL_SCALE:
        yield finding(
            "collapsed-loss-scale",
            "critical",
            f"The loss scale has fallen to {scale:g}",
            places=[place("GradScaler", "flag")],
            summary="It is halved whenever a gradient is not finite.",
            why="Gradients overflow in step after step, so the cause is not the scale. Most "
            "updates are being skipped.",
            advice="Look for the first non-finite value: record some steps.",
            code="with deephochuli.record(model, optimizer, to='runs/overflow'): ...",
        )


def narrow_gradients(patient: Patient) -> Iterator[Finding]:
    """Gradients in fewer bits than the weights they change."""
    dtypes = {held.name: held.tensor.dtype for held in patient.of_kind("weight")}
    found = [
        place(held.name, "gradient")
        for held in patient.of_kind("gradient")
        if (own := held.format) is not None
        and (of := format_of(dtypes[held.name])) is not None
        and own.precision < of.precision
    ]
    if found:
        yield finding(
            "narrow-gradients",
            "warning",
            f"{len(found)} gradients are narrower than their weights: {named(found)}",
            places=found,
            summary="They are accumulated in fewer bits.",
            why="Micro-batches and tied uses are added up in the gradient's own format.",
            advice="Accumulate in FP32.",
        )
