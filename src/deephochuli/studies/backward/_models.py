"""The networks of the study."""

# torch's optimizers and tensors carry partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from deephochuli.studies._reference_net import reference_net, train, trained_reference_net
from deephochuli.studies.backward._plan import CNN, DEEP, LEARNING_RATE, MLP

DEPTH = 20
"""Layers of the deep network."""


def network(what: str, epochs: int, seed: int) -> nn.Sequential:
    """One of the networks, trained on digits for some epochs."""
    if what == CNN:
        return trained_reference_net(epochs, seed) if epochs else reference_net(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if what == DEEP:
            model = _chain([64] * DEPTH)
        else:
            model = _chain([64, 128, 128, 128, 128]) if what == MLP else _normalised()
    train(model, epochs, LEARNING_RATE)
    return model


def _chain(widths: list[int]) -> nn.Sequential:
    """Linear layers as torch initialises them, with ReLU, and a last one for ten classes."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def _normalised() -> nn.Sequential:
    """Three convolutions with batch normalisation."""
    layers: list[nn.Module] = []
    for n_in, n_out in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10))
