"""What one run of a model shows: outputs, their gradients, and the decisions between branches."""

# A mode below autograd is what sees every decision; torch has no public interface for it, and its
# types are partial.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from deephochuli.analysis.significance._margins import margins_of

Sink = Callable[[str, str, Tensor], None]
"""Takes a layer, a quantity and a tensor."""


class Watch(TorchDispatchMode):
    """Shows the outputs of modules, gradients of the loss by them, and margins of decisions."""

    def __init__(self, model: nn.Module, sink: Sink) -> None:
        """Show what `model` computes to `sink`."""
        super().__init__()
        self._paths: dict[nn.Module, str] = {}
        for path, module in model.named_modules():
            self._paths.setdefault(module, path)
        self._sink = sink
        self._stack: list[str] = []
        self._counts: dict[str, int] = {}
        self._shown: list[Tensor] = []
        self._handles: list[Any] = []

    def follow(self) -> None:
        """Attach to the modules."""
        for module in self._paths:
            self._handles.append(module.register_forward_pre_hook(self._enter))
            self._handles.append(module.register_forward_hook(self._leave))

    def forget(self) -> None:
        """Detach from the modules."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._stack.append(self._named(self._paths[module]))

    def _named(self, name: str) -> str:
        """The name of a call: calls after the first one bear their number."""
        self._counts[name] = n = self._counts.get(name, 0) + 1
        return name if n == 1 else f"{name}#{n}"

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        layer = self._stack.pop()
        tensors = [leaf for leaf in pytree.tree_leaves(output) if is_float(leaf)]
        for place, tensor in enumerate(tensors):
            if any(tensor is each for each in self._shown[-4:]):  # a container's last child gave it
                continue
            self._shown.append(tensor)
            self._show(f"{layer}[{place}]" if place else layer, tensor)

    def _show(self, layer: str, tensor: Tensor) -> None:
        self._quietly(layer, "a", tensor)
        if tensor.requires_grad:

            def show_gradient(gradient: Tensor) -> None:
                self._quietly(layer, "da", gradient)

            tensor.register_hook(show_gradient)

    def _quietly(self, layer: str, quantity: str, tensor: Tensor) -> None:
        """Look at a tensor with exact arithmetic also where errors are put into all others."""
        with _disable_current_modes():
            self._sink(layer, quantity, tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look at the decisions of one operator, and let it go on."""
        if self._stack:
            with _disable_current_modes():
                self._show_decisions(margins_of(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _show_decisions(self, found: tuple[str, Tensor] | None) -> None:
        if found is not None:
            kind, margins = found
            name = f"{self._stack[-1]} {kind}"
            number = self._named(name).removeprefix(name)
            self._sink(self._stack[-1] + number, kind, margins)


def is_float(leaf: Any) -> bool:
    """Whether something is a tensor of floating-point numbers that holds any."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel() > 0


def scores_of(output: Any) -> Tensor | None:
    """The scores among which a model decides: the first tensor with rows of them in its output."""
    for leaf in pytree.tree_leaves(output):
        if is_float(leaf) and leaf.dim() > 1 and leaf.shape[-1] > 1:
            return leaf.detach()
    return None
