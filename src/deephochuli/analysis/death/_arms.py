"""Arms of a counterfactual: which ingredients of a training step are low, and which are exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from deephochuli.errors import CompareError, near_matches

Ingredient = Literal["low", "exact"]
Update = Literal["low", "exact", "fp32", "stochastic", "kahan"]


@dataclass(frozen=True, slots=True)
class Arm:
    """How the steps of one arm are made.

    Attributes:
        name: Name in tables.
        forward: Whether the forward is computed low or in binary64.
        backward: The same for the backward.
        update: How weights are kept: "low" (every result of the optimizer rounded to the low
            format), "exact" (binary64 master weights), "fp32" (FP32 master weights), "stochastic"
            (low, rounded at random without bias), "kahan" (low, with a second low number for what
            was lost). Forward and backward of a low arm read master weights rounded to the format.
        loss_scale: Factor on the loss, taken from the gradients in binary64 before the update; a
            step with gradients that are not finite is left out where it is not 1.
        says: What the arm stands for.
    """

    name: str
    forward: Ingredient
    backward: Ingredient
    update: Update
    loss_scale: float = 1.0
    says: str = ""


ARMS: Final = {
    arm.name: arm
    for arm in (
        Arm("low", "low", "low", "low", says="everything low (A)"),
        Arm("exact", "exact", "exact", "exact", says="everything in binary64 (B)"),
        Arm("exact-update", "low", "low", "exact", says="binary64 master weights (C)"),
        Arm("low-update", "exact", "exact", "low", says="exact gradient, low weights (D)"),
        Arm("exact-forward", "exact", "low", "low", says="only the forward in binary64"),
        Arm("exact-backward", "low", "exact", "low", says="only the backward in binary64"),
        Arm("loss-scale", "low", "low", "low", 1024.0, "loss scaled by 1024"),
        Arm("master-fp32", "low", "low", "fp32", says="FP32 master weights"),
        Arm("stochastic", "low", "low", "stochastic", says="updates rounded stochastically"),
        Arm("kahan", "low", "low", "kahan", says="compensated updates (Kahan)"),
        Arm("scale-and-master", "low", "low", "fp32", 1024.0, "loss scale and FP32 master weights"),
    )
}
"""Arms by name: the four of the counterfactual, one ingredient at a time, and treatments."""

FOUR: Final = ("low", "exact", "exact-update", "low-update")


def arms_of(names: Iterable[str | Arm]) -> tuple[Arm, ...]:
    """Find arms by name, "low" and "exact" always among them and first.

    Raises:
        CompareError: A name is unknown.

    Example:
        >>> [arm.name for arm in arms_of(["kahan"])]
        ['low', 'exact', 'kahan']
    """
    found = {name: ARMS[name] for name in ("low", "exact")}
    for each in names:
        if isinstance(each, Arm):
            found[each.name] = each
        elif each in ARMS:
            found[each] = ARMS[each]
        else:
            raise CompareError(f"There is no arm {each!r}. {near_matches(each, ARMS)}")
    return tuple(found.values())
