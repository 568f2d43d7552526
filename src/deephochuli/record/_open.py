"""Which recordings are open, so that no training is recorded twice."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from torch.optim import Optimizer

from deephochuli.record._roots import stepped_by

if TYPE_CHECKING:
    from deephochuli.record._recording import Recording

OPEN: Final[weakref.WeakSet[Recording]] = weakref.WeakSet()
"""Recordings of this process that have begun and are not closed."""


def is_recorded(optimizers: Iterable[Optimizer]) -> bool:
    """Whether an open recording looks at anything that one of these optimizers steps."""
    stepped = set[int]().union(*map(stepped_by, optimizers))
    return any(
        id(parameter) in stepped for recording in list(OPEN) for parameter in recording.parameters()
    )
