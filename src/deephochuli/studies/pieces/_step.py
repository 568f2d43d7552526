"""One step, or many, of noisy gradient descent on a group of networks."""

# Optimizer hooks and steps are partially typed in torch.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deephochuli.arithmetic import noisy, perturbed, run_as
from deephochuli.studies.pieces._nets import Group

EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Data:
    """Points and values of a target on [0, 1] or [-1, 1], for each network its own.

    Attributes:
        x: Inputs [nets, points, 1].
        y: Values, likewise.
    """

    x: Tensor
    y: Tensor

    def in_dtype(self, dtype: torch.dtype) -> Data:
        """The same in another dtype."""
        return Data(self.x.to(dtype), self.y.to(dtype))


def sampled(target: str, n_nets: int, seed: int, low: float = 0.0, n_points: int = 64) -> Data:
    """Draw training points, uniform on [low, 1].

    They are random binary64 numbers, because at the starts with teeth the gradient vanishes if
    points lie at the dyadic kinks: numbers of p bits do so from p layers on. An arithmetic rounds
    them like all data.

    Args:
        target: "square" x^2, "sin" sin(2 pi x), "step" 1 where x > 1/2.
        n_nets: How many networks get points.
        seed: Decides the points.
        low: Left end of the interval.
        n_points: Points for each network.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n_nets, n_points, 1, generator=generator, dtype=torch.float64)
    x = low + (1 - low) * x
    values = {
        "square": lambda: x.square(),
        "sin": lambda: torch.sin(2 * torch.pi * x),
        "step": lambda: (x > 0.5).double(),
    }
    return Data(x, values[target]())


@dataclass(frozen=True, slots=True)
class Way:
    """How a step is computed.

    Attributes:
        name: "exact" for binary64 without noise; "relative 2^k" and "absolute 2^k" for noise on
            the biases, "operations 2^k" for noise on each operation of the backward; or the name
            of an arithmetic.
    """

    name: str

    @property
    def level(self) -> float | None:
        """Level of the noise; None where the arithmetic makes it."""
        return 2.0 ** int(self.name.split("^")[1]) if "^" in self.name else None

    @property
    def kind(self) -> str:
        """First word of the name of a noise; "arithmetic" or "exact"."""
        return self.name.split(" ")[0] if "^" in self.name else "arithmetic"

    @property
    def dtype(self) -> torch.dtype:
        """What carries the numbers: binary32 for the formats, which are narrower."""
        narrow = self.kind == "arithmetic" and self.name not in (EXACT, "fp64")
        return torch.float32 if narrow else torch.float64

    def around_step(
        self, optimizer: torch.optim.Optimizer, seed: int
    ) -> AbstractContextManager[Any]:
        """Noise on what the optimizer adds to biases."""
        if self.kind not in ("relative", "absolute"):
            return nullcontext()
        return noisy(
            optimizer,
            "uniform",
            self.level or 0.0,
            on=lambda name, weight: "bias" in name,
            relative=self.kind == "relative",
            spare_still=self.kind == "relative",
            seed=seed,
        )

    def around_gradient(self, model: nn.Module, seed: int) -> AbstractContextManager[Any]:
        """The arithmetic of forward and backward."""
        if self.kind == "operations":
            bits = round(-np.log2(self.level or 1.0))
            return perturbed(model, bits, key=seed)
        if self.kind == "arithmetic" and self.dtype == torch.float32:
            return run_as(model, self.name, seed=seed)
        return nullcontext()


def descended(
    start: nn.Module, data: Data, lr: float, way: Way, *, n_steps: int = 1, seed: int = 0
) -> nn.Module:
    """A copy of the networks after steps of plain gradient descent on the mean squared error.

    All weights are trained, by the gradient of all points. Weights, and the update, are kept in
    the carrier's dtype: only forward and backward are computed in an arithmetic.
    """
    model = copy.deepcopy(start).to(way.dtype)
    data = data.in_dtype(way.dtype)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=lr)
    with way.around_step(optimizer, seed):
        for step in range(n_steps):
            optimizer.zero_grad()
            with way.around_gradient(model, seed + step):
                error = (model(data.x) - data.y).square().mean(dim=(1, 2)).sum()
                error.backward()
            optimizer.step()
    return model.double()


def updates(before: Group, after: Group) -> list[NDArray[np.float64]]:
    """What steps added to the biases of each hidden layer, [nets, units]."""
    pairs = zip(before.bias[:-1], after.bias[:-1], strict=True)
    return [(b.detach() - a.detach()).numpy() for a, b in pairs]


@torch.no_grad()
def dead(group: Group, data: Data) -> NDArray[np.bool_]:
    """Which hidden units have no positive pre-activation at any training point, [nets, units]."""
    layers = [z.amax(dim=1) <= 0 for z in group.pre_activations(data.x)[:-1]]
    return torch.cat(layers, 1).numpy()
