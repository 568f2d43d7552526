"""From one state, the same steps in several arithmetics: who comes back to life where."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deephochuli.analysis._batches import Batch, Loss, batches_of
from deephochuli.analysis.compare import Task
from deephochuli.analysis.death._arms import FOUR, Arm, arms_of
from deephochuli.analysis.death._frozen import load
from deephochuli.analysis.death._low import EXACT, Spec, exact_copy, low_copy, low_of
from deephochuli.analysis.death._revived import Revival
from deephochuli.analysis.death._shadows import highs_of, wirings_of
from deephochuli.analysis.death._trainer import Trainer
from deephochuli.analysis.death._wiring import Wiring
from deephochuli.errors import CompareError

Bools = npt.NDArray[np.bool_]


def revival(
    model: nn.Module,
    data: Any,
    arithmetic: Spec = "bf16-pure",
    *,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None = None,
    steps: int | Sequence[int] = 30,
    arms: Sequence[str | Arm] = FOUR,
    confidence: float = 0.95,
    seed: int = 0,
) -> Revival:
    """Train from one state in several ways, and see which dead units live afterwards.

    The state is the model with its weights rounded to the low format. From it every arm takes the
    same steps on the same batches: "low" (A) all of it low, "exact" (B) all of it in binary64,
    "exact-update" (C) with binary64 master weights, "low-update" (D) with exact gradients and low
    weights. B against D, and C against A, isolate the update; B against C isolates the gradient.

    Args:
        model: The model; only copies of it train.
        data: Batches (inputs, target) as a data loader gives them; steps take them in order, again
            and again. A unit is dead when it does not fire on any of them.
        arithmetic: What "low" is, as for `death`.
        optimizer: An optimizer of the model, whose settings and states all arms begin with.
        loss: Of output and target; None for the output's own ``loss``.
        steps: How many, or several numbers of steps after which to look.
        arms: Names of `ARMS`, or arms of your own; "low" and "exact" are always among them.
        confidence: Of intervals.
        seed: Of dropout and of stochastic rounding.

    Raises:
        ArithmeticSpecError: The arithmetic is unknown, or cannot be mixed as an arm asks.
        CompareError: An arm is unknown, the data cannot be read, or no rectifier is called.

    Numerics:
        A unit lives when its largest pre-activation on the data, in binary64 under the arm's
        weights, is positive. A low update is the optimizer's step with every result rounded to the
        format: for plain SGD fl(w - lr g), one rounding of the binary64 result. Repeats bit for
        bit on one machine.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU())
        >>> with torch.no_grad():
        ...     for p, value in zip(model.parameters(), (1.0, 0.0, 1.0, -1.0)):
        ...         _ = p.fill_(value)  # the second unit never fires on x = 1
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> found = revival(model, torch.ones(1, 1), optimizer=sgd, loss=lambda y, _: -y.sum())
        >>> found.units, found.n_revived("exact")  # nor does it move: its gradient is zero
        ((('2', 0),), 0)
    """
    looks = _checked_looks(steps)
    batches, low = batches_of(data), low_of(arithmetic, model)
    task = Task(model=model, batch=None, optimizer=optimizer, seed=seed)
    state = low_copy(low, task)
    start = exact_copy(state.model)
    wirings = wirings_of(exact_copy(state.model), batches[0], seed)
    data_of = _Data(batches, wirings, seed)
    as_judged = highs_of(low_copy(low, task).model, low.executor, wirings, batches, seed)
    dead = (as_judged <= 0) & ~data_of.alive(start)
    found = arms_of(arms)
    traces = [_trace(Trainer(low, state, arm, loss, seed), data_of, looks, start) for arm in found]
    return Revival(
        model=type(model).__name__,
        arithmetic=low.name,
        arms=found,
        steps=looks,
        units=tuple(unit for unit, is_dead in zip(data_of.units, dead, strict=True) if is_dead),
        alive=np.stack([alive[:, dead] for alive, _ in traces]),
        moved=np.stack([moved for _, moved in traces]),
        confidence=confidence,
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """The declared data, on which units are dead or alive."""

    batches: tuple[Batch, ...]
    wirings: Sequence[Wiring]
    seed: int

    @property
    def units(self) -> list[tuple[str, int]]:
        """Layer and number of every unit, in the order of all arrays."""
        return [(each.layer, unit) for each in self.wirings for unit in range(each.n_units)]

    def alive(self, model: nn.Module) -> Bools:
        """Which units of a copy in binary64 fire somewhere, bool [all units]."""
        return ~(highs_of(model, EXACT, self.wirings, self.batches, self.seed) <= 0)


def _trace(
    trainer: Trainer, data: _Data, looks: Sequence[int], start: nn.Module
) -> tuple[Bools, npt.NDArray[np.float64]]:
    """Train one arm, and look at its units and weights after some steps."""
    probe, alive, moved = exact_copy(start), [], []
    stream = cycle(data.batches)
    for number in count(1):
        trainer.step(next(stream))
        if number in looks:
            load(probe, trainer.model)
            alive.append(data.alive(probe))
            moved.append(_moved(probe, start))
        if number == looks[-1]:
            return np.stack(alive), np.array(moved)
    raise AssertionError("the count of steps ends")


def _moved(model: nn.Module, start: nn.Module) -> float:
    """Share of the weights that differ from those at the start."""
    pairs = list(zip(model.parameters(), start.parameters(), strict=True))
    n_moved = sum(int((mine != other).sum()) for mine, other in pairs)
    return n_moved / sum(mine.numel() for mine, _ in pairs)


def _checked_looks(steps: int | Sequence[int]) -> tuple[int, ...]:
    looks = (steps,) if isinstance(steps, int) else tuple(steps)
    if not looks or list(looks) != sorted(set(looks)) or looks[0] < 1:
        raise CompareError(
            f"steps={steps!r}: expected a number of steps of 1 or more, or several in rising order."
        )
    return looks
