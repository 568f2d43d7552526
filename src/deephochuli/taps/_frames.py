"""What one thread is in the middle of: which module calls, in which forward."""

# `sys._getframe` is the one way to see whether a call is still in progress.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Hashable
from types import FrameType

from torch import nn
from torch.overrides import TorchFunctionMode

from deephochuli.taps._catalogue import Slot, Tapped

MAX_CALLS = 16
"""Calls told apart within one invocation of the caller; any further ones share the last name."""


class Call:
    """One module call in progress."""

    __slots__ = ("counts", "index", "is_closed", "module", "slot", "tapped")

    def __init__(self, module: nn.Module | None, tapped: Tapped | None, is_closed: bool) -> None:
        """Open a call; in a closed one functional activations are not looked at."""
        self.module = module
        self.tapped = tapped
        self.is_closed = is_closed
        self.index = 1
        self.slot: Slot | None = None
        self.counts: dict[Hashable, int] = {}

    def count(self, key: Hashable) -> int:
        """Return how many times this call has called `key` by now, from 1 to `MAX_CALLS`."""
        index = min(self.counts.get(key, 0) + 1, MAX_CALLS)
        self.counts[key] = index
        return index


def ground() -> Call:
    """Return what the outermost calls count as called by."""
    return Call(None, None, is_closed=True)


class ThreadState(threading.local):
    """Where one thread stands in a forward pass of the model."""

    def __init__(self) -> None:
        """Start outside any forward pass."""
        self.outermost: nn.Module | None = None
        self.depth = 0
        self.is_recording = False
        self.has_mode = False
        self.is_announced = False
        self.calls: list[Call] = []
        self.ground = ground()
        self.region: weakref.ref[object] | None = None  # a node in a graph that must be freed
        self.channel_hint: int | None = None
        self.modes_below: list[TorchFunctionMode] = []
        self.loose_epoch: int | None = None
        self.python_frame: FrameType | None = None

    def enclosing(self) -> Call:
        """Return the innermost call of a module, or the ground outside all of them."""
        return self.calls[-1] if self.calls else self.ground

    def enclosing_of_model(self) -> Call | None:
        """Return the innermost call that belongs to the model, unless a closed one is inside."""
        for call in reversed(self.calls):
            if call.is_closed:
                return None
            if call.tapped is not None:
                return call
        return None

    def pop(self, module: nn.Module) -> Call | None:
        """Leave the call of `module`, and any call inside it that was never left."""
        while self.calls:
            call = self.calls.pop()
            if call.module is module:
                return call
        return None

    def clear(self) -> None:
        """Stand outside any forward pass again."""
        self.outermost = None
        self.depth = 0
        self.is_recording = False
        self.has_mode = False
        self.calls.clear()
        self.channel_hint = None
        self.python_frame = None
        self.modes_below = []

    def is_abandoned(self) -> bool:
        """Say whether the forward in progress was left without a word (by Ctrl-C)."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame is self.python_frame:
                return False
            frame = frame.f_back
        return True
