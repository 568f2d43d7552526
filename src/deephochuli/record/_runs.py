"""The recordings of one script: which are open, what they are called, when they are over."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue
from torch import nn
from torch.optim import Optimizer

from deephochuli.config import AUTO
from deephochuli.record._auto import Counted
from deephochuli.record._open import is_recorded
from deephochuli.record._ranks import rank_here
from deephochuli.record._record import record
from deephochuli.record._recording import Follower, Recording
from deephochuli.record._roots import Trained
from deephochuli.record._settings import schedule_of, selection_of, watch_of
from deephochuli.record._triggers import Watch
from deephochuli.store import rank_folder
from deephochuli.taps import Pattern, Selection

MOST_RUNS: Final = 64


@dataclass(frozen=True, slots=True)
class Options:
    """How each model of a script is recorded.

    Attributes:
        folder: Holds a run folder for each model; or what names it, when the first is found.
        every: A schedule as text, or ``"auto"``.
        select: Layers to look at; all if empty.
        max_bytes: Cap for the files of each run.
        watch: Names of triggers around which more is recorded.
        extra: Further facts for the manifests.
        exclude: Layers not to look at.
        quantities: Quantities to look at; all but da if empty.
        outputs: Whether to look at outputs of layers with parameters, too.
        watch_steps: A schedule as text: which steps to watch.
        watch_before: Watched steps to record before an event.
        watch_after: Steps to record after one.
        follow: Makes somebody who is told of the steps of a run, by the name of the run.
    """

    folder: Path | Callable[[], Path]
    every: str = AUTO
    select: tuple[str, ...] = ()
    max_bytes: int | None = None
    watch: tuple[str, ...] = ()
    extra: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    exclude: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    outputs: bool = False
    watch_steps: str = "1"
    watch_before: int = 8
    watch_after: int = 8
    follow: Callable[[str], Follower | None] = lambda _: None

    @property
    def home(self) -> Path:
        """The folder for the runs."""
        return self.folder if isinstance(self.folder, Path) else self.folder()

    @property
    def selection(self) -> Selection | list[Pattern] | None:
        """Which places to look at."""
        return selection_of(self.select, self.exclude, self.quantities, outputs=self.outputs)

    @property
    def watched(self) -> Watch | None:
        """What to watch for."""
        return watch_of(self.watch, self.watch_steps, self.watch_before, self.watch_after)


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Where a training goes on; by default it is new.

    Attributes:
        folder: The run that it goes on with; None for a new one.
        step: Its next step.
    """

    folder: Path | None = None
    step: int = 0


@dataclass(slots=True)
class Run:
    """A model that is, or was, recorded.

    Attributes:
        name: Name of its folder.
        path: Its folder.
        home: The same, or the folder that all ranks share.
        schedule: Knows how many steps have been recorded.
        recording: The recording; None once it is closed.
        n_steps: Steps of the training when it was closed.
    """

    name: str
    path: Path
    home: Path
    schedule: Counted
    recording: Recording | None
    optimizers: frozenset[int]
    roots: tuple[weakref.ref[nn.Module], ...]
    own_references: tuple[int, ...]
    n_steps: int = 0

    def serves(self, optimizers: Sequence[Optimizer]) -> bool:
        """Whether the recording ends its steps with all of these optimizers."""
        return self.recording is not None and set(map(id, optimizers)) <= self.optimizers

    def overlaps(self, trained: Trained) -> bool:
        """Whether it records a part of a model, or an optimizer, that another one needs."""
        roots = {id(root()) for root in self.roots}
        return any(id(root) in roots for root in trained.roots) or bool(
            self.optimizers & set(map(id, trained.optimizers))
        )

    def is_abandoned(self) -> bool:
        """Whether the script has dropped the model, so that only the recording keeps it alive."""
        return all(
            root() is None or references(root) <= own
            for root, own in zip(self.roots, self.own_references, strict=True)
        )


class Runs:
    """Starts a recording for each model that is found, and closes it when its time is over."""

    def __init__(self, options: Options, note: Callable[[str], None]) -> None:
        """Record into ``options.folder``; `note` takes what the user must know in the end."""
        self._options = options
        self._note = note
        self._names: Counter[str] = Counter()
        self.all: list[Run] = []

    @property
    def open(self) -> list[Run]:
        """Runs that are being recorded."""
        return [run for run in self.all if run.recording is not None]

    def take(self, trained: Trained, going_on: GoingOn | None = None) -> Recording | None:
        """Record a model, unless that is being done already, by this or by somebody else.

        Optimizers of a recording do not change: a model that gets new ones gets a new run.
        """
        self.close_abandoned()
        if any(run.serves(trained.optimizers) for run in self.open):
            return None
        for run in self.open:
            if run.overlaps(trained):
                self.close(run)
        if is_recorded(trained.optimizers):
            return None
        if len(self.all) >= MOST_RUNS:
            self._note(
                f"The first {MOST_RUNS} runs are recorded, and none after them: a run is one model "
                "with one set of optimizers."
            )
            return None
        self.all.append(self._start(trained, going_on or GoingOn()))
        return self.all[-1].recording

    def _start(self, trained: Trained, going_on: GoingOn) -> Run:
        options = self._options
        path = going_on.folder or self._new_path(trained.model)
        counted = Counted(schedule_of(options.every), options.every)
        roots = tuple(weakref.ref(root) for root in trained.roots)
        before = [references(root) for root in roots]
        recording = record(
            trained.model,
            trained.optimizers,
            to=path,
            every=counted,
            select=options.selection,
            max_bytes=options.max_bytes,
            watch=options.watched,
            extra=options.extra,
            resume=going_on.step or False,
            follow=options.follow(path.name),
        )
        counted.begin()
        in_container = len(roots) > 1
        own = [references(r) - n + in_container for r, n in zip(roots, before, strict=True)]
        optimizers = frozenset(map(id, trained.optimizers))
        return Run(
            path.name,
            recording.path,
            recording.home,
            counted,
            recording,
            optimizers,
            roots,
            tuple(own),
        )

    def _new_path(self, model: nn.Module) -> Path:
        """Named after the class, and numbered from the second one on."""
        plain: Any = getattr(model, "_orig_mod", model)
        name, home = type(plain).__name__, self._options.home
        while True:
            self._names[name] += 1
            number = self._names[name]
            path = home / (name if number == 1 else f"{name}-{number}")
            if not _own_place(path).exists():  # an earlier session that goes on may have left one
                return path

    def settle(self) -> None:
        """Let go of runs that somebody else, such as a trainer, has completed."""
        for run in self.open:
            if run.recording is not None and not run.recording.is_open:
                self.close(run)

    def give_way(self, recording: Recording) -> None:
        """End the runs of what the script has begun to record by itself."""
        theirs = set(map(id, recording.parameters()))
        for run in self.open:
            own = run.recording
            if own is None or own is recording or theirs.isdisjoint(map(id, own.parameters())):
                continue
            self._note(
                f"{run.name} ends at step {own.n_steps}: from there on the script records the "
                f"model itself, in {recording.home}."
            )
            self.close(run)

    def close(self, run: Run, error: BaseException | None = None) -> None:
        """End a recording and let go of its model; `error` ended its training, if any did."""
        recording, run.recording = run.recording, None
        if recording is not None:
            run.n_steps = recording.n_steps
            recording.close(error)

    def close_abandoned(self) -> None:
        """End the recordings of models that the script has dropped, to free their memory."""
        self.settle()
        abandoned = [run for run in self.open if run.is_abandoned()]
        for run in abandoned:
            self.close(run)
        if abandoned:
            gc.collect()  # what looked at the model refers to itself


def _own_place(path: Path) -> Path:
    """Where this process writes what belongs to a run: a rank has a folder of its own in it."""
    rank = rank_here()
    return path if rank is None else rank_folder(path, rank[0])


def references(to: weakref.ref[nn.Module]) -> int:
    """Count references to a module, with a constant more; only differences mean something."""
    return sys.getrefcount(to()) - _CONSTANT


class _Probe(nn.Module):
    """Something with exactly one reference."""


_probe: Final = _Probe()
_CONSTANT: Final = sys.getrefcount(weakref.ref(_probe)()) - 1
