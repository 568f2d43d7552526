"""What follows: the theorem and its assumptions, claim by claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from deephochuli.studies._study import Claim
from deephochuli.studies.pieces import _assumptions, _controls, _theorem
from deephochuli.studies.pieces._read import Row

_MAKERS: Final[tuple[Callable[[Sequence[Row]], Claim], ...]] = (
    _theorem.bound,
    _theorem.in_depth,
    _theorem.in_noise,
    _theorem.in_width,
    _theorem.bound_in_width,
    _assumptions.reciprocals_in_width,
    _assumptions.reciprocals_in_depth,
    _assumptions.staying_dead,
    _assumptions.slopes,
    _controls.accuracy,
    _controls.cause,
    _controls.random_nets,
    _controls.tents,
    _controls.kept,
    _controls.kept_under_noise,
    _controls.trained,
    _controls.optimum,
)


def claims(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """All claims in the order of the paper, then the controls; those without data are open."""
    return tuple(maker(rows) for maker in _MAKERS)
