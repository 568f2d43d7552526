"""What Lightning asks for callbacks that every new Trainer gets, by an entry point of the package.

It asks wherever this package is installed, so nothing here is heavy, and nothing may fail.
"""

from __future__ import annotations

from typing import Any

from deephochuli.session._current import trainer_session


def lightning_callbacks() -> list[Any]:
    """A callback that records, while a session is on; none otherwise."""
    session = trainer_session()
    if session is None:
        return []
    with session.guarded("The callback for Lightning"):
        from deephochuli.session._lightning import AutoCallback

        return [AutoCallback()]
    return []
