"""An optimizer's step computed again in binary64 from the numbers that are in memory."""

# Optimizers of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis._copies import copy_of_optimizer
from deephochuli.analysis._seeded import spared


def shadow_step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """What an optimizer would make of some parameters if it rounded to binary64 only.

    Args:
        optimizer: Before its step; it, its states and its parameters stay as they are.
        parameters: Parameters that it holds.

    Returns:
        The parameters after the step, float64; None for those without a dense gradient.

    Numerics:
        Weights, gradients and states are taken as they lie in memory, without error, so what is
        left is the rounding of this one step.
    """
    held = [p for group in optimizer.param_groups for p in group["params"]]
    wide = {id(p): _widened(p) for p in held}
    shadow = copy_of_optimizer(optimizer, dict(wide))
    for group in shadow.param_groups:
        for name in ("foreach", "fused"):
            if name in group:
                group[name] = False
    for parameter, state in shadow.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = value.double() if value.is_floating_point() else value
    with spared():
        _step_unseen(shadow)
    return [wide[id(p)].detach() if wide[id(p)].grad is not None else None for p in parameters]


def _widened(parameter: Tensor) -> Tensor:
    wide = nn.Parameter(parameter.detach().double().clone(), parameter.requires_grad)
    gradient = parameter.grad
    if gradient is not None and gradient.layout is torch.strided:
        wide.grad = gradient.detach().double()
    return wide


def _step_unseen(shadow: torch.optim.Optimizer) -> None:
    """Step without the hooks of whoever watches optimizers."""
    step: Any = type(shadow).step
    getattr(step, "__wrapped__", step)(shadow)
