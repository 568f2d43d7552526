"""Hooks that follow the calls of a model and pass every tensor at their borders to a visitor."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deephochuli.analysis.compare._trace import Call, CallName


class Visitor(Protocol):
    """Decides what goes on in place of each tensor at the border of a call."""

    def enter(self, call: Call) -> None:
        """A call begins."""
        ...

    def visit_input(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """A floating-point tensor goes in; return what goes in instead."""
        ...

    def visit_output(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """A floating-point tensor comes out; return what comes out instead."""
        ...


class Caller:
    """Follows the calls of one model."""

    def __init__(self, model: nn.Module, visitor: Visitor) -> None:
        """Show the calls of `model` to `visitor`."""
        self._paths: dict[nn.Module, str] = {}
        for path, module in model.named_modules():
            self._paths.setdefault(module, path)
        self._visitor = visitor
        self._counts: dict[str, int] = {}
        self._stack: list[Call] = []

    def enter(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Begin a call; its inputs are what the visitor makes of them."""
        path = self._paths[module]
        index = self._counts.get(path, 0)
        self._counts[path] = index + 1
        parent: CallName | None = self._stack[-1].name if self._stack else None
        is_leaf = next(module.children(), None) is None
        call = Call(path, index, type(module).__name__, parent, is_leaf)
        self._visitor.enter(call)
        replaced = _each_float((args, kwargs), lambda t, i: self._visitor.visit_input(call, t, i))
        self._stack.append(call)
        return replaced

    def leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        """End a call; its outputs are what the visitor makes of them."""
        path = self._paths[module]
        while (call := self._stack.pop()).path != path:
            pass  # a call that an exception ended, which the model itself caught
        return _each_float(output, lambda t, i: self._visitor.visit_output(call, t, i))


def _each_float(value: Any, change: Callable[[Tensor, int], Tensor]) -> Any:
    """The same structure with every floating-point tensor changed, in order."""
    leaves, form = pytree.tree_flatten(value)
    place = 0
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            leaves[i] = change(leaf, place)
            place += 1
    return pytree.tree_unflatten(leaves, form)


@contextmanager
def following(model: nn.Module, visitor: Visitor, *, is_whole: bool = False) -> Generator[None]:
    """Show all calls of a model inside the block to a visitor; of a whole only its own."""
    caller = Caller(model, visitor)
    handles: list[Any] = []
    for module in [model] if is_whole else dict.fromkeys(model.modules()):
        handles.append(module.register_forward_pre_hook(caller.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(caller.leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
