"""The session of this process, for what trainers make themselves: they hand no argument over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deephochuli.session._session import Session

_sessions: list[Session] = []


def set_session(session: Session | None) -> None:
    """Make a session the one of this process, or none."""
    _sessions[:] = [] if session is None else [session]


def current_session() -> Session | None:
    """The session that records in this process; None without one, and in a forked process."""
    return next((session for session in _sessions if session.is_on), None)
