"""Whether a training is recorded already, so that none is recorded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from torch.optim import Optimizer

from deephochuli.record._recording import OPEN, Recording
from deephochuli.record._roots import stepped_by

ON_BEGIN: Final[list[Callable[[Recording], None]]] = []
"""Who is told of each recording that begins; they must not raise."""


def announce(recording: Recording) -> None:
    """Tell that a recording has begun."""
    for told in ON_BEGIN.copy():
        told(recording)


def is_recorded(optimizers: Iterable[Optimizer]) -> bool:
    """Whether an open recording looks at anything that one of these optimizers steps."""
    stepped = set[int]().union(*map(stepped_by, optimizers))
    return any(
        id(parameter) in stepped for recording in list(OPEN) for parameter in recording.parameters()
    )
