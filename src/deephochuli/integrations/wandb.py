"""Weights & Biases: numbers by step, exact histograms of exponents, alerts, the report.

from deephochuli.integrations import wandb

wandb.log_run(dh.open_run("runs/a"), run)                     # after the fact
dh.record(..., follow=Follow(wandb.Tracker(run)))             # while it is recorded
"""

# wandb types its data classes partly.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deephochuli.analysis import Finding
from deephochuli.errors import MissingExtraError, StoreError
from deephochuli.integrations._numbers import QUANTITIES, StepNumbers
from deephochuli.integrations._tracker import PREFIX, Alert, tell_run
from deephochuli.record import Recording
from deephochuli.report import build_report
from deephochuli.store import RunReader

try:
    import wandb
except ImportError as error:
    raise MissingExtraError("Logging to Weights & Biases", "wandb", "wandb") from error

MOST_BINS: Final = 512
MOST_TITLE: Final = 63
_LEVELS: Final = {"critical": "ERROR", "warning": "WARN", "note": "INFO"}


class Tracker:
    """Logs to a wandb run; what it logs is drawn over ``deephochuli/step``.

    The step that wandb counts belongs to the user's own logging. So while a recording goes on, one
    row is logged for each chunk, and left open to be joined by the next row of the user's; it is
    closed here only if no row of the user's has come meanwhile.
    """

    def __init__(
        self,
        run: wandb.Run | None = None,
        *,
        report: bool = True,
        every_step: bool = False,
        prefix: str = PREFIX,
    ) -> None:
        """Log to a run.

        Args:
            run: The run; the one that is active when the recording begins if left out.
            report: Log the HTML report at the end.
            every_step: Log and close a row for each recorded step: for a run that nobody else logs
                to meanwhile.
            prefix: First part of every name.
        """
        self._given = run
        self._run: Any = run
        self._report = report
        self._every_step = every_step
        self._open_step = -1
        self._prefix = prefix

    def begin(self) -> None:
        """Find the active run, and say over what its numbers are drawn."""
        self._run = self._given or wandb.run
        if self._run is None:
            raise StoreError("No wandb run is active. Call wandb.init, or give the run.")
        step = f"{self._prefix}/step"
        self._run.define_metric(step, hidden=True)
        self._run.define_metric(f"{self._prefix}/*", step_metric=step)

    def log(self, numbers: Sequence[StepNumbers]) -> None:
        """Log rows for further steps."""
        run = self._run
        for each in numbers:
            if self._every_step:
                run.log(_row(each, self._prefix), commit=True)
            elif each.layers:
                if run.step == self._open_step:
                    run.log({}, commit=True)
                run.log(_row(each, self._prefix), commit=False)
                self._open_step = run.step

    def alert(self, alert: Alert) -> None:
        """Send what was found as an alert, and keep it in the summary of the run."""
        run = self._run
        run.alert(alert.title[:MOST_TITLE], alert.text, _LEVELS[alert.level])
        run.summary[f"{self._prefix}/found/{alert.name}"] = alert.title

    def finish(self, run: RunReader, found: Sequence[Finding]) -> None:
        """Put all findings into the summary, and log the report."""
        own = self._run
        for finding in found:
            own.summary[f"{self._prefix}/found/{finding.kind}"] = finding.title
        own.summary[f"{self._prefix}/n_critical"] = sum(f.level == "critical" for f in found)
        if self._report:
            with tempfile.TemporaryDirectory() as folder:
                page = build_report(run, Path(folder) / "report.html", known=[found])
                own.log(
                    {f"{self._prefix}/report": wandb.Html(page.read_text("utf-8"))}, commit=False
                )


def log_run(
    run: RunReader | Recording,
    to: wandb.Run | None = None,
    *,
    report: bool = True,
    quantities: Sequence[str] = QUANTITIES,
) -> None:
    """Log all that is recorded of a run until now, a row for each recorded step.

    Args:
        run: A run, or a recording that goes on.
        to: The wandb run; the active one if left out.
        report: Log the HTML report, too.
        quantities: Quantities of which layers are shown.

    Raises:
        StoreError: The run is damaged, or no wandb run is active.
    """
    tell_run(run, Tracker(to, report=report, every_step=True), quantities)


def _row(numbers: StepNumbers, prefix: str) -> dict[str, Any]:
    row: dict[str, Any] = {f"{prefix}/step": numbers.step}
    row |= {f"{prefix}/{name}": value for name, value in numbers.totals.items()}
    row |= {f"{prefix}/layers/{name}": value for name, value in numbers.layers.items()}
    for name, histogram in numbers.histograms.items():
        counts, edges = histogram.bins(MOST_BINS)
        drawn = wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
        row[f"{prefix}/exponents/{name}"] = drawn
    return row
