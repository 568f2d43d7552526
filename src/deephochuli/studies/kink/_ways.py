"""Executions by the names that the plan gives them, and the networks."""

# Tensors and generators of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from deephochuli.analysis.kink import Execution
from deephochuli.studies._reference_net import BATCH, digits
from deephochuli.studies.kink._plan import LARGE, NORMED

Batches = list[tuple[Tensor, Tensor]]

_DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

ORDER_SEED = 21


def execution_named(way: str) -> Execution:
    """The execution that the plan calls so.

    Example:
        >>> execution_named("bf16 apart").bias
        'apart'
    """
    name = way.split()[0]
    return Execution(way, _DTYPES[name], None, "apart" if way.endswith("apart") else "fused")


def prepared(model: nn.Module, way: str) -> nn.Module:
    """A model with weights that BF16 has, where that is part of the way."""
    return model.to(torch.bfloat16).to(torch.float64) if way.endswith("bf16 weights") else model


def batches_of_digits(n: int, *, flat: bool = False) -> Batches:
    """The first batches of 64 training images in the order of the reference tables."""
    images, labels, _, _ = digits()
    generator = torch.Generator().manual_seed(ORDER_SEED)
    order = torch.randperm(len(images), generator=generator)
    images = images.flatten(1) if flat else images
    return [(images[each], labels[each]) for each in order.split(BATCH)[:n]]


def network(name: str, seed: int) -> nn.Sequential:
    """A dense network with torch's default weights; no global generator moves."""
    widths = (784, 2000, 128) if name == LARGE else (64, 256, 256)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for n_in, n_out in itertools.pairwise(widths):
            layers.append(nn.Linear(n_in, n_out))
            if name == NORMED:
                layers.append(nn.BatchNorm1d(n_out))
            layers.append(nn.ReLU())
        layers.append(nn.Linear(widths[-1], 10))
    return nn.Sequential(*layers)


def large_images(n: int, seed: int) -> Tensor:
    """Images of 28 x 28 pixels made from the digits: enlarged, moved, and of other contrast.

    Returns:
        (n, 784), float32, in [0, 1]; no two are the same, and about as dark as handwritten digits.
    """
    images, _, _, _ = digits()
    generator = torch.Generator().manual_seed(seed)
    wide = functional.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    chosen = wide[torch.randint(0, len(wide), (n,), generator=generator)]
    contrast = 0.5 + 0.5 * torch.rand(n, 1, 1, generator=generator)
    corner = torch.randint(0, 9, (n, 2), generator=generator)
    made = torch.zeros(n, 28, 28)
    for dy in range(9):
        for dx in range(9):
            here = ((corner[:, 0] == dy) & (corner[:, 1] == dx)).nonzero().squeeze(1)
            made[here, dy : dy + 20, dx : dx + 20] = chosen[here, 0] * contrast[here]
    return made.flatten(1)
