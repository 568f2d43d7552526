"""Whether a training is recorded already, so that none is recorded twice."""

from __future__ import annotations

from collections.abc import Iterable

from torch.optim import Optimizer

from deephochuli.record._recording import OPEN
from deephochuli.record._roots import stepped_by


def is_recorded(optimizers: Iterable[Optimizer]) -> bool:
    """Whether an open recording looks at anything that one of these optimizers steps."""
    stepped = set[int]().union(*map(stepped_by, optimizers))
    return any(
        id(parameter) in stepped for recording in list(OPEN) for parameter in recording.parameters()
    )
