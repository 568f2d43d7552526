"""Double-precision copies of modules, without what makes `copy.deepcopy` slow.

A module holds a dozen containers, most of them empty, and `deepcopy` asks of each how it is to be
copied. Here modules that are copied as all modules are, attribute by attribute, are copied so at
once; if one of them says how it wants to be copied, all are left to `deepcopy`.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

_ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type)
_CONTAINERS = (dict, set, list, OrderedDict)
_TENSORS = (nn.Parameter, torch.Tensor, type(None))
_DROPPED = "_compiled_call_impl"
"""What no module takes with it into a copy."""


def double(model: nn.Module) -> nn.Module:
    """A copy on the CPU whose floating point numbers are float64; the model is left as it is."""
    if all(_is_plain(module) for module in model.modules()):
        return _copied(model, {})
    return copy.deepcopy(model).cpu().double()


_STATE = ("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__deepcopy__")
"""Methods by which a class says how it is copied."""


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is copied attribute by attribute, and its tensors are ordinary ones."""
    kind = type(module)
    held = (*module.__dict__["_parameters"].values(), *module.__dict__["_buffers"].values())
    return all(type(each) in _TENSORS for each in held) and all(
        getattr(kind, name, None) is getattr(nn.Module, name, None) for name in _STATE
    )


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A copy of a module and of all that is in it; `memo` is that of `copy.deepcopy`."""
    known = memo.get(id(module))
    if known is not None:
        return known
    kind = type(module)
    made = kind.__new__(kind)
    memo[id(module)] = made
    held = module.__dict__
    # Modules and their tensors first: other attributes may hold some of these too.
    made.__dict__.update(
        _modules={k: v if v is None else _copied(v, memo) for k, v in held["_modules"].items()},
        _parameters={k: _converted(v, memo) for k, v in held["_parameters"].items()},
        _buffers={k: _converted(v, memo) for k, v in held["_buffers"].items()},
    )
    for name, value in held.items():
        if name not in made.__dict__ and name != _DROPPED:
            made.__dict__[name] = _attribute(value, memo)
    return made


def _attribute(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in _ATOMS:
        return value
    if not value and type(value) in _CONTAINERS:
        return memo.setdefault(id(value), type(value)())
    return copy.deepcopy(value, memo)


def _converted(tensor: torch.Tensor | None, memo: dict[int, Any]) -> torch.Tensor | None:
    """A copy of a parameter or a buffer, one for all places where it is held."""
    if tensor is None or id(tensor) in memo:
        return None if tensor is None else memo[id(tensor)]
    dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
    made = tensor.detach().to("cpu", dtype, copy=True)
    if isinstance(tensor, nn.Parameter):
        made = nn.Parameter(made, requires_grad=False)
    memo[id(tensor)] = made
    return made
