"""The models of the study, and the arithmetics that they run in."""

# Random number generators of torch have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deephochuli.arithmetic import Arithmetic, get_arithmetic, round_to
from deephochuli.formats import BFLOAT16, BINARY16, Format
from deephochuli.studies._reference_net import reference_net, trained_reference_net


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is run.

    Attributes:
        dtype: Of its parameters and inputs.
        arithmetic: Emulated; None: torch's own.
        held: Format that parameters are rounded to beforehand; None: they stay as they are.
    """

    dtype: torch.dtype
    arithmetic: Arithmetic | None
    held: Format | None = None


def way_of(name: str) -> Way:
    """The way of a name.

    "bias last": one FMA after the other, every partial sum in the format, then the bias, which the
    format holds. "product last": products rounded, added one after the other. "bf16" and "fp16":
    operands and results in that format, sums and bias in FP32.
    """
    ways = {
        "fp64": Way(torch.float64, None),
        "fp32": Way(torch.float32, None),
        "bf16": Way(torch.float32, get_arithmetic("bf16")),
        "fp16": Way(torch.float32, get_arithmetic("fp16")),
        "bf16, bias last": Way(torch.float32, get_arithmetic("bf16-sequential"), BFLOAT16),
        "fp16, bias last": Way(torch.float32, get_arithmetic("fp16-sequential"), BINARY16),
        "fp32, product last": Way(torch.float32, get_arithmetic("fp32-sequential-no-fma")),
    }
    return ways[name]


class Residual(nn.Module):
    """A stem and three blocks of two convolutions with a shortcut, then the mean and a classifier.

    Args:
        bias: Whether layers have one.
        width: Channels.
    """

    def __init__(self, bias: bool, width: int = 16) -> None:
        """Draw weights from the global generator."""
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=bias)
        self.first = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, bias=bias) for _ in range(3)
        )
        self.second = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, bias=bias) for _ in range(3)
        )
        self.head = nn.Linear(width, 10, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 8, 8) to (n, 10)."""
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(torch.relu(first(torch.relu(x))))
        return self.head(torch.relu(x).mean((2, 3)))


def model_of(name: str, bias: bool, epochs: int, way: Way) -> nn.Module:
    """A model of the plan with the parameters as a way holds them.

    The convolutional one is the reference net after training; the others are as they are
    initialised, drawn with seed 0.
    """
    if name == "convolutional":
        model: nn.Module = (
            trained_reference_net(epochs, bias=bias) if epochs else reference_net(bias)
        )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Residual(bias) if name == "residual" else _dense(bias)
    return held_by(model, way)


def _dense(bias: bool) -> nn.Module:
    sizes = (64, 128, 128, 64)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10, bias=bias))


def held_by(model: nn.Module, way: Way) -> nn.Module:
    """The same model with its parameters in the dtype and the format of a way."""
    if way.held is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(round_to(parameter, way.held))
    return model.to(way.dtype)


def images(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Noise as light as images: (n, 1, size, size), uniform in [0, 1), float32, for ever anew."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(n, 1, size, size, generator=generator)
