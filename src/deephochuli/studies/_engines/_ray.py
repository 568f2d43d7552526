"""Workers of a Ray cluster, or of a Ray of this machine's own; needs the extra ``ray``."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deephochuli.errors import MissingExtraError, StudyError, describe
from deephochuli.studies._engines._engine import (
    ATTEMPTS,
    Job,
    Measured,
    answer,
    given_up,
    n_cores,
)

_MOST_OPEN: Final = 1000
"""Points handed to a cluster at a time: enough to let it grow, few enough to look through."""
_PATIENCE: Final = 10.0
"""Seconds in which the head of a cluster must take a connection."""


@dataclass(frozen=True, slots=True)
class Ray:
    """Workers of Ray, each with one core and one thread.

    A worker that dies loses the point that it was at, which Ray begins anew elsewhere, three times
    at most.
    Where Ray has been started by the caller, that one is used and left running; otherwise it is
    started, or connected to, for the time of the measurement, without its dashboard and without
    its usage statistics.

    Attributes:
        workers: Points measured at a time; None: as many as there are cores, of the cluster or of
            this machine.
        address: Of a cluster, as ``ray.init`` takes it: ``"auto"``, ``"HOST:PORT"``,
            ``"ray://HOST:PORT"``; None: a Ray of this machine's own. The package, and the module
            that defines the study, must be installed on the machines of a cluster.
    """

    workers: int | None = None
    address: str | None = None

    @property
    def n_workers(self) -> int | None:
        """How many points are measured at a time; None if only the cluster knows."""
        return self.workers or (n_cores() if self.address is None else None)

    def measure(self, jobs: Sequence[Job]) -> Iterator[Measured]:
        """Each job with what became of it.

        Raises:
            MissingExtraError: Ray is not installed.
            StudyError: The cluster does not answer.
        """
        ray = _ray()
        if jobs:
            with _connected(ray, self):
                yield from _on_cluster(ray, jobs, self.n_workers or _MOST_OPEN)


def _on_cluster(ray: Any, jobs: Sequence[Job], most_open: int) -> Iterator[Measured]:
    # An error that a point raises is part of the answer; only a death is worth another attempt.
    task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=False)(answer)
    waiting, open_jobs = iter(jobs), dict[Any, Job]()
    while True:
        for job in waiting:
            open_jobs[task.remote(job.study.measure, dict(job.point.params))] = job
            if len(open_jobs) >= most_open:
                break
        if not open_jobs:
            return
        done, _ = ray.wait(list(open_jobs), num_returns=1)
        for reference in done:
            yield _found(ray, open_jobs.pop(reference), reference)


def _found(ray: Any, job: Job, reference: Any) -> Measured:
    try:
        return Measured(job, *ray.get(reference))
    except ray.exceptions.WorkerCrashedError as error:
        return Measured(job, given_up(type(error).__name__), 0.0)
    except ray.exceptions.RayError as error:
        lines = describe(error).strip().splitlines()
        why = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1].strip()}"
        return Measured(job, StudyError(f"Ray could not measure it: {why}"), 0.0)


@contextmanager
def _connected(ray: Any, engine: Ray) -> Generator[None]:
    """Ray for the time being: the caller's own, a cluster's, or one of this machine's."""
    if ray.is_initialized():
        yield
        return
    # Sockets lie in the folder, and a socket's path has about a hundred characters at most; the
    # folders for temporary files of some systems are too long for that.
    short = "/tmp" if Path("/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir=short, ignore_cleanup_errors=True
    ) as folder:
        try:
            _start(ray, engine, folder)
        except Exception as error:
            raise StudyError(
                f"Ray at {engine.address or 'this machine'} does not answer: {describe(error)}. "
                "Is the cluster up, and is the address one that ray.init takes? Without --address "
                "a Ray of this machine's own is started."
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _start(ray: Any, engine: Ray, folder: str) -> None:
    if engine.address is not None:
        _knock(engine.address)
        ray.init(address=engine.address, log_to_driver=False, logging_level="WARNING")
        return
    with _without_usage_statistics():
        ray.init(
            address="local",
            num_cpus=engine.n_workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="WARNING",
            _temp_dir=folder,
        )


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself goes on trying for more than ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


@contextmanager
def _without_usage_statistics() -> Generator[None]:
    """Ray's processes read the switch when they start; the environment is left as it was."""
    name = "RAY_USAGE_STATS_ENABLED"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Measuring on a Ray cluster", "ray", "ray") from error
    return ray
