"""TensorBoard: scalars, exact histograms of exponents, and findings as text.

    from deephochuli.integrations import tensorboard

    tensorboard.log_run(dh.open_run("runs/a"), "runs/a-board")            # after the fact
    dh.record(..., follow=Follow(tensorboard.Tracker(writer)))            # while it is recorded

Any writer will do that has ``add_scalar``, ``add_text`` and ``add_histogram_raw``; a folder needs
the package tensorboard.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, Protocol

from deephochuli.analysis import Finding
from deephochuli.errors import MissingExtraError
from deephochuli.integrations._numbers import QUANTITIES, Histogram, StepNumbers
from deephochuli.integrations._tracker import PREFIX, Alert, tell_run
from deephochuli.record import Recording
from deephochuli.store import RunReader

MOST_BINS: Final = 4096


class Writer(Protocol):
    """What is used of ``torch.utils.tensorboard.SummaryWriter``."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, /) -> Any:
        """Add one number."""
        ...

    def add_text(self, tag: str, text_string: str, global_step: int, /) -> Any:
        """Add a text in Markdown."""
        ...

    def add_histogram_raw(self, tag: str, **numbers: Any) -> Any:
        """Add a histogram that is counted already."""
        ...


class Tracker:
    """Writes into a TensorBoard.

    A histogram is one of exponents floor(log2|x|) over a chunk: the bucket around e counts the
    numbers with 2^e <= |x| < 2^(e+1). Zeros and numbers that are not finite are scalars.
    """

    def __init__(self, writer: Writer, prefix: str = PREFIX) -> None:
        """Write with a writer of the user's, who closes it.

        Args:
            writer: The writer.
            prefix: First part of every name.
        """
        self._writer = writer
        self._prefix = prefix

    def begin(self) -> None:
        """Nothing has to be made ready."""

    def log(self, numbers: Sequence[StepNumbers]) -> None:
        """Add the numbers of further steps."""
        for each in numbers:
            for name, value in each.totals.items():
                self._writer.add_scalar(f"{self._prefix}/{name}", value, each.step)
            for name, value in each.layers.items():
                self._writer.add_scalar(f"{self._prefix}-layers/{name}", value, each.step)
            for name, histogram in each.histograms.items():
                self._add(f"{self._prefix}-exponents/{name}", histogram, each.step)

    def alert(self, alert: Alert) -> None:
        """Add what was found as a text."""
        text = f"**{alert.level}: {alert.title}**\n\n{alert.text}"
        self._writer.add_text(f"{self._prefix}/alerts/{alert.name}", text, alert.step)

    def finish(self, run: RunReader, found: Sequence[Finding]) -> None:
        """Add a text with all findings, worst first."""
        lines = [f"- **{finding.level}**: {finding.title}" for finding in found]
        last = int(run.steps["step"][-1])
        self._writer.add_text(f"{self._prefix}/findings", "\n".join(lines) or "No findings.", last)

    def _add(self, tag: str, histogram: Histogram, step: int) -> None:
        counts, edges = histogram.bins(MOST_BINS)
        exponents = [int(e) for e in histogram.exponents]
        pairs = list(zip(exponents, histogram.counts.tolist(), strict=True))
        self._writer.add_histogram_raw(
            tag,
            min=exponents[0],
            max=exponents[-1],
            num=sum(count for _, count in pairs),
            sum=sum(e * count for e, count in pairs),
            sum_squares=sum(e * e * count for e, count in pairs),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )


def log_run(
    run: RunReader | Recording,
    writer: Writer | str | os.PathLike[str],
    *,
    quantities: Sequence[str] = QUANTITIES,
) -> None:
    """Write all that is recorded of a run until now.

    Args:
        run: A run, or a recording that goes on.
        writer: A writer, or the folder of a new TensorBoard log.
        quantities: Quantities of which layers are shown.

    Raises:
        MissingExtraError: A folder is given, and tensorboard is not installed.
        StoreError: The run is damaged.
    """
    if not isinstance(writer, str | os.PathLike):
        tell_run(run, Tracker(writer), quantities)
        return
    with _summary_writer()(os.fspath(writer)) as opened:
        tell_run(run, Tracker(opened), quantities)


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("A log for TensorBoard", "tensorboard", "tensorboard") from error
    return SummaryWriter
