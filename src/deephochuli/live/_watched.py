"""A run folder that is followed: not there yet, growing, ended, or replaced by another run."""

from __future__ import annotations

import os
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Final

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.report import MANIFEST, ending, run_folders
from deephochuli.store import RunReader, open_run


class Phase(StrEnum):
    """Where a recording stands."""

    WAITING = "waiting"
    """There is no run folder yet."""
    RECORDING = "recording"
    """A process that may still live writes it."""
    ENDED = "ended"
    """The recording ended in order."""
    INTERRUPTED = "interrupted"
    """It did not end in order, and nobody writes it."""
    UNREADABLE = "unreadable"
    """What is there cannot be read as a run."""


OVER = (Phase.ENDED, Phase.INTERRUPTED)
"""Phases in which nothing more is to be expected, unless somebody resumes the run."""


NO_STEP: Final = "It holds no recorded step: training ended before one was due."
NO_STEP_YET: Final = (
    "No recorded step can be read yet: the first chunk is written after 32 of them, or 30 seconds."
)


class Watched:
    """One run that is looked at again and again. Looking never raises; `note` says what is wrong.

    Damaged chunks are left out, without a warning: the reader lists them in ``damaged``.

    Args:
        path: The run folder, or where it will be; a folder of runs stands for the one that began
            last.

    Attributes:
        path: The run folder.
        reader: The run, once it is there.
        phase: Where it stands.
        note: A sentence on the phase, where there is more to say; else empty.
        version: Grows whenever `look` finds anything new.

    Example:
        >>> run = Watched("no/such/folder")
        >>> run.look(), run.phase, run.note
        (False, <Phase.WAITING: 'waiting'>, 'There is no run folder no/such/folder yet.')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.reader: RunReader | None = None
        self.phase = Phase.WAITING
        self.note = f"There is no run folder {self.path} yet."
        self.version = 0

    def look(self) -> bool:
        """See what has changed since the last look.

        Returns:
            Whether anything has: new chunks, another phase, another run in the folder.
        """
        before = self.phase, self.note
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeepHochuliWarning)
            has_grown = self._follow()
        has_changed = has_grown or before != (self.phase, self.note)
        self.version += has_changed
        return has_changed

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.phase in OVER

    @property
    def n_steps(self) -> int:
        """Recorded steps that can be read."""
        return 0 if self.reader is None else len(self.reader.steps["step"])

    def _follow(self) -> bool:
        """Open or refresh; returns whether what is there to be read has changed."""
        try:
            has_grown = self._open() if self.reader is None else self._refresh(self.reader)
            if self.reader is not None:
                self._judge(self.reader)
        except StoreError as error:
            self.reader = None
            self.phase, self.note = Phase.UNREADABLE, str(error)
            return False
        return has_grown

    def _refresh(self, reader: RunReader) -> bool:
        """See what was added. A folder that is gone or holds another run is opened anew."""
        try:
            return reader.refresh()
        except StoreError:
            self.reader = None
            return self._open()

    def _open(self) -> bool:
        """Open the run, if it is there."""
        self.path = run_folders(self.path)[-1]
        if not (self.path / MANIFEST).exists() and not self.path.is_file():
            self.phase = Phase.WAITING
            self.note = f"There is no run folder {self.path} yet."
            return False
        self.reader = open_run(self.path)
        return True

    def _judge(self, reader: RunReader) -> None:
        """Set the phase of a run that is there; reading its steps shows a fault in them now."""
        _ = reader.steps
        if reader.finished:
            self.phase = Phase.ENDED
            self.note = ending(reader.manifest) or ("" if self.n_steps else NO_STEP)
        elif reader.has_writer:
            self.phase = Phase.RECORDING
            self.note = "" if self.n_steps else NO_STEP_YET
        else:
            self.phase = Phase.INTERRUPTED
            self.note = "The recording did not end in order, and no process writes it any more."
