"""The same random numbers in every execution, whatever its dtype and device."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten: Any = torch.ops.aten


class SameDice(TorchDispatchMode):
    """Draws what operators draw in binary32 on the CPU, from a generator of its own.

    torch draws other numbers for binary64 than for binary32, and others on a GPU than on a CPU, so
    that dropout in two executions would drop different elements.
    """

    def __init__(self, seed: int) -> None:
        """Draw from `seed`."""
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let torch.compile compile: it would leave alone, silently, what runs below this mode."""
        return True

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute one operator, with dice of our own where it throws some."""
        kwargs = kwargs or {}
        throw = _THROWS.get(func.overloadpacket)
        if throw is None:
            return func(*args, **kwargs)
        return throw(self, func, args, kwargs)

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) in the shape of a tensor."""
        return torch.rand(like.shape, generator=self._generator, device="cpu")

    def normal(self, like: Tensor) -> Tensor:
        """Numbers of the standard normal law in the shape of a tensor."""
        return torch.randn(like.shape, generator=self._generator, device="cpu")


def _dropout(dice: SameDice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    padded: tuple[Any, ...] = (*args, None)
    x, p, train = padded[:3]
    if train is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    # As the operator of a CPU draws and scales: a GPU has another one, and `x` may lie on either.
    keep = (dice.uniform(x) < 1 - p).to(x.device)
    return x * (keep.to(x.dtype) / (1 - p)) if p < 1 else torch.zeros_like(x), keep


def _bernoulli_into(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    padded: tuple[Any, ...] = (*args, 0.5)
    x, p = padded[:2]
    p = p.to("cpu", torch.float32) if isinstance(p, Tensor) else p
    return x.copy_(dice.uniform(x) < p)


def _bernoulli(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    p: Any = args[1] if len(args) > 1 else kwargs.get("p", args[0])
    p = p.to("cpu", torch.float32) if isinstance(p, Tensor) else p
    return (dice.uniform(args[0]) < p).to(args[0])


def _uniform_into(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    padded: tuple[Any, ...] = (*args, *(0.0, 1.0)[len(args) - 1 :])
    x, low, high = padded[:3]
    return x.copy_(dice.uniform(x) * (high - low) + low)


def _normal_into(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    padded: tuple[Any, ...] = (*args, *(0.0, 1.0)[len(args) - 1 :])
    x, mean, std = padded[:3]
    return x.copy_(dice.normal(x) * std + mean)


def _made_uniform(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    made = func(*args, **kwargs)
    return made.copy_(dice.uniform(made))


def _made_normal(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    made = func(*args, **kwargs)
    return made.copy_(dice.normal(made))


def _normal_of(dice: SameDice, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Any form of `torch.normal`: numbers or tensors of means and deviations, or a size."""
    like = func(*args, **kwargs)
    padded: tuple[Any, ...] = (*args, *(0.0, 1.0)[len(args) :])
    mean, std = padded[0], kwargs.get("std", padded[1])
    return like.copy_(dice.normal(like).to(like.device) * std + mean)


_THROWS: dict[Any, Any] = {
    _aten.native_dropout: _dropout,
    _aten.bernoulli_: _bernoulli_into,
    _aten.bernoulli: _bernoulli,
    _aten.uniform_: _uniform_into,
    _aten.normal_: _normal_into,
    _aten.normal: _normal_of,
    _aten.rand: _made_uniform,
    _aten.rand_like: _made_uniform,
    _aten.randn: _made_normal,
    _aten.randn_like: _made_normal,
}
