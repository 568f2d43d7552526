"""Which recordings are open, so that no training is recorded twice."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from torch.optim import Optimizer

from deephochuli.record._roots import stepped_by

if TYPE_CHECKING:
    from deephochuli.record._recording import Recording

OPEN: Final[weakref.WeakSet[Recording]] = weakref.WeakSet()
"""Recordings of this process that have begun and are not closed."""


ON_BEGIN: Final[list[Callable[[Recording], None]]] = []
"""Who is told of each recording that begins; they must not raise."""


def announce(recording: Recording) -> None:
    """Take up a recording that begins, and tell of it."""
    OPEN.add(recording)
    for told in ON_BEGIN.copy():
        told(recording)


def is_recorded(optimizers: Iterable[Optimizer]) -> bool:
    """Whether an open recording looks at anything that one of these optimizers steps."""
    stepped = set[int]().union(*map(stepped_by, optimizers))
    return any(
        id(parameter) in stepped for recording in list(OPEN) for parameter in recording.parameters()
    )
