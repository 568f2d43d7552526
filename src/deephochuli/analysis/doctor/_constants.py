"""Constants of optimizers that a narrow format turns into something else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from torch import Tensor

from deephochuli.analysis._finding import Finding, Number, percent
from deephochuli.analysis.doctor._patient import (
    Group,
    Held,
    Patient,
    as_number,
    format_name,
    format_of,
    groups_of,
)
from deephochuli.analysis.doctor._report import finding, place
from deephochuli.formats import BINARY32, Format

# State of an optimizer, and the constants that it decays by: name in the group, and index there.
_DECAYS: Final = {
    "exp_avg": ("betas", 0),
    "exp_avg_sq": ("betas", 1),
    "exp_inf": ("betas", 1),
    "square_avg": ("alpha", None),  # RMSprop; Adadelta calls it rho
    "acc_delta": ("rho", None),
    "momentum_buffer": ("momentum", None),
}
_SECOND_MOMENTS: Final = ("exp_avg_sq", "square_avg", "sum")
_SQUARED_IN: Final = {
    "Adam": "exp_avg_sq",
    "AdamW": "exp_avg_sq",
    "NAdam": "exp_avg_sq",
    "RAdam": "exp_avg_sq",
    "RMSprop": "square_avg",
    "Adagrad": "sum",
    "Adadelta": "square_avg",
}
_RANGE_FOR_SQUARES: Final = -30
"""Exponent that a format must reach below, for squares of gradients around 1e-4 to be normal."""
_ENOUGH: Final = 11
"""Precision from which all values of one binade are not tried one by one."""


def vanished_epsilon(patient: Patient) -> Iterator[Finding]:
    """An eps that guards a division and is zero in the format of the denominator."""
    for group in groups_of(patient):
        eps = group.number("eps")
        for dtype, members in group.by_dtype().items():
            fmt = format_of(dtype)
            if eps is None or fmt is None or not 0 < eps <= fmt.zero_threshold:
                continue
            yield finding(
                "vanished-epsilon",
                "critical",
                f"eps = {eps:g} of {group.label} is zero in {format_name(dtype)}",
                places=[place(name, "weight") for name, _ in members],
                summary=f"{len(members)} parameters; magnitudes up to "
                f"{fmt.zero_threshold:.3g} round to zero.",
                why="The denominator of the update is the root of the second moment plus eps. "
                "Where a gradient is zero or its square underflows, that is 0 + 0, and the weight "
                "becomes NaN or infinite.",
                advice="Keep the weights that the optimizer changes in FP32, or raise eps.",
                code=f"torch.optim.{type(group.optimizer).__name__}(parameters, eps=1e-4)",
            )


def frozen_averages(patient: Patient) -> Iterator[Finding]:
    """Running averages whose decay is rounded away: beta acts as 1."""
    for (label, key, beta, fmt), members in _averages(patient).items():
        share = undecayed_share(beta, fmt)
        if share < 0.5:
            continue
        is_all = share == 1.0
        yield finding(
            "frozen-average",
            "critical" if is_all else "warning",
            f"{key} of {label} cannot decay in {fmt.name}: {beta:g} acts as 1",
            places=[place(name, f"state:{key}") for name in members],
            summary=f"{percent(share)} of the numbers of {fmt.name} stay as they are when they are "
            f"multiplied by {beta:g}, since 1 - {beta:g} = {1 - beta:.2g} is below half an ulp.",
            why="The average can only grow: it remembers the largest gradients forever, and the "
            "steps become smaller and smaller."
            if key in _SECOND_MOMENTS
            else "The average does not forget what it has once seen.",
            advice="Keep the states in FP32 (that is: the weights, from which they take their "
            "dtype), or use an optimizer with stochastic rounding of its states.",
            code="model.float()  # before the optimizer is made; compute in BF16 by autocast",
            numbers=[Number("numbers that do not decay", share, "share")],
            score=share,
        )


def undecayed_share(beta: float, fmt: Format) -> float:
    """Share of the numbers v of one binade with fl(beta v) = v.

    Numerics:
        Every significand is tried for p <= 11; for more bits the share is the length of the
        interval on which (1 - beta) v is at most half an ulp, without the tie.
    """
    if not 0 < beta < 1:
        return 0.0
    loss = 1 - beta
    if fmt.precision > _ENOUGH:
        return min(1.0, max(0.0, fmt.unit_roundoff / loss - 1))
    n = 1 << (fmt.precision - 1)
    step = 1.0 / n
    stays = sum(fmt.absorbs(1 + k * step, -loss * (1 + k * step)) for k in range(n))
    return stays / n


def _averages(patient: Patient) -> dict[tuple[str, str, float, Format], list[str]]:
    """Running averages with their constant and their format: as they are, or as they will be."""
    states: dict[tuple[str, str], Held] = {
        (held.name, held.role): held for held in patient.of_kind("state")
    }
    found: dict[tuple[str, str, float, Format], list[str]] = {}
    for group in groups_of(patient):
        for key, beta in decays(group).items():
            for name, parameter in group.parameters:
                held = states.get((name, key))
                dtype = parameter.dtype if held is None else held.tensor.dtype
                fmt = format_of(dtype)
                if fmt is not None and parameter.requires_grad:
                    found.setdefault((group.label, key, beta, fmt), []).append(name)
    return found


def decays(group: Group) -> dict[str, float]:
    """Running averages of an optimizer and the constant that each decays by."""
    has_exp_inf = type(group.optimizer).__name__ == "Adamax"
    absent = "exp_avg_sq" if has_exp_inf else "exp_inf"
    known = {key: _constant(group, *where) for key, where in _DECAYS.items() if key != absent}
    if known["square_avg"] is None:
        known["square_avg"] = known["acc_delta"]
    return {key: beta for key, beta in known.items() if beta is not None and 0 < beta < 1}


def _constant(group: Group, name: str, index: int | None) -> float | None:
    """A constant of a group, or one of several that it keeps under one name."""
    if index is None:
        return group.number(name)
    values: Any = group.constants.get(name)
    if not isinstance(values, tuple | list) or index >= len(cast("list[object]", values)):
        return None
    return as_number(cast("list[object]", values)[index])


def underflowing_squares(patient: Patient) -> Iterator[Finding]:
    """Second moments in a format where the square of a usual gradient is zero."""
    for group in groups_of(patient):
        key = _SQUARED_IN.get(type(group.optimizer).__name__)
        for dtype, members in group.by_dtype().items():
            fmt = format_of(dtype)
            if key is not None and fmt is not None and fmt.emin > _RANGE_FOR_SQUARES:
                yield _underflowing(group, key, fmt, [name for name, _ in members])


def _underflowing(group: Group, key: str, fmt: Format, names: list[str]) -> Finding:
    limit = math.sqrt(fmt.zero_threshold)
    return finding(
        "underflowing-squares",
        "critical",
        f"Squares of gradients underflow in {key} of {group.label}: {fmt.name}",
        places=[place(name, f"state:{key}") for name in names],
        summary=f"Gradients up to {limit:.2g} in magnitude have the square zero.",
        why="The second moment holds squares, which need twice as many binades as the gradients. "
        "Zero there makes the step as large as eps allows.",
        advice="Keep the weights that the optimizer changes in FP32.",
        code="model.float()  # and autocast for the forward pass",
        numbers=[Number("largest gradient whose square is zero", limit)],
    )


def narrow_constants(patient: Patient) -> Iterator[Finding]:
    """Learning rates and betas that are tensors of a narrow dtype and became 0 or 1 there."""
    for group in groups_of(patient):
        for name, value in _tensors_in(group.constants):
            is_one = name.startswith("betas") and float(value) >= 1
            is_zero = name == "lr" and float(value) == 0 and group.rate > 0
            fmt = format_of(value.dtype)
            if fmt is not None and fmt.precision <= _ENOUGH and (is_one or is_zero):
                yield finding(
                    "rounded-constant",
                    "critical",
                    f"{name} of {group.label} is {float(value):g} in {format_name(value.dtype)}",
                    places=[place(n, "weight") for n, _ in group.parameters],
                    summary=f"The constant is a tensor of {format_name(value.dtype)}.",
                    why="A constant close to 1 or to 0 has been rounded to it.",
                    advice="Make tensors of constants in FP32.",
                    code=f"{name.partition('[')[0]}=torch.tensor(..., dtype=torch.float32)",
                )


def _tensors_in(constants: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name in ("lr", "betas", "momentum", "alpha", "rho"):
        value: Any = constants.get(name)
        is_many = isinstance(value, tuple | list)
        parts = list(cast("list[object]", value)) if is_many else [value]
        for index, part in enumerate(parts):
            if isinstance(part, Tensor) and part.numel() == 1 and part.is_floating_point():
                yield (name if part is value else f"{name}[{index}]"), part


def narrow_states(patient: Patient) -> Iterator[Finding]:
    """States that are kept in fewer bits than the parameter they belong to."""
    weights = {held.name: held.tensor.dtype for held in patient.of_kind("weight")}
    found = [
        place(held.name, f"state:{held.role}")
        for held in patient.of_kind("state")
        if held.tensor.ndim > 0
        and (own := held.format) is not None
        and (of := format_of(weights.get(held.name, torch.int64))) is not None
        and own.precision < of.precision
        and of.precision >= BINARY32.precision
    ]
    if found:
        yield finding(
            "narrow-states",
            "warning",
            f"{len(found)} optimizer states are narrower than their weights",
            places=found,
            summary="Averages of gradients are kept in fewer bits than the weights they change.",
            why="An average moves in small steps, so it is the first to be swamped; weights in "
            "FP32 do not repair that.",
            advice="Keep states in FP32, or use an optimizer that is made for narrow states "
            "(block-wise scales, stochastic rounding).",
            code="for s in optimizer.state.values():\n"
            "    s.update({k: v.float() for k, v in s.items() if v.is_floating_point()})",
        )
