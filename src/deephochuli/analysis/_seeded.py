"""Random numbers of an analysis, of which the global generators know nothing afterwards."""

# torch leaves this part of its interface without types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def spared() -> Generator[None]:
    """Let torch's generators of the CPU and of all GPUs go on afterwards as before."""
    with torch.random.fork_rng(devices=_gpus()):
        yield


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Begin these generators anew; afterwards they go on as before.

    `torch.manual_seed` would also seed GPUs that nobody has used yet, and leave them so.
    """
    with spared():
        torch.default_generator.manual_seed(seed)
        for index in _gpus():
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _gpus() -> range:
    """The GPUs that have generators by now."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
