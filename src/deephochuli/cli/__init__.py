"""The command line: one file a command, each parses, calls and prints.

Commands import what they need when they run, so that ``--help`` and ``formats`` answer at once.

Exit codes: 0 fine; 1 findings at or above the level of ``--fail-on``; 2 wrong use or bad input;
130 interrupted.
"""

from __future__ import annotations

from deephochuli.cli._app import COMMANDS, app
from deephochuli.cli._main import main

__all__ = ["COMMANDS", "app", "main"]
