"""The session of this process, for what trainers make themselves: they hand no argument over."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from deephochuli.record import Recording


class TrainerSession(Protocol):
    """What the callbacks of trainers ask of a session."""

    @property
    def is_on(self) -> bool:
        """Whether this process is the one that records, and still does."""
        ...

    def guarded(self, what: str) -> AbstractContextManager[None]:
        """Keep what fails from the script, and say it."""
        ...

    def take(
        self, model: Any, optimizers: Iterable[object], folder: Path | None, step: int
    ) -> Recording | None:
        """Record a training that a trainer tells of; None if there is a recording already."""
        ...

    def know_loggers(self, loggers: Iterable[Any]) -> None:
        """Show what is found in the loggers of a trainer, too."""
        ...


_sessions: list[TrainerSession] = []


def set_session(session: TrainerSession | None) -> None:
    """Make a session the one of this process, or none."""
    _sessions[:] = [] if session is None else [session]


def trainer_session() -> TrainerSession | None:
    """The session that records in this process; None without one, and in a forked process."""
    return next((session for session in _sessions if session.is_on), None)
