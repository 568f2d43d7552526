"""What became of every gradient element that is not zero in exact arithmetic."""

# torch's hooks on tensors have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deephochuli.analysis.backward._formats import GradientFormats
from deephochuli.analysis.compare._forced import Forced
from deephochuli.analysis.compare._trace import Call, CallName, Trace
from deephochuli.arithmetic import round_to
from deephochuli.formats import BINARY64, Format, Rounding


@dataclass(frozen=True, slots=True)
class Fate:
    """Counts of elements of one gradient.

    Attributes:
        n: Elements.
        n_nonzero: Elements whose exact gradient is not zero; all others are zero in any format.
        lost: Of these, how many are zero in the arithmetic.
        decided: Of the lost, those that exact arithmetic gives no gradient either once the forward
            has come out as it did: a unit is silent, or another one the largest. The backward lost
            none of them.
        rounded: Of the lost, those that the layer computed from what it was given to a number that
            its format rounds to zero: underflow right here.
        inside: Of the lost, those that the layer would have computed to more than that: operands or
            products became zero, or a sum absorbed them. The rest of the lost was lost before.
        subnormal: Elements that are left, but subnormal.
        nonfinite: Elements that are infinite or NaN though the exact gradient is finite.
    """

    n: int = 0
    n_nonzero: int = 0
    lost: int = 0
    decided: int = 0
    rounded: int = 0
    inside: int = 0
    subnormal: int = 0
    nonfinite: int = 0

    @property
    def inherited(self) -> int:
        """Of the lost, those that the layers between here and the loss had lost already."""
        return self.lost - self.decided - self.rounded - self.inside

    @property
    def vanished(self) -> int:
        """Of the lost, those that the backward lost, here or before."""
        return self.lost - self.decided

    @property
    def vanished_share(self) -> float:
        """Share of the elements that are not zero in exact arithmetic and vanish backward."""
        return self.vanished / self.n_nonzero if self.n_nonzero else 0.0

    def __add__(self, other: Fate) -> Fate:
        """The counts of two tensors together."""
        return Fate(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def fate_of(
    judged: Tensor, computed: Tensor, exact: Tensor, rerun: Tensor | None, fmt: Format
) -> Fate:
    """Count what became of one gradient.

    Args:
        judged: The gradient in the arithmetic.
        computed: What exact arithmetic makes of exactly what the layer was given.
        exact: The gradient in exact arithmetic throughout.
        rerun: The gradient in exact arithmetic after the forward of the arithmetic; None where it
            is not known to differ from `exact`.
        fmt: What the judged gradient is stored in.
    """
    course = exact if rerun is None else rerun
    q, c, r, f = (_wide(each) for each in (judged, computed, exact, course))
    is_live = (r != 0) & r.isfinite()
    is_lost = is_live & (q == 0)
    is_own = is_lost & (c != 0) & (f != 0)
    is_below = c.abs() <= fmt.zero_threshold
    is_small = (q != 0) & (q.abs() < fmt.smallest_normal)
    return Fate(
        n=r.numel(),
        n_nonzero=int(is_live.sum()),
        lost=int(is_lost.sum()),
        decided=int((is_lost & (f == 0)).sum()),
        rounded=int((is_own & is_below).sum()),
        inside=int((is_own & ~is_below).sum()),
        subnormal=int(is_small.sum()),
        nonfinite=int((~q.isfinite() & r.isfinite()).sum()),
    )


def _wide(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)


def would_move(weight: Tensor, step: Tensor, fmt: Format) -> Tensor:
    """Where a step, rounded together with its weight once, changes the stored weight.

    Args:
        weight: Weights, any shape; rounded to `fmt` first.
        step: What exact arithmetic would add, the same shape.
        fmt: Format that weights are kept in.

    Numerics:
        Nothing is rounded twice: the step is compared with half the gap to the weight's neighbour,
        and where it is exactly half, the tie is rounded, which binary64 holds.
    """
    w, step = _wide(weight), _wide(step)
    if fmt == BINARY64:
        return w + step != w
    stored = round_to(w, fmt)
    half = (_neighbour(stored, step > 0, fmt) - stored) / 2
    tie_moves = round_to(stored + half, fmt) != stored
    return torch.where(step.abs() == half.abs(), tie_moves, step.abs() > half.abs())


def _neighbour(stored: Tensor, is_above: Tensor, fmt: Format) -> Tensor:
    """The next number of a format above or below each of its numbers."""
    beyond = torch.where(is_above, math.inf, -math.inf)
    nudged = torch.nextafter(stored, beyond)
    up = round_to(nudged, fmt, rounding=Rounding.UP)
    return torch.where(is_above, up, round_to(nudged, fmt, rounding=Rounding.DOWN))


class Rerun(Forced):
    """Runs the backward in exact arithmetic after the forward of the judged execution."""

    def __init__(self, judged: Trace, free: Trace) -> None:
        """Force the numbers of `judged` in the forward, and leave the backward alone."""
        super().__init__(_forward_of(judged), free)
        self.gradients: dict[tuple[CallName, int], Tensor] = {}

    def visit_input(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """Keep the gradient that the call hands down."""
        passed = tensor.clone()
        if passed.requires_grad:

            def keep(gradient: Tensor) -> None:
                self.gradients[call.name, place] = gradient.detach().clone()

            passed.register_hook(keep)
        return super().visit_input(call, passed, place)


def _forward_of(trace: Trace) -> Trace:
    """A trace without its gradients."""
    calls = {
        name: replace(
            call,
            grad_inputs=[None] * len(call.grad_inputs),
            grad_outputs=[None] * len(call.grad_outputs),
        )
        for name, call in trace.calls.items()
    }
    return replace(trace, calls=calls)


class Witness(Forced):
    """Counts, call by call, what becomes of the gradients by the inputs."""

    def __init__(self, judged: Trace, free: Trace, rerun: Rerun, formats: GradientFormats) -> None:
        """Judge a trace; `free` is the exact run, which nothing forced."""
        super().__init__(judged, free)
        self.fates: dict[CallName, Fate] = {}
        self._rerun = rerun
        self._formats = formats

    def _see(
        self, owner: CallName, what: str, judged: Tensor, computed: Tensor, known: Tensor | None
    ) -> None:
        if what != "backward" or known is None or known.shape != judged.shape:
            return
        fmt = self._formats.of_parameter(judged.dtype)
        rerun = self._rerun.gradients.get((owner, self._place(owner, known)))
        fate = fate_of(judged, computed, known, rerun, fmt)
        self.fates[owner] = self.fates.get(owner, Fate()) + fate

    def _place(self, owner: CallName, known: Tensor) -> int:
        """Which input of a call an exact gradient belongs to."""
        gradients = self._free.calls[owner].grad_inputs
        return next(i for i, each in enumerate(gradients) if each is known)
