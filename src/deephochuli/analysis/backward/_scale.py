"""Which loss scale a format needs and allows, and the gradients that say so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from deephochuli.analysis.underflow import MARGIN_BINADES
from deephochuli.errors import CompareError
from deephochuli.formats import Format
from deephochuli.sketch import Sketch, best_scale

_MOST_BINADES = 1100
"""The smallest binary64 gradient is lifted over any threshold by this many binades."""


@dataclass(frozen=True, slots=True)
class TensorScale:
    """What one gradient asks of a loss scale.

    Attributes:
        layer: Layer that computes the gradient.
        tensor: "input", or the name of a parameter.
        format: Format that it has to fit into.
        n: Exact gradients that are not zero.
        to_zero: Of these, how many the format turns into zero without a scale.
        lowest: The smallest power of two that removes the wanted share of these; 1 where nothing
            becomes zero.
        highest: The largest power of two at which nothing leaves the range.
    """

    layer: str
    tensor: str
    format: str
    n: int
    to_zero: int
    lowest: float
    highest: float

    @property
    def name(self) -> str:
        """Layer and tensor as people read them."""
        return f"{self.layer}:{self.tensor}"


@dataclass(frozen=True, slots=True)
class LossScale:
    """Loss scales for one arithmetic.

    Attributes:
        removed: Share of the underflow that `lowest` removes from every gradient.
        lowest: The smallest power of two that serves every gradient.
        demanding: The gradient that asks for it; "" where none underflows.
        highest: The largest power of two at which no gradient overflows.
        limiting: The gradient that forbids more.
        tensors: All gradients in the order of the layers.
    """

    removed: float
    lowest: float
    demanding: str
    highest: float
    limiting: str
    tensors: tuple[TensorScale, ...]

    @property
    def fits(self) -> bool:
        """Whether one scale both removes the underflow and overflows nowhere."""
        return self.lowest <= self.highest

    @property
    def advised(self) -> float:
        """The largest scale that leaves four binades of room for the gradients still to come.

        Not below `lowest` where that is allowed.
        """
        with_room = math.ldexp(self.highest, -MARGIN_BINADES)
        return max(with_room, min(self.lowest, self.highest))


def tensor_scale(
    layer: str, tensor: str, exact: Sketch, fmt: Format, removed: float
) -> TensorScale | None:
    """What one gradient asks of a loss scale; None where it is zero throughout.

    Args:
        layer: Layer that computes it.
        tensor: "input", or the name of a parameter.
        exact: The exact gradient, without a scale.
        fmt: What it has to fit into.
        removed: Share of the underflow to remove.

    Numerics:
        Powers of two move the thresholds of a format from one edge of a key to another, so that
        counts are exact. What is flushed is judged on the exact gradient, on which no format has
        left its zeros yet.
    """
    highest = best_scale(exact, fmt).lossless_to
    if math.isnan(highest):
        return None
    threshold = Fraction(fmt.smallest_subnormal) / 2

    def zeros(exponent: int) -> int:
        bound = threshold / Fraction(2) ** exponent
        return exact.count_below(bound, inclusive=True)[1]

    lost = zeros(0)
    left = lost - math.ceil(removed * lost)
    needed = next(e for e in range(_MOST_BINADES) if zeros(e) <= left)
    n = exact.n_finite - exact.n_zero
    return TensorScale(layer, tensor, fmt.name, n, lost, math.ldexp(1.0, needed), highest)


def loss_scale(tensors: Iterable[TensorScale | None], removed: float) -> LossScale | None:
    """The scale that serves all gradients; None where all of them are zero."""
    known = [each for each in tensors if each is not None]
    if not known:
        return None
    demanding = max(known, key=lambda each: each.lowest)
    limiting = min(known, key=lambda each: each.highest)
    return LossScale(
        removed,
        demanding.lowest,
        demanding.name if demanding.to_zero else "",
        limiting.highest,
        limiting.name,
        tuple(known),
    )


def check_removed(removed: float) -> None:
    """Raise where a share of the underflow is none.

    Raises:
        CompareError: It is not in (0, 1].
    """
    if not 0 < removed <= 1:
        raise CompareError(
            f"removed={removed!r} is not a share of the underflow: expected more than 0, and 1 or "
            "less (0.95 finds the smallest loss scale that rescues 95 % of what is flushed)."
        )
