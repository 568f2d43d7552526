"""Running a script with its trainings recorded, from its first line to the end of the process.

The recordings end when the script has ended and its traceback, if there is one, has been printed.
Nothing here may import torch: the script does, when it has set up the environment that torch reads.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deephochuli.cli._arrival import Arrival
from deephochuli.cli._closing import print_closing, say
from deephochuli.cli._origin import origin_of
from deephochuli.cli._script import Script, run_as_main
from deephochuli.cli._status import StatusLine

if TYPE_CHECKING:
    from deephochuli.analysis import Finding
    from deephochuli.record import Discovery

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
    session = _Session(plan)
    atexit.register(session.close)  # where the script ends in a way that passes the rest by
    arrival = Arrival("torch", session.begin)
    try:
        run_as_main(plan.script, session.finish)
    except SystemExit as done:
        session.finish()
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
    finally:
        arrival.cease()
    session.finish()
    return FOUND if plan.fail_on is not None and session.is_found(plan.fail_on) else 0


def _wait_for_threads() -> None:
    """Wait as the interpreter does at its end: a script may train in a thread.

    The threads of a pool end only when the interpreter tells them to.
    """
    pools: object = sys.modules.get("concurrent.futures.thread")
    pooled: Container[threading.Thread] = getattr(pools, "_threads_queues", ())
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon and thread not in pooled:
            thread.join()


class _Session:
    """The recordings of one script, with what is said about them.

    Attributes:
        error: What the script raised; the runs are closed later, after its traceback.
    """

    def __init__(self, plan: Plan) -> None:
        self.error: BaseException | None = None
        self._plan = plan
        self._folder = plan.folder.absolute()  # the script may change the working folder
        self._origin = origin_of(plan.script)
        self._pid = os.getpid()
        self._discovery: Discovery | None = None
        self._has_torch = False
        self._status: StatusLine | None = None
        self._is_closed = False
        self._found: list[Finding] = []

    def begin(self) -> None:
        """Record from now on: torch has been imported."""
        self._has_torch = True
        try:
            from deephochuli.record import Discovery, Options

            plan = self._plan
            options = Options(self._folder, extra=self._origin, **plan.options)
            discovery = Discovery(options, complain=self._complain, on_update=self._tick)
            discovery.begin()
            self._discovery = discovery
            self._status = None if plan.quiet else StatusLine(self._progress)
        except Exception as error:  # an instrument never stops the training
            self._complain(f"Nothing is recorded: {type(error).__name__}: {error}")

    def finish(self) -> None:
        """Close when the threads of the script have ended.

        Not in an exit handler: there the interpreter takes no work for threads any more.
        """
        if not self._is_closed:
            _wait_for_threads()
            self.close()

    def close(self) -> None:
        """End the recordings and say what they hold; a forked process has none."""
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        try:
            if self._discovery is not None:
                self._discovery.end(self.error)
            if self._status is not None:
                self._status.close()
            with contextlib.suppress(OSError):
                self._folder.rmdir()  # unless there is something in it
            self._conclude()
        except Exception as error:  # the script has ended as it has ended
            self._complain(f"The findings cannot be shown: {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            say("interrupted; the runs are complete.")

    def is_found(self, severity: str) -> bool:
        """Whether any finding is of a severity or of a worse one."""
        from deephochuli.analysis import LEVELS

        worst_first = LEVELS[: LEVELS.index(severity) + 1]
        return any(finding.level in worst_first for finding in self._found)

    def _conclude(self) -> None:
        """Print what was found. Without anything to print, nothing more is imported."""
        plan = self._plan
        if plan.quiet and plan.fail_on is None:
            return
        if self._discovery is None:
            if not self._has_torch and not plan.quiet:
                say("Nothing was recorded: the script did not import torch.")
            return
        self._found = print_closing(self._discovery, plan.folder, quiet=plan.quiet)

    def _progress(self) -> str:
        runs = self._discovery.runs if self._discovery is not None else []
        parts = [
            f"{run.name}: {run.recording.n_steps:,} steps, {run.schedule.n_chosen:,} recorded"
            for run in runs
            if run.recording is not None
        ]
        return f"deephochuli  {'  '.join(parts)}  → {self._plan.folder}" if parts else ""

    def _tick(self) -> None:
        if self._status is not None:
            self._status.tick()

    def _complain(self, text: str) -> None:
        if self._status is not None:
            self._status.wipe()
        say(text)
