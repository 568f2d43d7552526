"""What the local page shows: the state and the newest data of each run, kept by one thread.

Whoever serves the page reads finished snapshots; only `Board.look` touches the runs themselves.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deephochuli.errors import DeepHochuliError, describe
from deephochuli.live._memory import give_back
from deephochuli.live._pace import Pace
from deephochuli.live._pulse import Pulse, pulse_of
from deephochuli.live._watched import Watched
from deephochuli.report import finite_or_none, live_part, names_of, run_folders
from deephochuli.store import RunReader

NO_PULSE = Pulse(0, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Part:
    """The newest data of one run.

    Attributes:
        version: Grows with each new part of the run.
        data: JSON for the page.
    """

    version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RunState:
    """What a page is told of one run each time it asks.

    Attributes:
        name: Name shown to people.
        phase: A `Phase`.
        note: A sentence, where there is more to say.
        pulse: How the recording goes.
        part: Its newest data; None before the first recorded step.
    """

    name: str
    phase: str
    note: str
    pulse: Pulse
    part: Part | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All runs at one moment.

    Attributes:
        runs: Their states; a run keeps its place.
        at: The moment, on the monotonic clock.
        fault: Why no newer snapshot will come; else empty.
    """

    runs: tuple[RunState, ...] = ()
    at: float = 0.0
    fault: str = ""

    def to_json(self, now: float) -> bytes:
        """What a page is told: states without data, with ages as of `now`."""
        return json.dumps({"runs": [_told(run, now - self.at) for run in self.runs]}).encode()


def _told(run: RunState, passed: float) -> dict[str, object]:
    age = run.pulse.chunk_age_s
    return {
        "name": run.name,
        "phase": run.phase,
        "note": run.note,
        "version": run.part.version if run.part else 0,
        **asdict(run.pulse),
        "loss": finite_or_none(run.pulse.loss),
        "chunk_age_s": None if age is None else age + passed,
    }


@dataclass(slots=True)
class _Held:
    """A run and what was made of it.

    Attributes:
        run: The run.
        seen: Version of the run of which `part` was made.
        part: Its data.
        fault: Why no newer data could be made; else empty.
    """

    run: Watched
    seen: int = -1
    part: Part | None = None
    fault: str = ""


class Board:
    """The runs of a page.

    Runs are looked at whenever `look` is called. Their data are made anew when they have grown,
    but never so often that it takes more than a tenth of the time, since the training that is
    recorded may need the processor; the data of a run that is over, or new, are made at once.

    Args:
        sources: Run folders, folders of runs, and folders that are not there yet. Runs that come
            into a folder of runs later are taken up.
    """

    def __init__(self, sources: Sequence[str | os.PathLike[str]]) -> None:
        self._sources = [Path(source) for source in sources]
        self._held: list[_Held] = []
        self._pace = Pace()
        self.snapshot = Snapshot()

    def give_up(self, error: Exception) -> None:
        """Say in the last snapshot that nobody looks any more, and why."""
        self.snapshot = replace(self.snapshot, fault=describe(error))

    def look(self) -> None:
        """See what has changed, and put a new snapshot in the place of the old one."""
        self._find()
        for held in self._held:
            held.run.look()
        self._publish()
        for held in sorted(self._held, key=lambda held: held.seen):
            reader = held.run.reader
            if reader is not None and self._is_due(held):
                # The first time all of a run is read; later only what is new, in far less time.
                with self._pace.measured() if held.part else nullcontext():
                    self._make(held, reader)
                self._publish()
                give_back()

    def _find(self) -> None:
        """Take up runs that were not there before."""
        for source in self._sources:
            known = {held.run.path for held in self._held}
            try:
                folders = run_folders(source)
            except DeepHochuliError:
                folders = [source]
            if folders != [source] and any(h.run.path == source for h in self._held):
                continue  # it was waited for, and the run takes its first folder at the next look
            self._held += [_Held(Watched(folder)) for folder in folders if folder not in known]

    def _is_due(self, held: _Held) -> bool:
        run = held.run
        if run.version == held.seen or run.n_steps == 0:
            return False
        return held.part is None or run.is_over or self._pace.is_due()

    def _make(self, held: _Held, reader: RunReader) -> None:
        """Make the data of a run anew; what goes wrong is told, and the old data stay."""
        held.seen = held.run.version
        version = held.part.version + 1 if held.part else 1
        name = self._names()[self._held.index(held)]
        try:
            text = live_part(reader, name, version, n_runs=len(self._held))
        except (DeepHochuliError, ArithmeticError, LookupError, MemoryError, ValueError) as error:
            held.fault = f"Its data could not be read: {describe(error)}"
            return
        held.part, held.fault = Part(version, text.encode()), ""

    def _names(self) -> list[str]:
        return names_of([held.run.path for held in self._held])

    def _publish(self) -> None:
        states = [_state(held, name) for held, name in zip(self._held, self._names(), strict=True)]
        self.snapshot = Snapshot(tuple(states), time.monotonic())


def _state(held: _Held, name: str) -> RunState:
    run = held.run
    pulse = NO_PULSE if run.reader is None else pulse_of(run.reader)
    return RunState(name, run.phase.value, held.fault or run.note, pulse, held.part)
