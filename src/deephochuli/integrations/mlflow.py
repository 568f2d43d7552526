"""MLflow: metrics by step, findings as tags, and the report as an artifact.

from deephochuli.integrations import mlflow

mlflow.log_run(dh.open_run("runs/a"))                         # after the fact, to the active run
dh.record(..., follow=Follow(mlflow.Tracker()))               # while it is recorded
"""

# MLflow types its client partly.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from deephochuli.analysis import Finding
from deephochuli.errors import MissingExtraError, StoreError
from deephochuli.integrations._numbers import QUANTITIES, StepNumbers
from deephochuli.integrations._tracker import PREFIX, Alert, tell_run
from deephochuli.record import Recording
from deephochuli.report import build_report
from deephochuli.store import RunReader

try:
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric
except ImportError as error:
    raise MissingExtraError("Logging to MLflow", "mlflow-skinny", "mlflow") from error

MOST_METRICS: Final = 1000
"""Metrics that MLflow takes in one call."""


class Tracker:
    """Logs to an MLflow run."""

    def __init__(
        self,
        run_id: str | None = None,
        *,
        layers: bool = False,
        report: bool = True,
        prefix: str = PREFIX,
        client: MlflowClient | None = None,
    ) -> None:
        """Log to a run.

        Args:
            run_id: The run; the one that is active when the recording begins if left out.
            layers: Log numbers of layers, too: hundreds of metrics for each chunk.
            report: Log the HTML report as an artifact at the end.
            prefix: First part of every name.
            client: Where the run is known; the current tracking server if left out.
        """
        self._run_id = run_id or ""
        self._layers = layers
        self._report = report
        self._prefix = prefix
        self._client = client or MlflowClient()

    def begin(self) -> None:
        """Find the active run, which MLflow knows in the thread that started it only."""
        active = mlflow.active_run()
        if not self._run_id and active is None:
            raise StoreError("No MLflow run is active. Call mlflow.start_run, or give a run_id.")
        if active is not None:
            self._run_id = self._run_id or active.info.run_id

    def log(self, numbers: Sequence[StepNumbers]) -> None:
        """Log metrics of further steps."""
        metrics = [metric for each in numbers for metric in self._metrics(each)]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics[first : first + MOST_METRICS])

    def alert(self, alert: Alert) -> None:
        """Tag the run with what was found."""
        self._client.set_tag(
            self._run_id, f"{self._prefix}.{alert.name}", f"{alert.level}: {alert.title}"
        )

    def finish(self, run: RunReader, found: Sequence[Finding]) -> None:
        """Tag the run with the number of critical findings, and keep the report with it."""
        n_critical = sum(finding.level == "critical" for finding in found)
        self._client.set_tag(self._run_id, f"{self._prefix}.n_critical", str(n_critical))
        if self._report:
            with tempfile.TemporaryDirectory() as folder:
                page = build_report(run, Path(folder) / "report.html", known=[found])
                self._client.log_artifact(self._run_id, str(page), self._prefix)

    def _metrics(self, numbers: StepNumbers) -> Iterator[Metric]:
        values = {f"{self._prefix}/{name}": value for name, value in numbers.totals.items()}
        if self._layers:
            values |= {f"{self._prefix}/layers/{name}": v for name, v in numbers.layers.items()}
        now = int(1000 * time.time())
        for name, value in values.items():
            if not math.isnan(value):  # not every store can hold it; the count of them is logged
                yield Metric(name, value, now, numbers.step)


def log_run(
    run: RunReader | Recording,
    run_id: str | None = None,
    *,
    layers: bool = True,
    report: bool = True,
    quantities: Sequence[str] = QUANTITIES,
) -> None:
    """Log all that is recorded of a run until now.

    Args:
        run: A run, or a recording that goes on.
        run_id: The MLflow run; the active one if left out.
        layers: Log numbers of layers, too.
        report: Keep the HTML report as an artifact.
        quantities: Quantities of which layers are shown.

    Raises:
        StoreError: The run is damaged, or no MLflow run is active.
    """
    tell_run(run, Tracker(run_id, layers=layers, report=report), quantities)
