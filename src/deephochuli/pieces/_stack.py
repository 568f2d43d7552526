"""Stacks of linear layers and ReLUs, written down as they are and without being run.

There is nothing to follow in them, and following takes longer than counting: a dozen calls of torch
for each layer. What is not certainly such a stack is left to `_trace`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules import module as modules

from deephochuli.pieces._affine import Dense
from deephochuli.pieces._bends import Elementwise, relu
from deephochuli.pieces._program import Program, Step

_FORWARDS: dict[type[nn.Module], object] = {
    kind: vars(kind)["forward"] for kind in (nn.Sequential, nn.Linear, nn.ReLU)
}
"""What is known by its class, as long as the class is what it was."""
_TENSORS = (nn.Parameter, torch.Tensor)
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def stacked(model: nn.Module, shape: tuple[int, ...]) -> Program | None:
    """The program of a stack, with numbers of its own; None for all other modules.

    Args:
        model: Any module.
        shape: Shape of its inputs, without a batch dimension.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
        >>> [type(step.op).__name__ for step in stacked(net, (2,)).steps]
        ['Dense', 'Elementwise']
        >>> stacked(torch.nn.Tanh(), (2,)) is None
        True
    """
    if any(getattr(modules, name, True) for name in _GLOBAL_HOOKS):
        return None
    steps: list[Step] = []
    here, seen = shape, set[nn.Module]()
    for name, layer in _layers(model, ""):
        op = None if layer is None or layer in seen else _op(layer, here)
        if layer is None or op is None:
            return None
        seen.add(layer)  # one that is used again has the name of its first place
        steps.append(Step(name or "(model)", op, (len(steps),), len(steps) + 1))
        here = (*here[:-1], len(op.bias)) if isinstance(op, Dense) else here
    return Program(tuple(steps), shape, len(steps), here) if steps else None


def _layers(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module | None]]:
    """Layers of a stack with their paths, one behind the other; None for what is no part of one."""
    if not _is_known(module):
        yield name, None
    elif type(module) is nn.Sequential:
        for key, each in vars(module)["_modules"].items():
            yield from _layers(each, f"{name}.{key}" if name else key)
    else:
        yield name, module


def _is_known(module: nn.Module) -> bool:
    """Whether nothing but its class says what a module does."""
    kind, held = type(module), vars(module)
    return (
        kind in _FORWARDS
        and vars(kind)["forward"] is _FORWARDS[kind]
        and "forward" not in held
        and not held["_forward_hooks"]
        and not held["_forward_pre_hooks"]
    )


def _op(layer: nn.Module, shape: tuple[int, ...]) -> Dense | Elementwise | None:
    """What a layer does to inputs of a shape; None where it cannot, or is not made as usual."""
    if isinstance(layer, nn.ReLU):
        return relu(math.prod(shape))
    held = vars(layer)["_parameters"]
    if held.keys() != {"weight", "bias"} or not shape:
        return None
    weight, bias = _numbers(held["weight"]), _numbers(held["bias"])
    if weight is None or weight.ndim != 2 or weight.shape[1] != shape[-1]:
        return None
    if held["bias"] is None:
        bias = np.zeros(len(weight))
    if bias is None or bias.shape != weight.shape[:1]:
        return None
    return Dense(weight, bias, math.prod(shape[:-1]))


def _numbers(tensor: torch.Tensor | None) -> NDArray[np.float64] | None:
    """A copy of an ordinary tensor of finite floating point numbers; None for all others."""
    if type(tensor) not in _TENSORS or tensor is None or tensor.layout != torch.strided:
        return None
    if tensor.is_meta or not tensor.is_floating_point():
        return None
    copied = tensor.detach().to("cpu", torch.float64, copy=True).contiguous().numpy()
    return copied if np.isfinite(copied).all() else None
