"""Trainings that differ in ReLU'(0) alone."""

# Optimizers of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deephochuli.analysis.kink import kink_at
from deephochuli.analysis.kink._execution import executing
from deephochuli.studies._reference_net import BATCH, digits
from deephochuli.studies._study import Params
from deephochuli.studies.kink._plan import ALPHAS
from deephochuli.studies.kink._ways import execution_named, network


def measure_training(params: Params) -> Mapping[str, Any]:
    """Accuracy on the test images after training with each ReLU'(0), all else the same."""
    made: dict[str, list[Any]] = {"accuracy": [], "loss": [], "weights": []}
    for alpha in ALPHAS:
        model = _trained(params, alpha)
        accuracy, loss = _tested(model)
        made["accuracy"].append(accuracy)
        made["loss"].append(loss)
        made["weights"].append(_digest(model))
    return made


def _trained(params: Params, alpha: float) -> nn.Module:
    execution = execution_named(params["way"])
    model = network(params["net"], params["seed"]).to(execution.dtype)
    if params["optimizer"] == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, labels, _, _ = digits()
    images = images.flatten(1).to(execution.dtype)
    generator = torch.Generator().manual_seed(1000 + params["seed"])
    with torch.enable_grad(), executing(model, execution, 0), kink_at(model, alpha):
        for _ in range(params["epochs"]):
            for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
                optimizer.step()
    return model


def _tested(model: nn.Module) -> tuple[float, float]:
    """Accuracy and mean loss on the test images, computed in binary64."""
    _, _, images, labels = digits()
    wide = model.to(torch.float64).eval()
    with torch.no_grad():
        scores = wide(images.flatten(1).double())
    accuracy = (scores.argmax(1) == labels).double().mean()
    return float(accuracy), float(functional.cross_entropy(scores, labels))


def _digest(model: nn.Module) -> str:
    """A hash of all weights: equal where two trainings took the same way to the bit."""
    made = hashlib.sha256()
    for parameter in model.parameters():
        made.update(parameter.detach().numpy().tobytes())
    return made.hexdigest()[:16]
