"""Following a recording: trackers and rules served beside the training, not in its way."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from deephochuli.analysis import Finding
from deephochuli.errors import describe, say
from deephochuli.integrations._look import Look
from deephochuli.integrations._numbers import QUANTITIES
from deephochuli.integrations._rules import Action, Given, Rules, Snapshot
from deephochuli.integrations._tracker import Alert, Tracker
from deephochuli.record import Recording
from deephochuli.store import StepRow, TapRow

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long the end of a recording waits for trackers that have not taken everything yet."""


@dataclass(slots=True, eq=False)
class _Beside:
    """What the training and the thread beside it tell each other during one recording.

    Attributes:
        due: Why the weights should be saved.
        alerts: What trackers are to be told of.
        wake: Set when there is something to do.
        is_over: The recording is complete.
    """

    due: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue[str])
    alerts: queue.SimpleQueue[Alert] = field(default_factory=queue.SimpleQueue[Alert])
    wake: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False


class Follow:
    """Feeds trackers while a recording goes on, asks for findings, and applies rules to them.

    Folders are read and trackers are told in a thread of their own, each time a chunk has been
    written; the training waits for neither, except at the end. Triggers named in the rules are
    asked in the thread that trains, at each counted step, so that what follows from them happens
    at the same step whenever the training is repeated. What follows from a finding comes when it
    is found, some steps after its chunk.

    Nothing here raises into the training, and nothing here draws random numbers.

    Attributes:
        has_rules: Something may follow from findings or events.
    """

    def __init__(
        self,
        *trackers: Tracker,
        on_finding: Given = None,
        snapshot: Snapshot | None = None,
        quantities: Sequence[str] = QUANTITIES,
    ) -> None:
        """Say whom to tell and what to do.

        Args:
            *trackers: Told of numbers and findings.
            on_finding: ``"continue"``, ``"snapshot"`` or ``"stop"``, or several of them, by the
                names of findings, of triggers, or of levels; an action alone is what follows from
                critical findings.
            snapshot: Called between two steps for each rule that says so, with a word that says
                why. Without it, :meth:`take_snapshots` tells that it is due.
            quantities: Quantities of which trackers are told the numbers of each layer.

        Raises:
            TapError: A name or an action of a rule is unknown.
        """
        self._trackers = trackers
        self._given: Given = on_finding
        self._rules = Rules(on_finding)
        self.has_rules = bool(self._rules)
        self._snapshot = snapshot
        self._quantities = tuple(quantities)
        # Made when a recording begins: until then this can be copied and pickled, with a trainer.
        self._beside: _Beside | None = None
        self._recording: Recording | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    # --- what a recording tells ------------------------------------------------------------------

    def begin(self, recording: Recording) -> None:
        """Follow a recording, from its next step on."""
        self._recording, self._pid = recording, os.getpid()
        self._rules = Rules(self._given)  # what triggers remember is of one training
        self._beside = beside = _Beside()
        if not self._trackers and not self.has_rules:
            return
        look = Look(
            recording.path, self._trackers, self._quantities, self._apply, recording.n_steps
        )
        self._thread = threading.Thread(
            target=_watch, args=(look, beside), name="deephochuli-follow", daemon=True
        )
        self._thread.start()

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Ask the triggers, and take the snapshots that are due."""
        beside = self._beside
        if beside is None:
            return
        for event in self._rules.of_step(step, taps):
            title = f"{event.name} at step {step.step}"
            beside.alerts.put(Alert(event.name, "warning", title, event.text, step.step))
            self._act(event.name, event.actions)
            beside.wake.set()
        self._save_what_is_due()

    def chunk(self) -> None:
        """Have the new chunk looked at."""
        if self._beside is not None:
            self._beside.wake.set()

    def end(self) -> None:
        """Let trackers have the rest, and wait for them."""
        thread, self._thread, beside = self._thread, None, self._beside
        if thread is None or beside is None or os.getpid() != self._pid:
            return
        beside.is_over = True
        beside.wake.set()
        thread.join(PATIENCE_S)
        if thread.is_alive():
            say(
                f"Trackers have not taken everything after {PATIENCE_S:.0f} s; the recording is "
                "complete and ends without them."
            )
        self._save_what_is_due()

    # --- what a loop asks ------------------------------------------------------------------------

    def take_snapshots(self) -> list[str]:
        """Words that say why the weights should be saved now, each once; often none."""
        return [] if self._beside is None else _all_of(self._beside.due)

    # --- what follows ----------------------------------------------------------------------------

    def _apply(self, finding: Finding) -> None:
        self._act(finding.kind, self._rules.of_finding(finding))

    def _act(self, why: str, actions: Sequence[Action]) -> None:
        if "snapshot" in actions and self._beside is not None:
            self._beside.due.put(why)
        if "stop" in actions and self._recording is not None:
            self._recording.should_stop = True

    def _save_what_is_due(self) -> None:
        if self._snapshot is None:
            return
        for why in self.take_snapshots():
            try:
                self._snapshot(why)
            except Exception as error:  # the training goes on, and may be saved otherwise
                say(f"The snapshot for {why} failed; training goes on. Cause: {describe(error)}")


def _watch(look: Look, beside: _Beside) -> None:
    """Look whenever there is something new, until the recording is over."""
    while True:
        beside.wake.wait()
        beside.wake.clear()
        is_over = beside.is_over
        for alert in _all_of(beside.alerts):
            look.alert(alert)
        if is_over:
            look.finish()
            return
        look.look()


def _all_of(waiting: queue.SimpleQueue[T]) -> list[T]:
    """Take everything that waits."""
    found: list[T] = []
    with contextlib.suppress(queue.Empty):
        while True:
            found.append(waiting.get_nowait())
    return found
