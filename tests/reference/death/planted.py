"""Layers whose units have a fate that is known because it was built in."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

N_INPUTS = 8
N_SAMPLES = 16
RATE = 2.0**-4


@dataclass(frozen=True)
class Planted:
    """A model, its data, and the fate of each unit of its last rectifier."""

    model: nn.Sequential
    data: list[tuple[Tensor, Tensor]]
    fates: list[str]
    layer: str


def generator_of(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def shuffled(kinds: tuple[str, ...], n_each: int, generator: torch.Generator) -> list[str]:
    """As many units of each kind, in random order."""
    names = [kind for kind in kinds for _ in range(n_each)]
    return [names[i] for i in torch.randperm(len(names), generator=generator).tolist()]


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Numbers of FP16 between two bounds."""
    return (low + (high - low) * torch.rand(shape, generator=generator)).half().float()


DEATHS = ("alive", "by rounding", "by bias", "by data")


def deaths(n_each: int, seed: int) -> Planted:
    """Units killed by FP16 underflow, by their bias, by all the data, and units that live.

    The first input is tiny, so that a unit which reads nothing else has pre-activations below
    2^-25, which FP16 rounds to zero; all inputs are positive.
    """
    generator = generator_of(seed)
    x = uniform(0.5, 1.0, (N_SAMPLES, N_INPUTS), generator)
    x[:, 0] = uniform(2.0**-10, 2.0**-8, (N_SAMPLES,), generator)
    fates = shuffled(DEATHS, n_each, generator)
    layer = nn.Linear(N_INPUTS, len(fates))
    with torch.no_grad():
        layer.weight.copy_(uniform(0.1, 1.0, layer.weight.shape, generator))
        layer.bias.zero_()
        for unit, fate in enumerate(fates):
            factor = float(uniform(1.1, 1000.0, (1,), generator))
            if fate == "by rounding":
                layer.weight[unit] = 0
                layer.weight[unit, 0] = 2.0**-24 * (1 + unit % 8)
            elif fate == "by bias":
                layer.bias[unit] = -factor * (x @ layer.weight[unit]).max()
            elif fate == "by data":
                layer.weight[unit] *= -1
                layer.bias[unit] = -factor * (unit % 2)
    return Planted(nn.Sequential(layer, nn.ReLU()), [(x, x)], fates, "0")


def inherited(n_each: int, seed: int) -> Planted:
    """Units of a second layer that read the difference between 1 + d and 1, which BF16 loses."""
    generator = generator_of(seed)
    fates = shuffled(("alive", "by inherited rounding"), n_each, generator)
    x = torch.ones(N_SAMPLES, 2)
    x[:, 1] = 2.0**-9 * uniform(0.25, 0.75, (N_SAMPLES,), generator)
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, len(fates), bias=False)
    scale = torch.exp2(torch.randint(-6, 7, (len(fates),), generator=generator).float())
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
        second.weight.copy_(torch.stack([scale, -scale], 1))
        for unit, fate in enumerate(fates):
            second.weight[unit, 1] *= 0.5 if fate == "alive" else 1.0
    return Planted(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), [(x, x)], fates, "2")


MOVES = ("moves", "frozen by absorption", "frozen by underflow", "some updates swamped")
_READOUT = {
    "moves": 1.0,
    "frozen by absorption": 2.0**-10,
    "frozen by underflow": 2.0**-21,
    "some updates swamped": 2.0**-10,
}
"""Gradient of the loss by each unit's mean activation."""


def updates(n_each: int, seed: int, n_batches: int = 4) -> Planted:
    """Units whose weights all move, of which none moves, or only some, under SGD in FP16.

    Weights are near 1 (in swamped units every second one is near 2^-9), inputs near 1: an update
    is the learning rate times the read-out's factor, times about 3/4.
    """
    generator = generator_of(seed)
    fates = shuffled(MOVES, n_each, generator)
    layer, readout = nn.Linear(N_INPUTS, len(fates), bias=False), nn.Linear(len(fates), 1, False)
    readout.requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(uniform(0.75, 1.0, layer.weight.shape, generator))
        for unit, fate in enumerate(fates):
            readout.weight[0, unit] = _READOUT[fate]
            if fate == "some updates swamped":
                layer.weight[unit, ::2] *= 2.0**-9
    data = [
        (uniform(0.5, 1.0, (N_SAMPLES, N_INPUTS), generator), torch.zeros(N_SAMPLES, 1))
        for _ in range(n_batches)
    ]
    return Planted(nn.Sequential(layer, nn.ReLU(), readout), data, fates, "0")


def mean_output(output: Tensor, target: Tensor) -> Tensor:
    """A loss whose gradient by the output is 1 / samples."""
    return output.mean()
