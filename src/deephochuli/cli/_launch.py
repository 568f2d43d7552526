"""Running a script with its trainings recorded, from its first line to the end of the process.

The recordings end when the script has ended and its traceback, if there is one, has been printed.
Nothing here may import torch: the script does, when it has set up the environment that torch reads.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deephochuli.cli._script import run_as_main
from deephochuli.session import Home, Script, Session

if TYPE_CHECKING:
    from deephochuli.analysis import Finding

FOUND = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how to record it.

    Attributes:
        script: The script.
        folder: Where the runs go, as the user wrote it.
        options: How to record: fields of `deephochuli.record.Options`, which would load torch.
        fail_on: From which severity on findings make the command fail, or None.
        quiet: Whether to print nothing but faults.
    """

    script: Script
    folder: Path
    options: Mapping[str, Any]
    fail_on: str | None = None
    quiet: bool = False


class Launch(BaseException):
    """Leaves the parser, which would catch what the script raises, with a plan to carry out."""

    def __init__(self, plan: Plan) -> None:
        """Carry a plan."""
        super().__init__()
        self.plan = plan


def launch(plan: Plan) -> int:
    """Run a script in place of this program.

    Returns:
        The exit code where the script ended by itself; it differs from 0 only for findings, and
        only if the plan asks for it.

    Raises:
        BaseException: Whatever the script raises, for the interpreter to end the process with.
    """
    home = Home(plan.folder, is_given=True, is_made=True)
    session = Session(plan.script, home, plan.options, quiet=plan.quiet, shows_progress=True)

    def finish() -> None:
        """Close when the threads of the script have ended.

        Not in an exit handler: there the interpreter takes no work for threads any more.
        """
        if session.is_on:
            _wait_for_threads()
            session.close()

    atexit.register(session.close)  # where the script ends in a way that passes the rest by
    session.start()
    try:
        run_as_main(plan.script, finish)
    except SystemExit as done:
        finish()
        if plan.fail_on is None or done.code not in (None, 0):
            raise
    except Exception as error:
        session.error = error
        raise
    except KeyboardInterrupt as error:
        session.error = error
        # The interpreter dies of the signal only if nothing runs code from text after this point,
        # as the import of a dataclass does.
        session.close()
        raise
    finish()
    return FOUND if plan.fail_on is not None and _is_found(session.found, plan.fail_on) else 0


def _wait_for_threads() -> None:
    """Wait as the interpreter does at its end: a script may train in a thread.

    The threads of a pool end only when the interpreter tells them to.
    """
    pools: object = sys.modules.get("concurrent.futures.thread")
    pooled: Container[threading.Thread] = getattr(pools, "_threads_queues", ())
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon and thread not in pooled:
            thread.join()


def _is_found(found: Sequence[Finding], severity: str) -> bool:
    """Whether any finding is of a severity or of a worse one."""
    from deephochuli.analysis import LEVELS

    worst_first = LEVELS[: LEVELS.index(severity) + 1]
    return any(finding.level in worst_first for finding in found)
