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
from deephochuli.record._recording import Recording, record
from deephochuli.record._roots import Trained
from deephochuli.record._settings import schedule_of, selection_of, watch_of
from deephochuli.record._triggers import Watch
from deephochuli.taps import Pattern, Selection

MOST_RUNS: Final = 64


@dataclass(frozen=True, slots=True)
class Options:
    """How each model of a script is recorded.

    Attributes:
        folder: Holds a run folder for each model.
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
    """

    folder: Path
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

    @property
    def selection(self) -> Selection | list[Pattern] | None:
        """Which places to look at."""
        return selection_of(self.select, self.exclude, self.quantities, outputs=self.outputs)

    @property
    def watched(self) -> Watch | None:
        """What to watch for."""
        return watch_of(self.watch, self.watch_steps, self.watch_before, self.watch_after)


@dataclass(slots=True)
class Run:
    """A model that is, or was, recorded.

    Attributes:
        name: Name of its folder.
        path: Its folder.
        schedule: Knows how many steps have been recorded.
        recording: The recording; None once it is closed.
        n_steps: Steps of the training when it was closed.
    """

    name: str
    path: Path
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

    def take(self, trained: Trained) -> None:
        """Record a model, unless that is being done already.

        Optimizers of a recording do not change: a model that gets new ones gets a new run.
        """
        if any(run.serves(trained.optimizers) for run in self.open):
            return
        for run in self.open:
            if run.overlaps(trained):
                self.close(run)
        self.close_abandoned()
        if len(self.all) < MOST_RUNS:
            self.all.append(self._start(self._new_name(trained.model), trained))
        else:
            self._note(
                f"The first {MOST_RUNS} runs are recorded, and none after them: a run is one model "
                "with one set of optimizers."
            )

    def _start(self, name: str, trained: Trained) -> Run:
        options, path = self._options, self._options.folder / name
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
        )
        in_container = len(roots) > 1
        own = [references(r) - n + in_container for r, n in zip(roots, before, strict=True)]
        optimizers = frozenset(map(id, trained.optimizers))
        return Run(name, recording.path, counted, recording, optimizers, roots, tuple(own))

    def _new_name(self, model: nn.Module) -> str:
        """Name of the class, numbered from the second one on."""
        plain: Any = getattr(model, "_orig_mod", model)
        name = type(plain).__name__
        self._names[name] += 1
        return name + (f"-{self._names[name]}" if self._names[name] > 1 else "")

    def close(self, run: Run, error: BaseException | None = None) -> None:
        """End a recording and let go of its model; `error` ended its training, if any did."""
        recording, run.recording = run.recording, None
        if recording is not None:
            run.n_steps = recording.n_steps
            recording.close(error)

    def close_abandoned(self) -> None:
        """End the recordings of models that the script has dropped, to free their memory."""
        abandoned = [run for run in self.open if run.is_abandoned()]
        for run in abandoned:
            self.close(run)
        if abandoned:
            gc.collect()  # what looked at the model refers to itself


def references(to: weakref.ref[nn.Module]) -> int:
    """Count references to a module, with a constant more; only differences mean something."""
    return sys.getrefcount(to()) - _CONSTANT


class _Probe(nn.Module):
    """Something with exactly one reference."""


_probe: Final = _Probe()
_CONSTANT: Final = sys.getrefcount(weakref.ref(_probe)()) - 1
