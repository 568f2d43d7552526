"""Faults that are put into one layer of a model: forward, backward or update."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from deephochuli.arithmetic import round_to

FORWARD = ("cast", "eps", "relative", "order", "gamma", "stale", "tf32")
BACKWARD = ("cast", "relative", "order", "tf32")
UPDATE = ("cast", "relative", "order", "stale", "tf32")
_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def bend(x: torch.Tensor, fault: str) -> torch.Tensor:
    """Numbers as a fault leaves them."""
    if fault == "cast":
        return x.to(torch.bfloat16).to(x.dtype)
    if fault == "relative":
        return x * (1 + 2**-10)
    if fault == "tf32":
        return round_to(x, "tf32")
    large = 2.0**10 * float(x.detach().abs().max())  # the sum began with a large number
    return (x + large) - large


class _BendGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fault: str) -> torch.Tensor:
        ctx.fault = fault
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return bend(grads[0], ctx.fault), None


def _first(output: Any, change: Any) -> Any:
    """The same output with its first floating-point tensor changed."""
    leaves, form = pytree.tree_flatten(output)
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            leaves[place] = change(leaf)
            break
    return pytree.tree_unflatten(leaves, form)


def _bent_forward(fault: str) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        base = type(self).__mro__[1]
        if fault == "tf32" and isinstance(self, _PRODUCTS):
            kept = self.weight.data
            self.weight.data = round_to(kept, "tf32")
            try:
                return base.forward(
                    self, round_to(args[0].detach(), "tf32") + (args[0] - args[0].detach())
                )
            finally:
                self.weight.data = kept
        return _first(base.forward(self, *args, **kwargs), lambda y: bend(y, fault))

    return forward


def _bent_backward(fault: str) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        base = type(self).__mro__[1]
        output = base.forward(self, *args, **kwargs)
        return _first(output, lambda y: _BendGradient.apply(y, fault))

    return forward


class FaultyAdam(torch.optim.Adam):
    """Adam that treats one parameter wrongly."""

    fault = ""
    place = -1

    def step(self, closure: Any = None) -> Any:
        parameter = self.param_groups[0]["params"][self.place]
        before = parameter.detach().clone()
        result = super().step(closure)
        if not self.fault:
            return result
        with torch.no_grad():
            if self.fault == "stale":
                parameter.copy_(before)
            elif self.fault == "relative":
                parameter.copy_(before + (parameter - before) * (1 + 2**-5))
            else:
                parameter.copy_(bend(parameter, self.fault))
        return result


def faulty(
    model: nn.Module, optimizer: FaultyAdam, path: str, where: str, fault: str
) -> tuple[nn.Module, FaultyAdam] | None:
    """A copy of a model and its optimizer with a fault; None where there is no place for it."""
    memo: dict[int, Any] = {}
    wrong = copy.deepcopy(model, memo)
    steps = copy.deepcopy(optimizer, memo)
    module = wrong.get_submodule(path)
    if where == "update":
        own = list(module.parameters(recurse=False))
        if not own:
            return None
        steps.place = [id(p) for p in steps.param_groups[0]["params"]].index(id(own[0]))
        steps.fault = fault
        return wrong, steps
    if fault in ("eps", "gamma", "stale"):
        return (wrong, steps) if _change_state(module, fault) else None
    if fault in ("tf32", "order") and not isinstance(module, _PRODUCTS):
        return None
    make = _bent_forward if where == "forward" else _bent_backward
    base = type(module)
    module.__class__ = type(base.__name__, (base,), {"forward": make(fault)})
    return wrong, steps


def _change_state(module: nn.Module, fault: str) -> bool:
    """Change a setting, a weight or a statistic of a normalisation."""
    with torch.no_grad():
        if fault == "eps" and hasattr(module, "eps"):
            module.eps = 100 * module.eps
            return True
        weight = getattr(module, "weight", None)
        if fault == "gamma" and hasattr(module, "eps") and weight is not None:
            weight.copy_(weight.roll(1))
            return True
        mean = getattr(module, "running_mean", None)
        if fault == "stale" and mean is not None and not module.training:
            mean.mul_(0.9)
            return True
    return False
