"""Following a recording: trackers and rules served beside the training, not in its way."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Sequence
from typing import Final

from deephochuli.analysis import Finding
from deephochuli.errors import describe, say
from deephochuli.integrations._look import Look
from deephochuli.integrations._numbers import QUANTITIES
from deephochuli.integrations._rules import Action, Given, Rules, Snapshot
from deephochuli.integrations._tracker import Alert, Tracker
from deephochuli.record import Recording
from deephochuli.store import StepRow, TapRow

PATIENCE_S: Final = 60.0
"""How long the end of a recording waits for trackers that have not taken everything yet."""


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
        self._rules = Rules(on_finding)
        self.has_rules = bool(self._rules)
        self._snapshot = snapshot
        self._quantities = tuple(quantities)
        self._due: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._alerts: queue.SimpleQueue[Alert] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._is_over = False
        self._recording: Recording | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    # --- what a recording tells ------------------------------------------------------------------

    def begin(self, recording: Recording) -> None:
        """Follow a recording, from its next step on."""
        self._recording, self._is_over, self._pid = recording, False, os.getpid()
        look = Look(
            recording.path, self._trackers, self._quantities, self._apply, recording.n_steps
        )
        self._thread = threading.Thread(
            target=self._watch, args=(look,), name="deephochuli-follow", daemon=True
        )
        self._thread.start()

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Ask the triggers, and take the snapshots that are due."""
        for event in self._rules.of_step(step, taps):
            title = f"{event.name} at step {step.step}"
            self._alerts.put(Alert(event.name, "warning", title, event.text, step.step))
            self._act(event.name, event.actions)
            self._wake.set()
        self._save_what_is_due()

    def chunk(self) -> None:
        """Have the new chunk looked at."""
        self._wake.set()

    def end(self) -> None:
        """Let trackers have the rest, and wait for them."""
        thread, self._thread = self._thread, None
        if thread is None or os.getpid() != self._pid:
            return
        self._is_over = True
        self._wake.set()
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
        due: list[str] = []
        with contextlib.suppress(queue.Empty):
            while True:
                due.append(self._due.get_nowait())
        return due

    # --- beside the training ---------------------------------------------------------------------

    def _watch(self, look: Look) -> None:
        """Look whenever there is something new, until the recording is over."""
        while True:
            self._wake.wait()
            self._wake.clear()
            is_over = self._is_over
            self._tell_alerts(look)
            if is_over:
                look.finish()
                return
            look.look()

    def _tell_alerts(self, look: Look) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                look.alert(self._alerts.get_nowait())

    def _apply(self, finding: Finding) -> None:
        self._act(finding.kind, self._rules.of_finding(finding))

    def _act(self, why: str, actions: Sequence[Action]) -> None:
        if "snapshot" in actions:
            self._due.put(why)
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
