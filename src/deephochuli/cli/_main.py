"""The entry point: run a command, and turn what went wrong into one message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from deephochuli.cli._app import app
from deephochuli.cli._launch import Launch, Plan, launch
from deephochuli.errors import DeepHochuliError

FINE: Final = 0
WRONG_USE: Final = 2
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None, *, exits: bool = True) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process when None.
        exits: Whether to end the process with the exit code, as a program does.

    Returns:
        The exit code, when `exits` is False.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    hook = sys.excepthook
    code = _run(words)
    sys.excepthook = hook  # the parser sets one of its own
    if isinstance(code, Plan):
        code = launch(code)  # outside of every handler: what the script raises is its own
    if exits:
        sys.exit(code)
    return code


def _run(words: list[str]) -> int | Plan:
    n_own = words.index("run") if "run" in words else len(words)  # the rest may be the script's
    debug = "--debug" in words[:n_own]
    own = [word for word in words[:n_own] if word != "--debug"]
    try:
        app(args=own + words[n_own:], prog_name="deephochuli")
    except Launch as found:
        return found.plan
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else FINE
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough; Python must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (DeepHochuliError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"Error: {error}\n")
        return WRONG_USE
    return FINE
