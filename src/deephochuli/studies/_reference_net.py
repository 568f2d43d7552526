"""The small convolutional network of the reference tables, and the digits it is trained on."""

# Loaders of scikit-learn carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.errors import MissingExtraError

N_TRAIN = 1437
BATCH = 64
LEARNING_RATE = 0.05
MOMENTUM = 0.9
ORDER_SEED = 21
"""Seed of the order of the batches, apart from that of the initial weights."""


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scikit-learn's 1797 digits of 8 x 8 pixels, split as the reference tables split them.

    Returns:
        Images (n, 1, 8, 8), float32, multiples of 1/16 in [0, 1], and labels (n,), int64, for
        training (n = 1437), then the same two for testing (n = 360).

    Raises:
        MissingExtraError: Scikit-learn is not installed.

    Numerics:
        The split is the permutation of torch's generator with seed 0. No global generator moves.

    Example:
        >>> images, labels, test_images, _ = digits()
        >>> tuple(images.shape), len(labels), len(test_images)
        ((1437, 1, 8, 8), 1437, 360)
    """
    images, labels = _loaded()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return images[train], labels[train], images[test], labels[test]


@functools.cache
def _loaded() -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("A network trained on digits", "scikit-learn", "studies") from error
    loaded: Any = load_digits()
    images = torch.tensor(loaded.data, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return images, torch.tensor(loaded.target)


def reference_net(
    bias: bool = True, dtype: torch.dtype = torch.float32, *, seed: int = 0
) -> nn.Sequential:
    """Conv 1-16, conv 16-32, max-pool, conv 32-32, all 3 x 3, then 512-64, 64-10, with ReLU.

    Args:
        bias: Whether layers have one.
        dtype: Of the parameters; they are drawn in float32 and then converted, so that nets of
            different dtypes begin from the same weights.
        seed: Of the weights, drawn by torch's default initialisation. The global generator is left
            as it was.

    Example:
        >>> [tuple(p.shape) for p in reference_net(bias=False).parameters()][:2]
        [(16, 1, 3, 3), (32, 16, 3, 3)]
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64, bias=bias),
            nn.ReLU(),
            nn.Linear(64, 10, bias=bias),
        )
    return model.to(dtype)


def trained_reference_net(
    epochs: int = 20, seed: int = 0, *, bias: bool = True, order_seed: int = ORDER_SEED
) -> nn.Sequential:
    """The reference net after SGD: learning rate 0.05, momentum 0.9, batches of 64.

    Args:
        epochs: Passes over the training images.
        seed: Of the initial weights.
        bias: Whether layers have one.
        order_seed: Of the order of the batches.

    Returns:
        A network of one's own; within a process it is trained once and copied afterwards.

    Raises:
        MissingExtraError: Scikit-learn is not installed.

    Numerics:
        Repeats to the bit on one machine with one number of threads. No global generator moves.
    """
    return copy.deepcopy(_trained(epochs, seed, bias, order_seed))


@functools.lru_cache(maxsize=8)
def _trained(epochs: int, seed: int, bias: bool, order_seed: int) -> nn.Sequential:
    model = reference_net(bias, seed=seed)
    train(model, epochs, LEARNING_RATE, order_seed)
    return model


def train(model: nn.Module, epochs: int, rate: float, order_seed: int = ORDER_SEED) -> None:
    """Train a network on the digits as the reference net is: SGD, momentum 0.9, batches of 64.

    Args:
        model: Trained in place; no gradients are left.
        epochs: Passes over the training images.
        rate: Learning rate.
        order_seed: Of the order of the batches.
    """
    images, labels, _, _ = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(order_seed)
    with torch.enable_grad():
        for _ in range(epochs):
            for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
                optimizer.step()
    optimizer.zero_grad()


def accuracy(model: nn.Module) -> float:
    """Share of the test images that a model recognises, computed in the model's own dtype."""
    _, _, images, labels = digits()
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        return float((model(images.to(dtype)).argmax(1) == labels).double().mean())
