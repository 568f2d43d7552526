"""What each call makes of exactly what it was given: the errors of its own.

The reference model runs once, in binary64. Wherever a tensor crosses the border of a call, what the
judged execution had there takes the place of what the reference computed, in the forward and in the
backward. So every piece of the model computes from the judged execution's own numbers, and what it
computes differs from the judged result by the errors that arose in this very piece.

The pieces are the modules without modules below them, and what each other module does between the
calls of those below it.
"""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deephochuli.analysis.compare._errors import Differences
from deephochuli.analysis.compare._trace import Call, CallName, Trace


class _Replace(torch.autograd.Function):
    """Goes on with the judged numbers, and tells what came in on both ways."""

    @staticmethod
    def forward(
        ctx: Any, computed: Tensor, judged: Tensor, gradient: Tensor | None, tell: Any
    ) -> Tensor:
        ctx.gradient, ctx.tell = gradient, tell
        return judged.to(computed.device, computed.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (computed,) = grads
        if ctx.gradient is None:
            return computed, None, None, None
        ctx.tell(computed, ctx.gradient)
        forced = ctx.gradient.to(computed.device, computed.dtype, copy=True)
        return forced, None, None, None


KINKED = frozenset(
    ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "Hardtanh", "Hardswish", "Hardsigmoid")
)
"""Modules that decide by the sign of their input."""


class Forced:
    """Puts a trace's numbers in the place of the reference's, and measures what these would be."""

    def __init__(self, judged: Trace, free: Trace) -> None:
        """Judge a trace; `free` is the reference's own run, which nothing forced."""
        self._judged = judged
        self._free = free
        self.differences = Differences()
        self.missing: list[CallName] = []

    def own(self, owner: CallName, what: str, judged: Tensor, computed: Tensor) -> None:
        """Learn what a call had and should have had; for those who want more than its size."""

    def enter(self, call: Call) -> None:
        """Note a call that the judged execution does not have."""
        if call.name not in self._judged.calls:
            self.missing.append(call.name)

    def visit_input(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """What the parent hands over is the parent's own work."""
        judged, free = self._judged.calls.get(call.name), self._free.calls.get(call.name)
        if judged is None or not _fits(judged.inputs, place, tensor):
            return tensor
        if call.parent is not None:
            self._see(call.parent, "forward", judged.inputs[place], tensor, None)
        if call.kind in KINKED and free is not None and _fits(free.inputs, place, tensor):
            self.differences.see(call.name, "kink:", judged.inputs[place], free.inputs[place])
        known = None if free is None else _at(free.grad_inputs, place)

        def tell(computed: Tensor, gradient: Tensor) -> None:
            self._see(call.name, "backward", gradient, computed, known)

        return _replace(tensor, judged.inputs[place], judged.grad_inputs[place], tell)

    def visit_output(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """What comes out is the call's own work."""
        judged, free = self._judged.calls.get(call.name), self._free.calls.get(call.name)
        if judged is None or not _fits(judged.outputs, place, tensor):
            return tensor
        known = None if free is None else _at(free.outputs, place)
        self._see(call.name, "forward", judged.outputs[place], tensor, known)

        def tell(computed: Tensor, gradient: Tensor) -> None:
            if call.parent is not None:
                self._see(call.parent, "backward", gradient, computed, None)

        return _replace(tensor, judged.outputs[place], judged.grad_outputs[place], tell)

    def _see(
        self, owner: CallName, what: str, judged: Tensor, computed: Tensor, known: Tensor | None
    ) -> None:
        """The call's own error, and where the free run has it too the inherited and the total."""
        self.own(owner, what, judged, computed)
        self.differences.see(owner, what, judged, computed)
        if known is not None and known.shape == judged.shape:
            self.differences.see(owner, f"inherited:{what}", computed, known, judged.dtype)
            self.differences.see(owner, f"total:{what}", judged, known)


def _replace(
    computed: Tensor,
    judged: Tensor,
    gradient: Tensor | None,
    tell: Callable[[Tensor, Tensor], None],
) -> Tensor:
    replaced: Tensor = _Replace.apply(computed, judged, gradient, tell)
    return replaced


def _at(values: list[Any], place: int) -> Tensor | None:
    return values[place] if place < len(values) else None


def _fits(judged: list[Tensor], place: int, tensor: Tensor) -> bool:
    return place < len(judged) and judged[place].shape == tensor.shape
