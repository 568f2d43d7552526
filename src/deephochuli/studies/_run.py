"""Measuring the points of studies: what is known is read, the rest goes to a pool of processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deephochuli.errors import StudyError, describe
from deephochuli.studies._cache import PointCache
from deephochuli.studies._study import Conclusion, Params, Point, Result, Study


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run of studies is.

    Attributes:
        n_points: Points of all plans together; points that two plans share count once a plan.
        n_known: Points that were measured before, and are not measured again.
        n_measured: Points measured by now.
        n_failed: Points whose measurement raised an error.
        seconds_left: Time left, from the weights of the points and the time spent; None at first.
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


@dataclass(frozen=True, slots=True)
class _Job:
    study: Study
    point: Point
    weight: float


def run_studies(
    studies: Sequence[Study],
    cache: PointCache,
    *,
    quick: bool = False,
    n_processes: int | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Measure what is not known yet, and conclude.

    Points that were measured before, in an earlier run or in one that was interrupted, are read
    and not measured again; what comes out is the same to the byte.

    Args:
        studies: What to run, in this order in the report.
        cache: Where results are and are put.
        quick: Run the short plans.
        n_processes: Processes that measure, each with one thread; None: one for each core. With 1
            the points are measured in this process.
        tell: Called before the first point, and after each.

    Returns:
        An outcome for each study.

    Raises:
        StudyError: A point could not be measured; all others were, and are kept.
        KeyboardInterrupt: Somebody pressed Ctrl-C; what was measured by then is kept.
    """
    jobs = [_Job(s, p, s.weight(p.params)) for s in studies for p in s.points(quick)]
    found = {job.point.id: cache.get(job.point) for job in jobs}
    missing = {job.point.id: job for job in jobs if found[job.point.id] is None}
    count = _Count(len(jobs), sum(found[job.point.id] is not None for job in jobs), missing, tell)
    failures: list[str] = []
    for job, outcome in _measured(list(missing.values()), n_processes or _n_cores()):
        if isinstance(outcome, Exception):
            failures.append(_failure(job.point, outcome))
        else:
            try:
                found[job.point.id] = cache.put(job.point, outcome)
            except StudyError as error:
                failures.append(str(error))
        count.add(job, failed=found[job.point.id] is None)
    if failures:
        raise StudyError(_summary(failures, len(jobs)))
    return [_outcome_of(study, found, quick=quick) for study in studies]


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
        missing: dict[str, _Job],
        tell: Callable[[Progress], None] | None,
    ) -> None:
        self._n_points, self._n_known, self._tell = n_points, n_known, tell
        self._left = sum(job.weight for job in missing.values())
        self._done = 0.0
        self._n_measured = self._n_failed = 0
        self._began = time.monotonic()
        self._say("")

    def add(self, job: _Job, *, failed: bool) -> None:
        """Count one more point."""
        self._n_failed += failed
        self._n_measured += not failed
        self._done += job.weight
        self._left -= job.weight
        self._say(job.study.name)

    def _say(self, last: str) -> None:
        if self._tell is None:
            return
        spent = time.monotonic() - self._began
        seconds_left = spent * max(self._left, 0.0) / self._done if self._done else None
        counts = (self._n_points, self._n_known, self._n_measured, self._n_failed)
        self._tell(Progress(*counts, seconds_left, last))


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measured(jobs: list[_Job], n_processes: int) -> Iterator[tuple[_Job, Any]]:
    """Each job with its values, or with the error that it ended in; heavy ones begin first."""
    ordered = sorted(jobs, key=lambda job: -job.weight)
    if n_processes == 1 or len(ordered) <= 1:
        for job in ordered:
            yield job, _outcome(job.study.measure, job.point)
        return
    with _pool(min(n_processes, len(ordered))) as pool:
        waiting = {pool.submit(_outcome, job.study.measure, job.point): job for job in ordered}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), _result(future)


@contextmanager
def _pool(n_processes: int) -> Generator[ProcessPoolExecutor]:
    """A pool of fresh processes; an error or Ctrl-C ends them at once, whatever they are at."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_begin)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    pool.shutdown()


def _begin() -> None:
    """Prepare a process of the pool: one thread, Ctrl-C is the parent's affair, so is its end."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its pool, which would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _outcome(measure: Callable[[Params], Mapping[str, Any]], point: Point) -> Any:
    """What a measurement returns, or the error that it ended in, with one thread."""
    import torch

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        return measure(point.params)
    except Exception as error:
        return StudyError(describe(error))
    finally:
        torch.set_num_threads(threads)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise StudyError(
            "A process that measured was ended from outside, perhaps for want of memory. What was "
            "measured is kept; run the same command again, with fewer --jobs."
        ) from None


def _failure(point: Point, error: Exception) -> str:
    return f"{point.study} at {dict(point.params)}: {error}"


def _summary(failures: list[str], n_points: int) -> str:
    shown = "\n  ".join(failures[:5])
    more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} of {n_points} points could not be measured; all others were, and are "
        f"kept:\n  {shown}{more}"
    )
