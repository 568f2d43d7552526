"""Processes of this machine, each with one thread; what comes with the package."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from deephochuli.errors import StudyError
from deephochuli.studies._engines._engine import (
    ATTEMPTS,
    Answer,
    Job,
    Measured,
    answer,
    given_up,
    n_cores,
)

_MOST_DEATHS: Final = 4 * ATTEMPTS
"""So many workers in a row that die without a result are not the points' fault."""


@dataclass(frozen=True, slots=True)
class Local:
    """Processes of this machine.

    A process that dies loses the point that it was at, which another one begins anew; the others
    go on.

    Attributes:
        processes: How many; None: one for each core. With 1 the points are measured in this
            process, which then must not die.
    """

    processes: int | None = None

    @property
    def n_workers(self) -> int:
        """How many points are measured at a time."""
        return self.processes or n_cores()

    def measure(self, jobs: Sequence[Job]) -> Iterator[Measured]:
        """Each job with what became of it.

        Raises:
            StudyError: Process after process dies without a result.
        """
        n = min(self.n_workers, len(jobs))
        return _in_processes(jobs, n) if n > 1 else _here(jobs)


def _here(jobs: Sequence[Job]) -> Iterator[Measured]:
    for job in jobs:
        yield Measured(job, *answer(job.study.measure, job.point.params))


def _in_processes(jobs: Sequence[Job], n: int) -> Iterator[Measured]:
    """Measure with a pool of its own for each process: one that dies then names its point."""
    queue, deaths, in_a_row = deque(jobs), Counter[str](), 0
    with _workers(n) as workers:
        idle, open_jobs = deque(range(n)), dict[Future[Answer], tuple[int, Job]]()
        while queue or open_jobs:
            while queue and idle:
                place, job = idle.popleft(), queue.popleft()
                open_jobs[_begin(workers, place, job)] = place, job
            for future in wait(open_jobs, return_when=FIRST_COMPLETED).done:
                place, job = open_jobs.pop(future)
                idle.append(place)
                try:
                    found = Measured(job, *future.result())
                    in_a_row = 0
                except BrokenProcessPool as error:
                    workers[place] = _worker()
                    deaths[job.point.id] += 1
                    in_a_row = _next_in_a_row(in_a_row)
                    if deaths[job.point.id] < ATTEMPTS:
                        queue.append(job)
                        continue
                    found = Measured(job, given_up(type(error).__name__), 0.0)
                yield found


def _begin(workers: list[ProcessPoolExecutor], place: int, job: Job) -> Future[Answer]:
    """Give a job to a worker, or to its successor if it died while it had nothing to do."""
    try:
        return workers[place].submit(answer, job.study.measure, job.point.params)
    except BrokenProcessPool:
        workers[place] = _worker()
        return workers[place].submit(answer, job.study.measure, job.point.params)


def _next_in_a_row(deaths: int) -> int:
    if deaths + 1 < _MOST_DEATHS:
        return deaths + 1
    raise StudyError(
        f"{_MOST_DEATHS} processes in a row were ended from outside before they had measured "
        "anything, perhaps for want of memory. What was measured before is kept; run the same "
        "command again, with fewer --workers."
    )


def _worker() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare)


@contextmanager
def _workers(n: int) -> Generator[list[ProcessPoolExecutor]]:
    """Fresh processes; an error or Ctrl-C ends them at once, whatever they are at."""
    others = set(multiprocessing.active_children())
    workers = [_worker() for _ in range(n)]
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    for worker in workers:
        worker.shutdown()


def _prepare() -> None:
    """Prepare a worker: one thread, Ctrl-C is the parent's affair, so is its end."""
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
