"""Training steps of one arm: gradients low or exact, weights kept low, exact or between."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from deephochuli.analysis._batches import Batch, Loss, gradients_of
from deephochuli.analysis.compare import Executor, Patient, Task, prepare, world
from deephochuli.analysis.death._arms import Arm
from deephochuli.analysis.death._low import EXACT, Low, exact_copy
from deephochuli.arithmetic import Arithmetic, Sums, get_arithmetic, round_to, run_as
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BINARY32, BINARY64

_EXACT_SUMS = Sums(format=BINARY64)


class Trainer:
    """Holds the weights of one arm in binary64, whatever format their values belong to."""

    def __init__(self, low: Low, state: Patient, arm: Arm, loss: Loss | None, seed: int) -> None:
        """Begin at a state whose weights are numbers of the low format; it is not changed."""
        self._low, self._arm, self._loss, self._seed = low, arm, loss, seed
        task = Task(model=state.model, batch=None, optimizer=state.optimizer)
        self._held = prepare(task, EXACT)
        self._executor, self._runner = self._runner_of(state)
        self._lost: dict[str, Tensor] = {}
        self._n_steps = 0

    @property
    def model(self) -> nn.Module:
        """The copy that holds the weights; in binary64."""
        return self._held.model

    def step(self, batch: Batch) -> None:
        """Make one step."""
        task = Task(model=self._runner, batch=None, seed=self._seed + self._n_steps)
        self._n_steps += 1
        if self._runner is not self.model:
            self._hand_over()
        with world(task, self._executor, self._runner):
            gradients_of(self._runner, batch, self._loss, self._arm.loss_scale)
        if self._take_gradients():
            self._update()

    def _hand_over(self) -> None:
        """Give the runner the weights, rounded once to the low format, and the buffers."""
        held, runner = self.model, self._runner
        with torch.no_grad():
            for mine, other in zip(runner.parameters(), held.parameters(), strict=True):
                mine.copy_(
                    round_to(other, self._low.weights) if other.is_floating_point() else other
                )
            for mine, other in zip(runner.buffers(), held.buffers(), strict=True):
                mine.copy_(other)

    def _runner_of(self, state: Patient) -> tuple[Executor, nn.Module]:
        """What computes the gradients."""
        ways = (self._arm.forward, self._arm.backward)
        if ways == ("exact", "exact"):
            return EXACT, self.model
        if ways == ("low", "low"):
            return self._low.executor, copy.deepcopy(state.model)
        mixed = _mixed(self._low, self._arm)
        executor = Executor(name=mixed.name, context=lambda model: run_as(model, mixed))
        return executor, exact_copy(state.model)

    def _take_gradients(self) -> bool:
        """Bring gradients and buffers home; say whether the step is to be taken."""
        held, runner = self.model, self._runner
        for mine, other in zip(held.parameters(), runner.parameters(), strict=True):
            gradient = other.grad
            mine.grad = None if gradient is None else gradient.double() / self._arm.loss_scale
        if runner is not held:
            with torch.no_grad():
                for mine, other in zip(held.buffers(), runner.buffers(), strict=True):
                    mine.copy_(other)
        gradients = [p.grad for p in held.parameters() if p.grad is not None]
        return self._arm.loss_scale == 1.0 or all(bool(g.isfinite().all()) for g in gradients)

    def _update(self) -> None:
        optimizer = self._held.optimizer
        assert optimizer is not None
        update = self._arm.update
        if update == "exact":
            optimizer.step()
        elif update == "kahan":
            self._compensated(optimizer)
        else:
            fmt = BINARY32 if update == "fp32" else self._low.updates
            rounding = "stochastic" if update == "stochastic" else "nearest-even"
            kept = Arithmetic(name=update, sums=_EXACT_SUMS, optimizer=fmt, rounding=rounding)
            with run_as(self.model, kept, seed=self._seed + self._n_steps):
                optimizer.step()

    def _compensated(self, optimizer: torch.optim.Optimizer) -> None:
        """Kahan's sum of the weight and its updates, every operation rounded to the format."""
        named = dict(self.model.named_parameters())
        before = {name: parameter.detach().clone() for name, parameter in named.items()}
        optimizer.step()
        fmt = self._low.updates
        with torch.no_grad():
            for name, parameter in named.items():
                lost = self._lost.get(name, torch.zeros_like(parameter))
                wanted = round_to(parameter - before[name] - lost, fmt)
                total = round_to(before[name] + wanted, fmt)
                moved = round_to(total - before[name], fmt)
                self._lost[name] = round_to(moved - wanted, fmt)
                parameter.copy_(total)


def _mixed(low: Low, arm: Arm) -> Arithmetic:
    """One of forward and backward as the low arithmetic does it, the other one in binary64."""
    if low.arithmetic is None:
        raise ArithmeticSpecError(
            f"The arm {arm.name!r} mixes forward and backward, which only an emulated arithmetic "
            f"can do; {low.name!r} is run by torch itself. Take 'bf16-pure' for torch.bfloat16, "
            "'fp16-pure' for torch.float16."
        )
    backward = low.arithmetic.backward or replace(low.arithmetic, backward=None)
    if arm.forward == "exact":
        return Arithmetic(
            name=arm.name,
            sums=_EXACT_SUMS,
            backward=backward,
            gradients=low.arithmetic.gradients,
            rounding=low.arithmetic.rounding,
        )
    return replace(low.arithmetic, name=arm.name, backward=get_arithmetic("fp64"), gradients=None)
