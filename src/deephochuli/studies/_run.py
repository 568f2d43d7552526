"""Measuring the points of studies: what is known is read, the rest is handed to an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deephochuli.errors import StudyError
from deephochuli.studies._cache import PointCache
from deephochuli.studies._engines import Engine, Job, Local, Measured
from deephochuli.studies._ledger import Ledger
from deephochuli.studies._study import Conclusion, Point, Result, Study


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run of studies is.

    Attributes:
        n_points: Points of all plans together; points that two plans share count once a plan.
        n_known: Points that were measured before, and are not measured again.
        n_measured: Points measured by now.
        n_failed: Points whose measurement raised an error.
        seconds_left: Time left, from what the points should cost and the time spent; None at first.
        last: The study whose point came last, or "".
    """

    n_points: int
    n_known: int
    n_measured: int
    n_failed: int
    seconds_left: float | None
    last: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A study with what follows from it.

    Attributes:
        study: The study.
        quick: Whether the quick plan was run.
        results: Results in the order of the plan.
        conclusion: What follows.
    """

    study: Study
    quick: bool
    results: tuple[Result, ...]
    conclusion: Conclusion


def run_studies(
    studies: Sequence[Study],
    cache: PointCache,
    *,
    quick: bool = False,
    engine: Engine | None = None,
    ledger: Ledger | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Measure what is not known yet, and conclude.

    Points that were measured before, in an earlier run or in one that was interrupted, are read
    and not measured again; what comes out is the same to the byte, whatever engine measures.

    Args:
        studies: What to run, in this order in the report.
        cache: Where results are and are put.
        quick: Run the short plans.
        engine: What measures; None: a process for each core of this machine.
        ledger: What points have cost, for the time that is left; each point's cost is added. None:
            only the studies' own guesses.
        tell: Called before the first point, and after each.

    Returns:
        An outcome for each study.

    Raises:
        StudyError: A point could not be measured; all others were, and are kept.
        KeyboardInterrupt: Somebody pressed Ctrl-C; what was measured by then is kept.
    """
    engine, ledger = engine or Local(), ledger or Ledger()
    jobs = [Job(s, p, ledger.expected(s, p.params)) for s in studies for p in s.points(quick)]
    found = {job.point.id: cache.get(job.point) for job in jobs}
    missing = {job.point.id: job for job in jobs if found[job.point.id] is None}
    count = _Count(len(jobs), sum(found[job.point.id] is not None for job in jobs), missing, tell)
    failures: list[str] = []
    # Heavy points first, so that no worker is left alone with one at the end.
    for measured in engine.measure(sorted(missing.values(), key=lambda job: -job.seconds)):
        job = measured.job
        try:
            found[job.point.id] = _kept(measured, cache)
            ledger.add(job.study, job.point.params, measured.seconds)
        except StudyError as error:
            failures.append(_failure(job.point, error))
        count.add(job, failed=found[job.point.id] is None)
    if failures:
        raise StudyError(_summary(failures, len(jobs)))
    return [_outcome_of(study, found, quick=quick) for study in studies]


def _kept(measured: Measured, cache: PointCache) -> Result:
    if isinstance(measured.values, Exception):
        raise measured.values
    return cache.put(measured.job.point, measured.values)


def _outcome_of(study: Study, found: dict[str, Result | None], *, quick: bool) -> Outcome:
    results = [found[point.id] for point in study.points(quick)]
    known = tuple(result for result in results if result is not None)
    return Outcome(study, quick, known, study.conclude(known))


class _Count:
    """Counts what is done, and tells it."""

    def __init__(
        self,
        n_points: int,
        n_known: int,
        missing: dict[str, Job],
        tell: Callable[[Progress], None] | None,
    ) -> None:
        self._n_points, self._n_known, self._tell = n_points, n_known, tell
        self._left = sum(job.seconds for job in missing.values())
        self._done = 0.0
        self._n_measured = self._n_failed = 0
        self._began = time.monotonic()
        self._say("")

    def add(self, job: Job, *, failed: bool) -> None:
        """Count one more point."""
        self._n_failed += failed
        self._n_measured += not failed
        self._done += job.seconds
        self._left -= job.seconds
        self._say(job.study.name)

    def _say(self, last: str) -> None:
        if self._tell is None:
            return
        spent = time.monotonic() - self._began
        seconds_left = spent * max(self._left, 0.0) / self._done if self._done else None
        counts = (self._n_points, self._n_known, self._n_measured, self._n_failed)
        self._tell(Progress(*counts, seconds_left, last))


def _failure(point: Point, error: Exception) -> str:
    return f"{point.study} at {dict(point.params)}: {error}"


def _summary(failures: list[str], n_points: int) -> str:
    shown = "\n  ".join(failures[:5])
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} of {n_points} points could not be measured; all others were, and are "
        f"kept:\n  {shown}{more}"
    )
