"""Training steps whose weights do not move although they should: which units, and why."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deephochuli.analysis._batches import Batch, Loss, gradients_of
from deephochuli.analysis.compare import Patient, Task, world
from deephochuli.analysis.death._low import EXACT, Low, exact_copy
from deephochuli.analysis.death._wiring import Wiring

Int64s = npt.NDArray[np.int64]
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


@dataclass(frozen=True, slots=True)
class Window:
    """What the weights of one layer's units did over the steps; int64 arrays [units].

    Attributes:
        n_weights: Weights and biases of a unit that an optimizer moves.
        n_driven: Those with an exact gradient that was not zero in some step.
        n_felt: Those with a low gradient that was not zero in some step.
        n_moved: Those of which a bit changed.
        n_swamped: Those with a low gradient in some step that did not move: it was absorbed.
        n_underflowed: Those with an exact gradient in some step and with none in low arithmetic
            that did not move.
    """

    n_weights: Int64s
    n_driven: Int64s
    n_felt: Int64s
    n_moved: Int64s
    n_swamped: Int64s
    n_underflowed: Int64s


def no_window(n_units: int) -> Window:
    """What the weights did in no step at all."""
    return Window(*(np.zeros(n_units, np.int64) for _ in fields(Window)))


class _Flags:
    """Which weights were driven, felt it, and moved, since the beginning of the window."""

    def __init__(self, named: dict[str, nn.Parameter]) -> None:
        self.driven = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in named.items()}
        self.felt = {name: each.clone() for name, each in self.driven.items()}
        self.moved = {name: each.clone() for name, each in self.driven.items()}

    def of(self, wiring: Wiring) -> Window:
        """Count by unit; layers without known weights have none."""
        names = [name for name in wiring.weights if name in self.driven]
        driven, felt, moved = (
            [flags[name].reshape(wiring.n_units, -1) for name in names]
            for flags in (self.driven, self.felt, self.moved)
        )
        zero = torch.zeros(wiring.n_units, 0, dtype=torch.bool, device="cpu")
        d, f, m = (torch.cat([zero, *(e.cpu() for e in each)], 1) for each in (driven, felt, moved))
        return Window(
            n_weights=np.full(wiring.n_units, d.shape[1]),
            n_driven=_count(d),
            n_felt=_count(f),
            n_moved=_count(m),
            n_swamped=_count(f & ~m),
            n_underflowed=_count(d & ~f & ~m),
        )


def _count(flags: Tensor) -> Int64s:
    return flags.sum(1).numpy()


def windows_of(
    low: Low,
    patient: Patient,
    wirings: Sequence[Wiring],
    steps: Sequence[Batch],
    loss: Loss | None,
    seed: int,
) -> list[Window]:
    """Train a low copy for some steps, with the exact gradient at its weights beside each.

    Args:
        low: How the copy runs and steps.
        patient: The copy and its optimizer; both are changed.
        wirings: The units.
        steps: One batch a step.
        loss: Of output and target.
        seed: Of dropout.
    """
    exact = exact_copy(patient.model)
    named = _held(patient)
    flags = _Flags(named)
    for number, batch in enumerate(steps):
        task = Task(model=patient.model, batch=None, seed=seed + number)
        load(exact, patient.model)
        with world(task, EXACT, exact):
            gradients_of(exact, batch, loss)
        before = {name: parameter.detach().clone() for name, parameter in named.items()}
        with world(task, low.executor, patient.model):
            gradients_of(patient.model, batch, loss)
            assert patient.optimizer is not None
            patient.optimizer.step()
        exact_named = dict(exact.named_parameters())
        for name, parameter in named.items():
            _mark(flags.driven[name], exact_named[name].grad)
            _mark(flags.felt[name], parameter.grad)
            flags.moved[name] |= _bits(parameter) != _bits(before[name])
    return [flags.of(wiring) for wiring in wirings]


def load(into: nn.Module, source: nn.Module) -> None:
    """Give a copy the weights and buffers of another, in its own dtype."""
    with torch.no_grad():
        for mine, other in zip(into.parameters(), source.parameters(), strict=True):
            mine.copy_(other)
        for mine, other in zip(into.buffers(), source.buffers(), strict=True):
            mine.copy_(other)


def _held(patient: Patient) -> dict[str, nn.Parameter]:
    """The parameters that an optimizer moves: those it holds with a learning rate."""
    assert patient.optimizer is not None
    held = {
        id(p)
        for group in patient.optimizer.param_groups
        for p in group["params"]
        if float(group.get("lr", 1.0)) != 0
    }
    return {n: p for n, p in patient.model.named_parameters() if id(p) in held and p.requires_grad}


def _mark(flags: Tensor, gradient: Tensor | None) -> None:
    if gradient is not None:
        flags |= gradient != 0


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().view(_BITS[tensor.element_size()])
