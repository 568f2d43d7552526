"""What an engine is: it takes points, and gives back what was measured at each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from deephochuli.errors import StudyError, describe
from deephochuli.studies._study import Params, Point, Study

ATTEMPTS: Final = 3
"""How often a point is begun whose worker dies over it."""

Answer = tuple[Any, float]
"""Values of a point, or the error that it ended in, and CPU-seconds; it crosses processes."""


@dataclass(frozen=True, slots=True)
class Job:
    """A point to measure.

    Attributes:
        study: Whose point it is.
        point: The point.
        seconds: Expected cost, in CPU-seconds.
    """

    study: Study
    point: Point
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a job.

    Attributes:
        job: The job.
        values: What was measured, or the error that it ended in.
        seconds: CPU-seconds that it took.
    """

    job: Job
    values: Any
    seconds: float


class Engine(Protocol):
    """Measures points; knows neither plans nor files, so every engine gives the same results.

    Whoever uses an engine has left out what is known, and keeps what comes back.
    """

    @property
    def n_workers(self) -> int | None:
        """How many points are measured at a time; None if only the cluster knows."""
        ...

    def measure(self, jobs: Sequence[Job]) -> Iterator[Measured]:
        """Each job with what became of it, in the order in which they end.

        An iterator that is closed early, or that an error ends, stops what is being measured.

        Args:
            jobs: In the order in which they should begin.
        """
        ...


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def answer(measure: Callable[[Params], Mapping[str, Any]], params: Params) -> Answer:
    """Measure a point with one thread; an error is part of the answer, and not raised."""
    import torch

    threads = torch.get_num_threads()
    began = time.process_time()
    try:
        torch.set_num_threads(1)
        values: Any = measure(params)
    except Exception as error:
        values = StudyError(describe(error))
    finally:
        torch.set_num_threads(threads)
    return values, time.process_time() - began


def given_up(why: str) -> StudyError:
    """The error of a point over which every worker died."""
    return StudyError(
        f"the worker that measured it was ended from outside {ATTEMPTS} times, perhaps for want of "
        f"memory ({why})"
    )
