"""Noticing that a gradient scaler held an update back.

A scaler that finds inf or NaN simply does not call the optimizer, so no optimizer hook tells.
`GradScaler.step` is therefore wrapped, on the class, for as long as anybody listens. A fused
optimizer is called all the same, with word of what was found, and changes nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from deephochuli.kernels import is_capturing


class ScalerListener(Protocol):
    """Hears of the steps that a scaler makes with an optimizer."""

    def scaler_steps(self, scaler: GradScaler, optimizer: Optimizer) -> int:
        """Learn that a scaler is about to step; return how many updates there were so far."""
        ...

    def scaler_stepped(self, scaler: GradScaler, optimizer: Optimizer, n_updates: int) -> None:
        """Learn that it has stepped, with the number returned before."""
        ...


_listeners: Final[list[ScalerListener]] = []
_lock: Final = threading.Lock()
_original: Callable[..., float | None] | None = None


def _step(self: GradScaler, optimizer: Optimizer, *args: object, **kwargs: object) -> float | None:
    """Step as the scaler would, with the listeners told before and after."""
    step = _original or GradScaler.step
    counts = [(each, each.scaler_steps(self, optimizer)) for each in tuple(_listeners)]
    result = step(self, optimizer, *args, **kwargs)
    for listener, n_updates in counts:
        listener.scaler_stepped(self, optimizer, n_updates)
    return result


def listen(listener: ScalerListener) -> None:
    """Tell `listener` of every scaler step from now on."""
    global _original
    with _lock:
        _listeners.append(listener)
        if _original is None:
            _original = GradScaler.step
            GradScaler.step = _step


def cease(listener: ScalerListener) -> None:
    """Tell `listener` nothing more; the last one to leave restores the class."""
    global _original
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)
        if not _listeners and GradScaler.step is _step and _original is not None:
            GradScaler.step = _original
            _original = None


def holds_back(optimizer: Optimizer) -> bool:
    """Say whether a fused optimizer that is about to step will change nothing.

    Asking waits for the device, as a scaler does with any optimizer that is not fused. While a
    graph is being captured nobody knows, and asking would end the capture.
    """
    found = getattr(optimizer, "found_inf", None)  # there only while a scaler calls the optimizer
    return found is not None and not is_capturing(found.device) and bool(found)
