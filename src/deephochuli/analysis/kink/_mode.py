"""A mode below autograd that sees every kink, and decides which slope the backward takes there."""

# Modes below autograd, and the node that is being worked, have no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from deephochuli.analysis.kink._kinks import (
    aten,
    hides_its_input,
    kinks_of,
    places_at,
    places_of_backward,
    slopes_at,
)
from deephochuli.analysis.kink._pools import POOLS_BACKWARD, Choice, regraded
from deephochuli.arithmetic._places import Places
from deephochuli.errors import CompareError


class Onlooker(Protocol):
    """Is shown every operator of the model's forward."""

    def meet(self, layer: str, packet: Any, z: Tensor, found: Tensor) -> None:
        """Before an activation: its input, and the flat indices of what lies at a kink."""
        ...

    def before(self, func: Any, args: tuple[Any, ...]) -> Any:
        """Before an operator; what is returned is given to `made`."""
        ...

    def made(
        self, layer: str, func: Any, args: Any, kwargs: dict[str, Any], out: Any, before: Any
    ) -> None:
        """After an operator."""
        ...


MOST_KEPT = 1 << 27
"""Bytes of indices that are kept for graphs that no backward has worked."""


class KinkMode(TorchDispatchMode):
    """Decides the slope at every kink inside one model.

    A ReLU keeps its result for the backward, in which an input of 0 and a negative one look alike:
    where the input was exactly 0 is noted in the forward, under the sequence number that the node
    of the autograd graph bears, and looked up when that node is worked.
    """

    def __init__(self, model: nn.Module, plan: Mapping[str, float | None], pool: Choice) -> None:
        """Take `plan[path]` of the steep slope in the layer of each path; None for torch's own."""
        super().__init__()
        self.places = Places(model)
        self.plan = plan
        self.pool: Choice = pool
        self.onlooker: Onlooker | None = None
        self._noted: dict[int, Tensor] = {}
        self._n_bytes = 0
        self._first_kept = 0
        self._last_worked = -1

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Note the kinks of an operator of the forward, or decide those of one of the backward."""
        kwargs = kwargs or {}
        if self.places.is_inside:
            return self._forward(func, args, kwargs)
        if torch._C._current_graph_task_id() == -1:
            return func(*args, **kwargs)
        return self._backward(func, args, kwargs)

    def _forward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.places.here()
        assert layer is not None
        kinks = kinks_of(func.overloadpacket, args, kwargs)
        if kinks is not None:
            with _disable_current_modes():
                self._look(layer, func.overloadpacket, args[0].detach(), kinks)
        if self.onlooker is None:
            return func(*args, **kwargs)
        with _disable_current_modes():
            before = self.onlooker.before(func, args)
        out = func(*args, **kwargs)
        with _disable_current_modes(), torch.no_grad():
            self.onlooker.made(layer, func, args, kwargs, out, before)
        return out

    def _look(self, layer: str, packet: Any, z: Tensor, kinks: tuple[float, ...]) -> None:
        found = places_at(z, kinks)
        if self.onlooker is not None:
            self.onlooker.meet(layer, packet, z, found)
        if found.numel() and hides_its_input(packet) and torch.is_grad_enabled():
            self._note(torch.autograd._get_sequence_nr() - 1, found)

    def _note(self, number: int, found: Tensor) -> None:
        """Keep indices for the backward, and forget those of graphs that were worked before."""
        if self._n_bytes > MOST_KEPT:
            self._forget_until(number - 1)
        elif self._last_worked >= self._first_kept and torch._C._current_graph_task_id() == -1:
            self._forget_until(self._last_worked)  # not while a checkpoint is computed again
        self._noted[number] = found
        self._n_bytes += found.numel() * found.element_size()

    def _forget_until(self, number: int) -> None:
        self._noted = {each: kept for each, kept in self._noted.items() if each > number}
        self._n_bytes = sum(kept.numel() * kept.element_size() for kept in self._noted.values())
        self._first_kept = number + 1

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        packet = func.overloadpacket
        node: Any = torch._C._current_autograd_node()
        layer = None if node is None else self.places.of_node(node)
        if layer is None:
            return func(*args, **kwargs)
        if packet in POOLS_BACKWARD and self.pool != "first":
            with _disable_current_modes():
                return regraded(func, args, kwargs, self.pool)
        slopes = slopes_at(packet, args, node)
        if slopes is None:
            return func(*args, **kwargs)
        found = self._found(packet, args, node)
        out = func(*args, **kwargs)
        alpha = self.plan.get(layer)
        if alpha is None or alpha == slopes[2] or found is None or not found.numel():
            return out
        with _disable_current_modes():
            return _decided(packet, args, out, found, (slopes[0], slopes[1]), alpha)

    def _found(self, packet: Any, args: tuple[Any, ...], node: Any) -> Tensor | None:
        """Flat indices of what lay at a kink when this node was made."""
        with _disable_current_modes():
            found = places_of_backward(packet, args, node)
        if found is not None or not _is_noted(packet, args):
            return found
        number = int(node._sequence_nr())
        if number < self._first_kept:
            raise CompareError(
                "A graph is worked backwards whose kinks were forgotten: after a backward, a new "
                "forward of the model began before this graph was worked (again). Work all of "
                "its backwards before the next forward."
            )
        self._last_worked = max(self._last_worked, number)
        return self._noted.get(number)


def _is_noted(packet: Any, args: tuple[Any, ...]) -> bool:
    return packet is aten.threshold_backward or packet is aten.leaky_relu_backward


def _decided(
    packet: Any,
    args: tuple[Any, ...],
    out: Any,
    found: Tensor,
    slopes: tuple[float | Tensor, float],
    alpha: float,
) -> Any:
    """A result of the backward with the slope flat + alpha (steep - flat) at some elements."""
    made: Tensor = out[0] if isinstance(out, tuple) else out
    gradient: Tensor = args[1] if packet is aten.where else args[0]
    flat, steep = slopes
    if isinstance(flat, Tensor):
        flat = flat.expand_as(made).reshape(-1)[found]
    slope = flat + alpha * (steep - flat)
    changed = made.clone(memory_format=torch.contiguous_format).view(-1)
    changed[found] = (gradient.reshape(-1)[found] * slope).to(changed.dtype)
    shaped = torch.empty_like(made).copy_(changed.view(made.shape))
    return (shaped, *out[1:]) if isinstance(out, tuple) else shaped
