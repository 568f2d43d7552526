"""The recordings of a whole script: what `deephochuli run` and `import deephochuli.auto` share."""

from __future__ import annotations

from deephochuli.session._home import Home as Home
from deephochuli.session._home import default_home as default_home
from deephochuli.session._origin import commit_of as commit_of
from deephochuli.session._script import Script as Script
from deephochuli.session._script import this_script as this_script
from deephochuli.session._session import Session as Session
from deephochuli.session._session import current_session as current_session
from deephochuli.session._start import start as start

__all__ = [
    "Home",
    "Script",
    "Session",
    "commit_of",
    "current_session",
    "default_home",
    "start",
    "this_script",
]
