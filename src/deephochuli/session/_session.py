"""The recordings of one script, from the moment it imports torch to its end.

Nothing here may import torch: the script does, when it has set up the environment that torch reads.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deephochuli.errors import describe
from deephochuli.session._arrival import Arrival
from deephochuli.session._closing import print_closing, say, shown_path
from deephochuli.session._current import set_session, trainer_session
from deephochuli.session._home import Home
from deephochuli.session._origin import origin_of
from deephochuli.session._script import Script
from deephochuli.session._status import StatusLine
from deephochuli.session._telling import Telling

if TYPE_CHECKING:
    from deephochuli.analysis import Finding, Level
    from deephochuli.integrations import Active
    from deephochuli.record import Discovery, Follower, Recording


class Session:
    """Finds the models that a script trains, records them, and says in the end what they hold.

    Nothing raises into the script. A forked process has no session.

    Attributes:
        found: The findings of all runs, once it is closed.
        error: What the script raised; the runs are closed later, after its traceback.
    """

    def __init__(
        self,
        script: Script,
        home: Home,
        options: Mapping[str, Any],
        *,
        trackers: Sequence[str] | None = None,
        quiet: bool = False,
        shows_progress: bool = False,
        tell: Level | None = None,
    ) -> None:
        """Prepare.

        Args:
            script: What is run.
            home: Where the runs go.
            options: How to record: fields of `deephochuli.record.Options`, which would load torch.
            trackers: The only ones to show anything in; each that the script uses when None.
            quiet: Whether to print nothing but faults.
            shows_progress: Whether to draw a line at the bottom of the terminal.
            tell: Findings of this level or worse are said as they are found, even if `quiet`.
        """
        self.found: list[Finding] = []
        self.error: BaseException | None = None
        self._home = home
        self._options = options
        self._origin = origin_of(script)
        self._quiet = quiet
        self._shows_progress = shows_progress
        self._pid = os.getpid()
        self._start = Path.cwd()  # the script may change it
        self._discovery: Discovery | None = None
        self._status: StatusLine | None = None
        self._has_torch = False
        self._is_closed = False
        self._arrivals: list[Arrival] = []
        self._trackers = trackers
        self._tell: Level | None = tell
        self._used: set[str] = set()
        self._active: Active | None = None
        self._undo: list[Callable[[], None]] = []

    @property
    def is_on(self) -> bool:
        """Whether this process is the one that records, and still does."""
        return not self._is_closed and os.getpid() == self._pid

    def start(self) -> None:
        """Wait for torch."""
        set_session(self)
        self._await("torch", self._begin)

    def _await(self, module: str, then: Callable[[], None]) -> None:
        """Have something done when the script has imported a module; at once if it has already."""

        def arrived() -> None:
            with self.guarded(f"what comes from {module}"):
                then()

        self._arrivals.append(Arrival(module, arrived))

    def _begin(self) -> None:
        self._has_torch = True
        from deephochuli.integrations import NAMES, Active
        from deephochuli.record import Discovery, Options

        self._active = Active(NAMES if self._trackers is None else self._trackers, self._use)
        self._await("torch.utils.tensorboard", self._active.watch_writers)
        self._await("wandb", self._active.watch_wandb)
        self._await("transformers.trainer", self._join_trainers)
        how: dict[str, Any] = {**self._options, "folder": self._home, "follow": self._follow}
        how["extra"] = {**self._options.get("extra", {}), **self._origin}
        discovery = Discovery(Options(**how), complain=self.complain, on_update=self._tick)
        discovery.begin()
        self._discovery = discovery
        self._undo.append(self._active.end)
        if self._shows_progress and not self._quiet:
            self._status = StatusLine(self._progress)

    def _join_trainers(self) -> None:
        """Have every Trainer of transformers made with a callback of ours."""
        trainer: Any = sys.modules["transformers.trainer"]
        callbacks: list[type] | None = getattr(trainer, "DEFAULT_CALLBACKS", None)
        if callbacks is None:
            self.complain(
                "This version of transformers has no list of default callbacks: trainings of its "
                "Trainer are recorded, and one that goes on from a checkpoint begins a new run."
            )
            return
        from deephochuli.session._transformers import AutoCallback

        callbacks.append(AutoCallback)
        self._undo.append(lambda: callbacks.remove(AutoCallback))

    def _follow(self, name: str) -> Follower | None:
        """Whoever shows what is recorded of a run; names of the first one are plain."""
        from deephochuli.integrations import FollowActive

        if self._active is None or self._discovery is None:
            return None
        also = [] if self._tell is None else [Telling(self.complain, name, self._tell)]
        return FollowActive(self._active, name if self._discovery.runs else "", also)

    def _use(self, tracker: str) -> None:
        """Know that something is shown in a tracker, and end before it does."""
        self._used.add(tracker)
        atexit.unregister(self.close)
        atexit.register(self.close)

    def know_loggers(self, loggers: Iterable[Any]) -> None:
        """Show what is found in the loggers of a trainer, too."""
        if self._active is not None:
            self._active.know_loggers(loggers)

    def close(self) -> None:
        """End the recordings and say what they hold; a forked process has none."""
        if not self.is_on:
            return
        self._is_closed = True
        set_session(None)
        try:
            for arrival in self._arrivals:
                arrival.cease()
            if self._discovery is not None:
                self._discovery.end(self.error or _uncaught())
                self._discovery.notes.extend(self._unused())
            for undo in self._undo:
                undo()
            if self._status is not None:
                self._status.close()
            with contextlib.suppress(OSError):
                self._home.leave()  # unless there is something in it
            self._conclude()
        except Exception as error:  # the script has ended as it has ended
            self.complain(f"The findings cannot be shown: {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            say("interrupted; the runs are complete.")

    def _conclude(self) -> None:
        """Say what was found. Where nobody would hear it, nothing more is imported."""
        if self._discovery is None:
            if not self._has_torch and not self._quiet:
                say("Nothing was recorded: the script did not import torch.")
            return
        self.found = print_closing(self._discovery, self._start, quiet=self._quiet)

    def _unused(self) -> list[str]:
        """What to say of trackers that were asked for and that the script has not used."""
        return [
            f"Nothing was shown in {name}: the script had nothing open there."
            for name in self._trackers or ()
            if name not in self._used
        ]

    def take(
        self, model: Any, optimizers: Iterable[object], folder: Path | None, step: int
    ) -> Recording | None:
        """Record a training that a trainer tells of.

        Args:
            model: The model.
            optimizers: Its optimizers.
            folder: The run that a checkpoint belongs to; None without one.
            step: The next step of the training.

        Returns:
            The recording; None if there is one already, or if it failed.
        """
        from deephochuli.record import GoingOn

        if self._discovery is None:
            return None
        if folder is not None and (folder / "manifest.json").is_file():
            self._home.go_on_in(folder.parent)
            recording = self._discovery.take(model, optimizers, GoingOn(folder, step))
            if recording is not None:
                return recording
        return self._discovery.take(model, optimizers, GoingOn(None, step))

    @contextmanager
    def guarded(self, what: str) -> Generator[None]:
        """Keep what fails from the script, and say it."""
        try:
            yield
        except Exception as error:  # an instrument never stops the training
            self.complain(f"{what} failed: {describe(error)}. The script goes on.")

    def complain(self, text: str) -> None:
        """Say what failed."""
        if self._status is not None:
            self._status.wipe()
        say(text)

    def _progress(self) -> str:
        runs = self._discovery.runs if self._discovery is not None else []
        parts = [
            f"{run.name}: {run.recording.n_steps:,} steps, {run.schedule.n_chosen:,} recorded"
            for run in runs
            if run.recording is not None
        ]
        if not parts:
            return ""
        return f"deephochuli  {'  '.join(parts)}  → {shown_path(self._home(), self._start)}"

    def _tick(self) -> None:
        if self._status is not None:
            self._status.tick()


def current_session() -> Session | None:
    """The session that records in this process; None without one, and in a forked process."""
    session = trainer_session()
    return session if isinstance(session, Session) else None


def _uncaught() -> BaseException | None:
    """What has ended the script, once the interpreter has printed its traceback.

    Where somebody types, that of an earlier input may still be there: it has ended nothing.
    """
    return None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
