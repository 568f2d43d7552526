"""Every piecewise linear activation of a forward, with the bias that moves its kinks."""

# Function modes hand over whatever was called with whatever it was called with.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deephochuli.taps import FUNCTION_KINDS, is_rectifying_clamp

_BIAS_POSITION: Final[dict[Any, int]] = {
    F.linear: 2,
    F.conv1d: 2,
    F.conv2d: 2,
    F.conv3d: 2,
    F.batch_norm: 4,
}
"""Functions that add a bias as the last thing they do, and where it stands among the arguments."""

_SUMS: Final = frozenset({torch.add, Tensor.add, Tensor.add_, Tensor.__radd__, Tensor.__iadd__})
"""Functions that leave a bias that one of their terms carries where it is: residual additions."""

RECTIFIERS: Final = frozenset({"relu", "clamp", "threshold"})
"""Kinds with a side on which output and gradient are constant: a unit there is dead."""


@dataclass(frozen=True, slots=True)
class Bend:
    """One call of a piecewise linear activation.

    Attributes:
        kind: "relu", "leaky_relu", "hardtanh" and so on.
        bias: Name of the parameter that was added last to what is bent; None where none was.
        channel_dim: Dimension of `z` that counts the elements of that bias.
        kinks: Values of z at which the function bends.
        z: Pre-activations, [batch, ...].
    """

    kind: str
    bias: str | None
    channel_dim: int
    kinks: tuple[float, ...]
    z: Tensor

    def by_channel(self) -> Tensor:
        """Pre-activations as [channels, all others]."""
        return self.z.movedim(self.channel_dim, 0).flatten(1)


@contextmanager
def bends_of(model: nn.Module) -> Generator[list[Bend]]:
    """Collect the piecewise linear activations that run inside the block, in their order.

    Pre-activations are copied, dual numbers included, before the activation can overwrite them.
    """
    watch = _Watch(model)
    with watch:
        yield watch.bends


class _Watch(TorchFunctionMode):
    """Notes which bias was last added to which tensor, and what activations are given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.bends: list[Bend] = []
        self._names = {id(weight): name for name, weight in model.named_parameters()}
        self._biased: dict[int, tuple[Tensor, str, int]] = {}

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        kinks = _kinks(func, args, kwargs)
        if kinks is not None:
            self._note(FUNCTION_KINDS.get(func, "abs"), kinks, args[0] if args else kwargs["input"])
        out = func(*args, **kwargs)
        if kinks is not None:
            self._biased.pop(id(out), None)  # in place: what was biased is an activation now
        if func in _BIAS_POSITION:
            bias = _argument(args, kwargs, _BIAS_POSITION[func], "bias", None)
            name = self._names.get(id(bias))
            if name is not None:
                self._remember(out, name, -1 if func is F.linear else 1)
        elif func in _SUMS:
            for term in args[:2]:
                if id(term) in self._biased:
                    self._remember(out, *self._biased[id(term)][1:])
        return out

    def _remember(self, out: Tensor, name: str, dim: int) -> None:
        """The tensor is kept with its bias, so that its id stays its own."""
        self._biased[id(out)] = out, name, dim

    def _note(self, kind: str, kinks: tuple[float, ...], z: Tensor) -> None:
        known = self._biased.get(id(z))
        bias, dim = known[1:] if known else (None, 1 if z.dim() > 1 else 0)
        self.bends.append(Bend(kind, bias, dim % z.dim(), kinks, z.clone()))


def _kinks(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[float, ...] | None:
    """Where a function bends; None for what is no piecewise linear activation."""
    kind = FUNCTION_KINDS.get(func)
    if kind in ("relu", "leaky_relu", "prelu") or func in (torch.abs, Tensor.abs):
        return (0.0,)
    if kind == "relu6":
        return 0.0, 6.0
    if kind == "hardsigmoid":
        return -3.0, 3.0
    if kind == "threshold":
        return (float(_argument(args, kwargs, 1, "threshold", 0.0)),)
    if kind == "hardtanh":
        low = _argument(args, kwargs, 1, "min_val", -1.0)
        return float(low), float(_argument(args, kwargs, 2, "max_val", 1.0))
    if kind == "clamp" and is_rectifying_clamp(args, cast("dict[str, Any]", kwargs)):
        return (0.0,)
    return None


def _argument(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any
) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)
