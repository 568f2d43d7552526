"""What became of every gradient element that is not zero in exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deephochuli.analysis.backward._formats import GradientFormats
from deephochuli.analysis.compare._forced import Forced
from deephochuli.analysis.compare._trace import CallName, Trace
from deephochuli.arithmetic import round_to
from deephochuli.formats import BINARY64, Format, Rounding


@dataclass(frozen=True, slots=True)
class Fate:
    """Counts of elements of one gradient.

    Attributes:
        n: Elements.
        n_nonzero: Elements whose exact gradient is not zero; all others are zero in any format.
        lost: Of these, how many are zero in the arithmetic.
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
    rounded: int = 0
    inside: int = 0
    subnormal: int = 0
    nonfinite: int = 0

    @property
    def inherited(self) -> int:
        """Of the lost, those that the layers between here and the loss had lost already."""
        return self.lost - self.rounded - self.inside

    @property
    def lost_share(self) -> float:
        """Share of the exact gradient's elements that are not zero and become zero."""
        return self.lost / self.n_nonzero if self.n_nonzero else 0.0

    def __add__(self, other: Fate) -> Fate:
        """The counts of two tensors together."""
        return Fate(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def fate_of(judged: Tensor, computed: Tensor, exact: Tensor, fmt: Format) -> Fate:
    """Count what became of one gradient.

    Args:
        judged: The gradient in the arithmetic.
        computed: What exact arithmetic makes of exactly what the layer was given.
        exact: The gradient in exact arithmetic throughout.
        fmt: What the judged gradient is stored in.
    """
    q, c, r = (each.detach().to("cpu", torch.float64) for each in (judged, computed, exact))
    is_live = (r != 0) & r.isfinite()
    is_lost = is_live & (q == 0)
    is_own = is_lost & (c != 0)
    is_below = c.abs() <= fmt.zero_threshold
    is_small = (q != 0) & (q.abs() < fmt.smallest_normal)
    return Fate(
        n=r.numel(),
        n_nonzero=int(is_live.sum()),
        lost=int(is_lost.sum()),
        rounded=int((is_own & is_below).sum()),
        inside=int((is_own & ~is_below).sum()),
        subnormal=int(is_small.sum()),
        nonfinite=int((~q.isfinite() & r.isfinite()).sum()),
    )


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
    w = weight.detach().to("cpu", torch.float64)
    step = step.detach().to("cpu", torch.float64)
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


class Witness(Forced):
    """Counts, call by call, what becomes of the gradients by the inputs."""

    def __init__(self, judged: Trace, free: Trace, formats: GradientFormats) -> None:
        """Judge a trace; `free` is the exact run, which nothing forced."""
        super().__init__(judged, free)
        self.fates: dict[CallName, Fate] = {}
        self._formats = formats

    def _see(
        self, owner: CallName, what: str, judged: Tensor, computed: Tensor, known: Tensor | None
    ) -> None:
        if what == "backward" and known is not None and known.shape == judged.shape:
            fmt = self._formats.of_parameter(judged.dtype)
            fate = fate_of(judged, computed, known, fmt)
            self.fates[owner] = self.fates.get(owner, Fate()) + fate
