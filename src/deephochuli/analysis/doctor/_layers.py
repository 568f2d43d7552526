"""Layers whose own constants or statistics do not fit their format."""

# `running_mean` and constants are attributes of many classes that have no common base.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from deephochuli.analysis._finding import Finding, Level, Number, percent
from deephochuli.analysis.doctor._constants import undecayed_share
from deephochuli.analysis.doctor._patient import (
    Patient,
    as_number,
    format_name,
    format_of,
    modules_of,
)
from deephochuli.analysis.doctor._report import finding, named, place, worst_first
from deephochuli.formats import BINARY32, Format

_EPSILONS: Final = ("eps", "epsilon", "variance_epsilon", "layer_norm_eps", "norm_eps")
_NATIVE: Final = ("torch.nn.modules.normalization", "torch.nn.modules.batchnorm")
"""Where the layers live that compute in FP32 inside, also with inputs of 16 bits."""
_DEAD_ZONE: Final = 0.01
_DECAYS: Final = ("decay", "ema_decay", "ema_momentum")


def vanished_norm_epsilon(patient: Patient) -> Iterator[Finding]:
    """An eps of a layer that is zero in the format the layer computes in."""
    whole = _only_dtype(patient)
    for path, module in _modules(patient):
        for attribute in _EPSILONS:
            eps = as_number(vars(module).get(attribute))
            fmt = _computes_in(module, whole)
            if eps is not None and fmt is not None and 0 < eps <= fmt.zero_threshold:
                yield finding(
                    "vanished-norm-epsilon",
                    "critical" if fmt is BINARY32 else "warning",
                    f"{attribute} = {eps:g} of {path!r} is zero in {fmt.name}",
                    places=[place(path, "constant")],
                    summary=f"{type(module).__name__}; magnitudes up to {fmt.zero_threshold:.3g} "
                    "round to zero.",
                    why="It guards a division; a channel that is constant gives 0/0 = NaN without "
                    "it. (Harmless if the layer computes in FP32 inside, which cannot be seen from "
                    "here for a layer that is not torch's own.)",
                    advice="Use 1e-5, or compute this layer in FP32.",
                    code=f"{type(module).__name__}(..., {attribute}=1e-5)",
                )


def _computes_in(module: nn.Module, whole: torch.dtype | None) -> Format | None:
    """The format a layer computes in, as far as that can be said without running it."""
    own = next((p.dtype for p in module.parameters(recurse=False)), whole)
    fmt = None if own is None else format_of(own)
    if fmt is not None and type(module).__module__ in _NATIVE and fmt.precision < 24:
        return BINARY32
    return fmt


def _only_dtype(patient: Patient) -> torch.dtype | None:
    """The dtype of all floating-point weights, if they have one."""
    dtypes = {h.tensor.dtype for h in patient.of_kind("weight") if h.tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def swamped_statistics(patient: Patient) -> Iterator[Finding]:
    """Running statistics in a format that swamps small changes of them."""
    found = [
        place(f"{path}.running_var", "buffer", zone)
        for path, module in _modules(patient)
        if isinstance(module, _NormBase) and (zone := dead_zone(module)) >= _DEAD_ZONE
    ]
    if found:
        worst = worst_first(found)
        level: Level = "critical" if worst[0].value >= 1 else "warning"
        yield finding(
            "swamped-statistics",
            level,
            f"Running statistics stand still: {named(worst)}",
            places=worst,
            summary=f"A batch moves them only if it differs by more than {percent(worst[0].value)} "
            "from what they are.",
            why="Each batch moves a statistic by momentum times the difference; in few bits that "
            "is less than half an ulp. In evaluation the layer then normalises by numbers that are "
            "off by as much.",
            advice="Keep normalisation layers in FP32.",
            code="for m in model.modules():\n"
            "    if isinstance(m, torch.nn.modules.batchnorm._NormBase):\n"
            "        m.float()",
            numbers=[Number("difference that is swamped", worst[0].value, "share")],
            score=worst[0].value,
        )


def dead_zone(module: nn.Module) -> float:
    """Largest relative difference between a batch and a running statistic that has no effect."""
    running: Any = getattr(module, "running_var", None)
    momentum = as_number(getattr(module, "momentum", None))
    fmt = format_of(running.dtype) if isinstance(running, torch.Tensor) else None
    if fmt is None or momentum is None or not 0 < momentum < 1:
        return 0.0
    return fmt.unit_roundoff / momentum


def frozen_copies(patient: Patient) -> Iterator[Finding]:
    """Averages of weights or statistics whose decay is rounded away."""
    for path, module in _modules(patient):
        decay = _decay_of(module)
        if decay is None:
            continue
        tensors = [*module.parameters(), *module.buffers()]
        formats = {fmt for t in tensors if (fmt := format_of(t.dtype)) is not None}
        fmt = min(formats, key=lambda f: f.precision, default=None)
        share = 0.0 if fmt is None else undecayed_share(decay, fmt)
        if fmt is not None and share >= 0.5:
            label = path or type(module).__name__
            yield finding(
                "frozen-copy",
                "critical" if share == 1 else "warning",
                f"The moving average {label!r} cannot move in {fmt.name}: {decay:g} acts as 1",
                places=[place(label, "weight", share)],
                summary=f"1 - {decay:g} = {1 - decay:.2g} of a number is below half an ulp for "
                f"{percent(share)} of the numbers.",
                why="The average moves by (1 - decay) times its distance to the weights, which is "
                "rounded away unless that distance is larger than the average itself.",
                advice="Keep the average in FP32.",
                code="average = torch.optim.swa_utils.AveragedModel(model.float(), ...)",
                numbers=[Number("numbers that do not move", share, "share")],
                score=share,
            )


def _decay_of(module: nn.Module) -> float | None:
    """The constant of a moving average: an attribute, or what torch's own average closes over."""
    own = vars(module)
    if not any(name in own for name in _DECAYS):
        for name in ("multi_avg_fn", "avg_fn"):
            if (decay := _closed_over(own.get(name))) is not None:
                return decay
        return None
    has_tensors = any(True for _ in module.parameters(recurse=False)) or any(
        True for _ in module.buffers(recurse=False)
    )
    known = (as_number(own.get(name)) for name in _DECAYS)
    decay = next((value for value in known if value is not None), None)
    return decay if has_tensors and decay is not None and 0.5 < decay < 1 else None


def _closed_over(function: Any) -> float | None:
    """The variable `decay` of a closure."""
    function = inspect.unwrap(function) if callable(function) else function
    code: Any = getattr(function, "__code__", None)
    cells: Any = getattr(function, "__closure__", None)
    if code is None or not cells or "decay" not in code.co_freevars:
        return None
    return as_number(cells[code.co_freevars.index("decay")].cell_contents)


def overflowing_constants(patient: Patient) -> Iterator[Finding]:
    """Large negative constants of modules, which masks are filled with, beyond the weights' end."""
    dtype = _only_dtype(patient)
    fmt = None if dtype is None else format_of(dtype)
    if dtype is None or fmt is None or fmt.emax >= 127:
        return
    found = [
        place(f"{path}.{name}", "constant")
        for path, module in _modules(patient)
        for name, value in vars(module).items()
        if isinstance(value, float) and -torch.inf < value < -fmt.max_finite
    ]
    if found:
        yield finding(
            "overflowing-constant",
            "warning",
            f"Constants are beyond the end of {format_name(dtype)}: {named(found)}",
            places=found,
            summary=f"The largest finite magnitude is {fmt.max_finite:,.0f}.",
            why="Cast to the dtype of the weights, the constant is -inf; a row that is masked "
            "throughout then gives NaN. `masked_fill` raises an error instead.",
            advice="Take the smallest finite number of the dtype that scores are computed in.",
            code="scores.masked_fill(mask, torch.finfo(scores.dtype).min)",
        )


def _modules(patient: Patient) -> Iterator[tuple[str, nn.Module]]:
    if patient.model is not None:
        yield from modules_of(patient.model)
