"""Noticing that a gradient scaler held an update back.

A scaler that finds inf or NaN simply does not call the optimizer, so no optimizer hook tells.
`GradScaler.step` is therefore wrapped, on the class, for as long as anybody listens.
"""

# The scaler's record of what it found has no public interface in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer


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


def found_nonfinite(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Say whether the scaler found inf or NaN in the gradients of this step."""
    state: dict[str, Any] = scaler._per_optimizer_states.get(id(optimizer), {})
    return any(bool(found) for found in state.get("found_inf_per_device", {}).values())
