"""Trackers that a script uses, found without importing any: as they come, and before they go.

A wandb run and an MLflow run are asked for where their packages keep them; a `SummaryWriter` is
noted when it is made. Only packages that the script has imported itself are looked at.
"""

# Nothing here may import a tracker, so none is typed.
from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from deephochuli.errors import describe, say
from deephochuli.integrations import tensorboard
from deephochuli.integrations._tracker import Tracker
from deephochuli.record import Patch

NAMES: Final = ("tensorboard", "wandb", "mlflow")
"""Trackers that can be found, by the names of the extras that they need."""


@dataclass(frozen=True, slots=True)
class Found:
    """Somewhere that the script logs to.

    Attributes:
        name: Which tracker.
        key: Tells it from others of the same tracker.
        make: Makes what writes there, with a prefix for all names.
    """

    name: str
    key: str | int
    make: Callable[[str], Tracker] = field(compare=False)


class Listener(Protocol):
    """Somebody who shows something in what is found."""

    def leave(self, found: Found) -> None:
        """Show the rest now: it is about to be closed."""
        ...


class Active:
    """What the script logs to, now.

    Attributes:
        listeners: Told before something is closed.
        on_use: Told the name of what something is going to be shown in.
    """

    def __init__(
        self, names: Sequence[str] = NAMES, on_use: Callable[[str], None] = lambda _: None
    ) -> None:
        """Look for some of `NAMES` only; `on_use` hears of each that something is shown in."""
        self._names = frozenset(names)
        self.on_use = on_use
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._writers: list[weakref.ref[Any]] = []
        self._named: list[Found] = []
        self._patches: list[Patch] = []

    def __iter__(self) -> Iterator[Found]:
        """What there is; costs about a microsecond, and is asked in the thread that trains."""
        if "tensorboard" in self._names and (writer := self._writer()) is not None:
            yield _of_writer(writer)
        if "wandb" in self._names and (run := _wandb_run()) is not None:
            yield _of_wandb(run)
        if "mlflow" in self._names and (run_id := _mlflow_run_id()) is not None:
            yield _of_mlflow(run_id)
        yield from self._named

    def know_loggers(self, loggers: Iterable[Any]) -> None:
        """Know of what the loggers of a Lightning trainer write to and nobody else would tell."""
        if "mlflow" in self._names:  # its run is not the active one
            own = [each for each in loggers if type(each).__name__ == "MLFlowLogger"]
            self._named = [_of_mlflow(each.run_id, each.experiment) for each in own if each.run_id]

    # ---- those that have to be waited for

    def watch_writers(self) -> None:
        """Note every `SummaryWriter`: the package has been imported."""
        kind = sys.modules["torch.utils.tensorboard"].SummaryWriter
        self._writers = [weakref.ref(each) for each in gc.get_objects() if type(each) is kind]
        self._patches += [
            Patch(kind, "__init__", self._noting),
            Patch(kind, "close", lambda original: self._before(original, _of_writer)),
        ]

    def watch_wandb(self) -> None:
        """Learn that a run of wandb ends, which closes it for good: the package is there."""
        kind = sys.modules["wandb"].Run
        self._patches += [
            Patch(kind, name, lambda original: self._before(original, _of_wandb))
            for name in ("finish", "__exit__")
        ]

    def end(self) -> None:
        """Look no more, and leave all classes as they were."""
        for patch in reversed(self._patches):
            patch.undo()
        self._patches.clear()

    def _noting(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(writer: Any, *given: Any, **options: Any) -> None:
            original(writer, *given, **options)
            self._writers.append(weakref.ref(writer))

        return __init__

    def _before(
        self, original: Callable[..., Any], found: Callable[[Any], Found]
    ) -> Callable[..., Any]:
        """Have the listeners show the rest before something is closed."""

        @functools.wraps(original)
        def close(own: Any, *given: Any, **options: Any) -> Any:
            for listener in list(self.listeners):
                try:
                    listener.leave(found(own))
                except Exception as error:  # what the script closes is closed
                    say(f"The last numbers are not shown. Cause: {describe(error)}")
            return original(own, *given, **options)

        return close

    def _writer(self) -> Any:
        """The first writer that is open: one that logs is enough."""
        alive = (known() for known in self._writers)
        return next((each for each in alive if each is not None and each.all_writers), None)


def _wandb_run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)


def _mlflow_run_id() -> str | None:
    """The run that is active in this thread."""
    ask = getattr(sys.modules.get("mlflow"), "active_run", None)
    run: Any = None if ask is None else ask()
    return None if run is None else run.info.run_id


def _of_writer(writer: Any) -> Found:
    return Found("tensorboard", id(writer), lambda prefix: tensorboard.Tracker(writer, prefix))


def _of_wandb(run: Any) -> Found:
    def make(prefix: str) -> Tracker:
        from deephochuli.integrations import wandb

        return wandb.Tracker(run, prefix=prefix)

    return Found("wandb", run.id, make)


def _of_mlflow(run_id: str, client: Any = None) -> Found:
    def make(prefix: str) -> Tracker:
        from deephochuli.integrations import mlflow

        return mlflow.Tracker(run_id, prefix=prefix, client=client)

    return Found("mlflow", run_id, make)
