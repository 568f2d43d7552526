"""Seeing functional activations, and keeping torch's stack of function modes in order."""

# The stack of function modes has no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import torch
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from deephochuli.taps._activations import FUNCTION_KINDS
from deephochuli.taps._compiler import is_compiler_on

Result = TypeVar("Result")


class CallWatcher(Protocol):
    """Sees the calls of activation functions."""

    def call(
        self,
        kind: str,
        function: Callable[..., Result],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> Result:
        """Call the function and look at what goes in and comes out."""
        ...


class FunctionMode(TorchFunctionMode):
    """Passes every torch function through and shows the activations among them."""

    def __init__(self, watcher: CallWatcher) -> None:
        """Show activation calls to `watcher`."""
        super().__init__()
        self._watcher = watcher

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Call `func` as it would have been called."""
        is_seen = not (torch.compiler.is_compiling() or is_compiler_on())
        kind = FUNCTION_KINDS.get(func) if is_seen else None
        if kind is None:
            return func(*args, **(kwargs or {}))
        return self._watcher.call(kind, func, args, kwargs or {})


def mode_stack() -> list[TorchFunctionMode]:
    """Return the function modes of this thread, outermost first."""
    return list(_get_current_function_mode_stack())


def push(mode: TorchFunctionMode) -> None:
    """Enter a mode."""
    _push_mode(mode)


def remove(mode: TorchFunctionMode) -> bool:
    """Take `mode` off the stack wherever it lies, and say whether it was there."""
    above: list[TorchFunctionMode] = []
    found = False
    while not found and mode_stack():
        top = _pop_mode()
        found = top is mode
        if not found:
            above.append(top)
    for other in reversed(above):
        _push_mode(other)
    return found


def remove_abandoned(mode: TorchFunctionMode, below: list[TorchFunctionMode]) -> None:
    """Put the stack in order after an interrupt passed a forward without its end being seen.

    A ``with`` block of the user that the interrupt left pops whatever lies on top. If that was
    our mode, one mode of the user's is still there though he has left it: the uppermost of those
    that lay below ours.

    Args:
        mode: The mode that was entered when the forward began.
        below: The stack under it at that time.
    """
    if remove(mode):
        return
    for left in reversed(mode_stack()):
        if any(left is one for one in below):
            remove(left)
            return
