"""Twenty layers with torch's default initialisation: who is dead or frozen at birth."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis.death import death
from deephochuli.studies._reference_net import BATCH, digits
from deephochuli.studies._study import Params

DEPTH = 20
WIDTH = 64


def deep_net(bias: bool, seed: int) -> nn.Sequential:
    """Twenty hidden layers of 64 units and ten outputs, as torch initialises them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(DEPTH):
            layers += [nn.Linear(WIDTH, WIDTH, bias=bias), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(WIDTH, 10, bias=bias))


def first_batches(n: int) -> list[tuple[Tensor, Tensor]]:
    """The first n batches of the training digits."""
    images, labels, _, _ = digits()
    return [
        (images[i * BATCH : (i + 1) * BATCH], labels[i * BATCH : (i + 1) * BATCH]) for i in range(n)
    ]


def measure_deep(params: Params) -> Mapping[str, Any]:
    """Count units by fate over a few steps of SGD.

    The loss scale multiplies the loss and divides the learning rate, so that the product of
    learning rate and gradient is the same.
    """
    scale = params["loss_scale"]
    model = deep_net(params["bias"], params["seed"])
    found = death(
        model,
        first_batches(params["steps"]),
        params["arithmetic"],
        loss=lambda output, target: scale * nn.functional.cross_entropy(output, target),
        optimizer=torch.optim.SGD(model.parameters(), lr=params["rate"] / scale),
    )
    return {"n_units": found.n_units, **found.counts()}
