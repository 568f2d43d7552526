"""Weights that an optimizer's step leaves as they were, in formats that torch trains in."""

# torch's types of some operations on tensors are partial.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.studies._reference_net import BATCH, ORDER_SEED, digits, reference_net
from deephochuli.studies._study import Params
from deephochuli.studies.swamping._plan import OPTIMIZERS
from deephochuli.studies.swamping._thresholds import NATIVE


def measure_updates(params: Params) -> Mapping[str, Any]:
    """Train with weights, gradients and optimizer in one format; count at some steps."""
    dtype = NATIVE[params["format"]]
    model = reference_net(dtype=dtype, seed=params["seed"])
    optimizer = optimizer_of(params["optimizer"], model)
    images, labels, _, _ = digits()
    images = images.to(dtype)
    rows: list[dict[str, int]] = []
    for step, chosen in enumerate(_batches(len(images), max(params["steps"])), start=1):
        optimizer.zero_grad()
        with torch.enable_grad():
            nn.functional.cross_entropy(model(images[chosen]).float(), labels[chosen]).backward()
        before = [weight.detach().clone() for weight in model.parameters()]
        optimizer.step()
        if step in params["steps"]:
            rows.append({"step": step} | _counted(model, before))
    return {"rows": rows}


def optimizer_of(name: str, model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer of the plan."""
    kind, rate, momentum = OPTIMIZERS[name]
    if kind == "Adam":
        return torch.optim.Adam(model.parameters(), lr=rate)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)


def _batches(n: int, n_steps: int) -> Iterator[Tensor]:
    """Batches of 64, epoch after epoch, in the order of the reference training."""
    generator = torch.Generator().manual_seed(ORDER_SEED)
    done = 0
    while done < n_steps:
        for chosen in torch.randperm(n, generator=generator).split(BATCH):
            if done < n_steps:
                yield chosen
            done += 1


def _counted(model: nn.Module, before: list[Tensor]) -> dict[str, int]:
    """Weights with a gradient that is not zero, and those of them that did not move."""
    live = unmoved = 0
    for weight, old in zip(model.parameters(), before, strict=True):
        assert weight.grad is not None
        is_live = (weight.grad != 0) & weight.grad.isfinite()
        live += int(is_live.sum())
        unmoved += int((is_live & (weight.detach() == old)).sum())
    return {"live": live, "unmoved": unmoved}
