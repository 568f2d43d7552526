"""See the operands of every reduction while a model runs, and replay some of its sums at once."""

# Modes below autograd, and the node that is being worked, have no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from deephochuli.analysis.swamping._operators import OPAQUE, reductions_of
from deephochuli.analysis.swamping._reductions import BACKWARD, FORWARD, Reduction
from deephochuli.arithmetic._places import Places

Sink = Callable[[str, str, str, Reduction], None]
"""Takes a layer, an operator, a direction and a reduction, while its operands are there."""


class Capture(TorchDispatchMode):
    """Shows the reductions of one model's forward and backward to a sink."""

    def __init__(self, model: nn.Module, sink: Sink) -> None:
        """Show the reductions of `model` to `sink`."""
        super().__init__()
        self.places = Places(model)
        self.not_replayed: dict[str, None] = {}
        self._sink = sink
        self._seconds: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Let an operator compute, and look at the sums inside."""
        kwargs = kwargs or {}
        before = _kept(func, args)
        out = func(*args, **kwargs)
        is_backward, layer = self._where()
        if layer is not None:
            name = func.overloadpacket.__name__
            if func.overloadpacket in OPAQUE:
                self.not_replayed[f"{layer or '(model)'}: {name}"] = None
            direction = BACKWARD if is_backward else FORWARD
            with _disable_current_modes(), torch.no_grad():
                role = self._gradient_role if is_backward else self._forward_role
                found = reductions_of(func, before, kwargs, out, is_backward, role)
                for reduction in found:
                    self._sink(layer, name, direction, reduction)
        return out

    def _where(self) -> tuple[bool, str | None]:
        """Whether a backward is in progress, and the layer at work; None outside the model."""
        if self.places.is_inside:
            return False, self.places.here()
        if torch._C._current_graph_task_id() == -1:
            return False, None
        node: Any = torch._C._current_autograd_node()
        return True, None if node is None else self.places.of_node(node)

    def _forward_role(self, a: Tensor, b: Tensor) -> str:
        self._seconds.add(b.untyped_storage().data_ptr())
        return "forward"

    def _gradient_role(self, a: Tensor, b: Tensor) -> str:
        """Which operand of the forward's product this is the gradient of.

        A backward product holds one operand of the forward: with the second one (the weights) it is
        the gradient by the first, and the other way round. They are known by their memory.
        """
        pointers = (a.untyped_storage().data_ptr(), b.untyped_storage().data_ptr())
        is_by_first = any(pointer in self._seconds for pointer in pointers)
        return "input gradient" if is_by_first else "weight gradient"


def _kept(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments with a copy of what an operator is about to overwrite."""
    if func.overloadpacket is torch.ops.aten.add_ and isinstance(args[0], Tensor):
        with _disable_current_modes():
            return (args[0].detach().clone(), *args[1:])
    return args
