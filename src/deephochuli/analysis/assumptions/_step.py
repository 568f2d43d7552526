"""One optimizer step on copies of a model and its optimizer."""

# Optimizers keep whatever their authors gave them.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from deephochuli.analysis._copies import copies_of
from deephochuli.analysis._seeded import spared
from deephochuli.analysis.assumptions._bends import RECTIFIERS, Bend, bends_of
from deephochuli.arithmetic import Law, noisy, run_as

Loss = Callable[[nn.Module, Any], Tensor]
OptimizerOrFactory = Optimizer | Callable[[Iterable[tuple[str, nn.Parameter]]], Optimizer]


@dataclass(frozen=True, slots=True)
class Patient:
    """A model with its optimizer, a batch and a loss; steps are taken on copies.

    Attributes:
        model: The user's model, which nothing here changes.
        optimizer: The user's optimizer, or a function of named parameters that makes one.
        batch: What `loss` takes besides the model.
        loss: Computes the loss.
    """

    model: nn.Module
    optimizer: OptimizerOrFactory
    batch: Any
    loss: Loss

    def stepped(self, arithmetic: str | None = None, noise: Noise | None = None) -> nn.Module:
        """A copy of the model after one step, in an arithmetic, with noise on its biases."""
        model, optimizer = self._copies()
        emulated = nullcontext() if arithmetic is None else run_as(model, arithmetic)
        perturbed = nullcontext() if noise is None else noise.on(model, optimizer)
        with spared(), emulated, perturbed:

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = self.loss(model, self.batch)
                loss.backward()
                return loss

            # torch's types say that a closure returns a number; its examples return a tensor.
            optimizer.step(cast("Callable[[], float]", closure))
        return model

    def seen(self, model: nn.Module | None = None) -> list[Bend]:
        """The activations of the batch, in a model of the same kind or in the user's own."""
        model = copy.deepcopy(self.model if model is None else model)
        with spared(), torch.no_grad(), bends_of(model) as bends:
            self.loss(model, self.batch)
        return bends

    def _copies(self) -> tuple[nn.Module, Optimizer]:
        """A copy of the model, and a copy of the optimizer that holds its parameters."""
        if isinstance(self.optimizer, Optimizer):
            return copies_of(self.model, self.optimizer)
        model = copy.deepcopy(self.model)
        return model, self.optimizer(list(model.named_parameters()))


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative noise on the updates of biases.

    Attributes:
        law: Its law.
        level: Its size.
        seed: Which noise.
    """

    law: Law
    level: float
    seed: int

    def on(self, model: nn.Module, optimizer: Optimizer) -> Any:
        """Open a block in which the optimizer's steps carry the noise."""
        return noisy(optimizer, self.law, self.level, model=model, seed=self.seed)


def dead_channels(bends: Iterable[Bend]) -> dict[str, Tensor]:
    """Which neurons of each bias are dead: constant on the whole batch, with gradient zero.

    A bias that is bent in several calls counts as dead where it is so in all of them.
    """
    dead: dict[str, Tensor] = {}
    for bend in bends:
        if bend.bias is not None and bend.kind in RECTIFIERS:
            silent = (bend.by_channel() <= bend.kinks[0]).all(dim=1)
            known = dead.get(bend.bias)
            dead[bend.bias] = silent if known is None else known & silent
    return dead
