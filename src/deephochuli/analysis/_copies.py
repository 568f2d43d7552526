"""A model and its optimizer, copied together, so that an analysis may train them."""

# Optimizers of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
from typing import Any, Final

from torch import nn
from torch.optim import Optimizer

from deephochuli.errors import TapError

_UNCOPIED: Final = frozenset({"param_groups", "state", "defaults", "step"})
"""Attributes of an optimizer that deepcopy knows of, and the one that a scheduler replaces."""


def copies_of(model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Copy a model, and its optimizer so that it holds the parameters of the copy.

    Raises:
        TapError: The optimizer holds no parameter of the model.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1)
        >>> made, sgd = copies_of(model, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> sgd.param_groups[0]["params"][0] is made.weight
        True
    """
    own = {id(weight) for weight in model.parameters()}
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not any(id(weight) in own for weight in held):
        raise TapError(
            "The optimizer holds no parameter of the model, so its step would not move it. "
            "Pass the optimizer that trains this model, or a function of named parameters."
        )
    memo: dict[int, Any] = {}
    made = copy.deepcopy(model, memo)
    return made, copy_of_optimizer(optimizer, memo)


def copy_of_optimizer(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """Copy an optimizer with all its attributes; deepcopy takes groups and states alone.

    Args:
        optimizer: Of any class; what a scheduler puts in the place of its `step` stays behind.
        memo: Copies of the parameters, by identity, that the copy is to hold.

    Example:
        >>> import torch
        >>> class Clipped(torch.optim.SGD):
        ...     limit = 1.0
        >>> sgd = Clipped([torch.zeros(1)], lr=0.1)
        >>> sgd.limit = 0.5
        >>> copy.deepcopy(sgd).limit, copy_of_optimizer(sgd, {}).limit
        (1.0, 0.5)
    """
    copied = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():
        if name not in _UNCOPIED and "hook" not in name:
            setattr(copied, name, copy.deepcopy(value, memo))
    return copied
