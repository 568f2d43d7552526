"""Training twice, with and without a recording, and comparing every bit of what comes out."""

import hashlib
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass
class Training:
    """A model being trained: one call of `step` is one step of the user's loop.

    `more` holds whatever else the training changes: a scaler, an average of the weights.
    """

    model: nn.Module
    optimizers: list[Optimizer]
    step: Callable[[int], Tensor]
    more: Callable[[], object] = field(default=lambda: None)


Recording = Callable[[nn.Module, list[Optimizer]], AbstractContextManager[object]]


def not_recorded(model: nn.Module, optimizers: list[Optimizer]) -> AbstractContextManager[object]:
    return nullcontext()


def fingerprint(build: Callable[[], Training], n_steps: int, recording: Recording) -> str:
    """SHA-256 over all that a training computes and changes.

    These are the loss of each step; at the end weights, buffers, gradients and optimizer states;
    and the states of the three random generators, which would show a single number drawn.
    """
    seed_everything()
    training = build()
    digest = hashlib.sha256()
    with recording(training.model, training.optimizers):
        for step in range(n_steps):
            absorb(digest, training.step(step))
    for part in outcome(training):
        absorb(digest, part)
    return digest.hexdigest()


def seed_everything() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the old generator is the one that a tool might disturb
    random.seed(0)


def outcome(training: Training) -> Iterator[object]:
    yield training.model.state_dict()
    yield [p.grad for p in training.model.parameters()]
    yield [optimizer.state_dict() for optimizer in training.optimizers]
    yield training.more()
    yield torch.get_rng_state()
    yield list(np.random.get_state())  # noqa: NPY002
    yield repr(random.getstate())


def absorb(digest: "hashlib._Hash", value: object) -> None:
    """Add a nested value to a digest, tensors by their bits."""
    if isinstance(value, Tensor) and value.layout is torch.sparse_coo:
        absorb(digest, (value._indices(), value._values()))
    elif isinstance(value, Tensor):
        absorb(digest, (str(value.dtype), str(tuple(value.shape))))
        digest.update(
            value.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().tobytes()
        )
    elif isinstance(value, np.ndarray):
        digest.update(value.tobytes())
    elif isinstance(value, dict):
        absorb(digest, [part for item in value.items() for part in item])
    elif isinstance(value, list | tuple):
        digest.update(str(len(value)).encode())
        for part in value:
            absorb(digest, part)
    else:
        digest.update(pickle.dumps(value))
