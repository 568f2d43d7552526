"""A copy of a model that computes in binary64, also where its code asks for a narrower dtype."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.errors import CompareError

_NARROW = (torch.float32, torch.float16, torch.bfloat16)


class Widen(TorchDispatchMode):
    """Gives binary64 wherever an operator is asked for a narrower floating-point dtype."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute one operator."""
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in _NARROW:
            kwargs["dtype"] = torch.float64
        if any(isinstance(each, torch.dtype) and each in _NARROW for each in args):
            args = tuple(torch.float64 if each in _NARROW else each for each in args)
        return func(*args, **kwargs)


def copy_of(model: nn.Module) -> nn.Module:
    """A copy of a model that shares nothing with it.

    Raises:
        CompareError: The model cannot be copied.
    """
    try:
        made = copy.deepcopy(model)
    except Exception as error:
        raise CompareError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and "
            "comparing must not touch the model itself. Remove what cannot be copied (a graph that "
            "an attribute keeps alive, an open file, a lock) or build the model anew for this."
        ) from error
    for parameter in made.parameters():
        parameter.grad = None
    return made


def widened(value: Any) -> Any:
    """The same structure with floating-point tensors in binary64."""
    return pytree.tree_map(_wide, value)


def _wide(leaf: Any) -> Any:
    is_narrow = isinstance(leaf, Tensor) and leaf.dtype in _NARROW
    return leaf.detach().double() if is_narrow else leaf
