"""Paired timing of two processes that run in turn.

Each contender trains in a process of its own, so that nothing it installs can reach the other one.
Only one process works at a time; the order of the two is swapped from pair to pair, so that a
drift of the machine hits both alike.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is trained, on how many threads, and by which back end of torch.compile, if any."""

    threads: int
    width: int
    batch: int
    backend: str = ""


@dataclass(frozen=True)
class Timing:
    """Seconds of one block of steps: CPU time of the process with all its threads, and wall."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the ratios of all pairs, and the ratio of the sums."""

    median: float
    low: float
    high: float
    total: float


@dataclass(frozen=True)
class Outcome:
    """What a contender cost beside the plain loop, as ratios (1.0 is free)."""

    cpu: Spread
    wall: Spread
    plain_step_s: float
    written_per_step: float
    peak_bytes: int


def serve(connection: Connection, key: str, setting: Setting) -> None:
    """Body of a measured process: train a block whenever asked, answer with its timing."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(setting.threads)
    import torch
    from contenders import CONTENDERS
    from resnet import make_training

    torch.set_num_threads(setting.threads)
    training = make_training(setting.width, setting.batch, setting.backend)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with CONTENDERS[key].look(training.model, training.optimizer, folder) as after_step:
            while n_steps := connection.recv():
                cpu, wall = time.process_time(), time.perf_counter()
                training.run(n_steps, after_step)
                connection.send(Timing(time.process_time() - cpu, time.perf_counter() - wall))
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        connection.send((written / max(training.n_steps, 1), peak_bytes()))


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class ContenderError(Exception):
    """A contender could not be measured."""


class Trainer:
    """The other end of a measured process."""

    def __init__(self, key: str, setting: Setting) -> None:
        """Start the process; it waits until it is asked to train."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, key, setting), daemon=True)
        self._process.start()
        theirs.close()

    def train(self, n_steps: int) -> Timing:
        """Train some steps and wait for their timing."""
        return self._ask(n_steps)

    def close(self) -> tuple[float, int]:
        """End the process; bytes it wrote per step, and its peak memory."""
        left = self._ask(0)
        self._process.join()
        return left

    def _ask(self, n_steps: int) -> Any:
        try:
            self._connection.send(n_steps)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ContenderError("its process ended early; what it said is above") from error


def measure(key: str, block: int, setting: Setting, n_pairs: int) -> Outcome:
    """Time a contender against the plain loop, in turn, with the order swapped each pair."""
    rival, plain = Trainer(key, setting), Trainer("noise", setting)
    for trainer in (rival, plain):  # the first steps allocate, compile and warm caches
        trainer.train(max(block, 2))
    pairs: list[tuple[Timing, Timing]] = []
    for number in range(n_pairs):
        if number % 2:
            base = plain.train(block)
            pairs.append((rival.train(block), base))
        else:
            timing = rival.train(block)
            pairs.append((timing, plain.train(block)))
    plain.close()
    written, peak = rival.close()
    return Outcome(
        cpu=spread((a.cpu, b.cpu) for a, b in pairs),
        wall=spread((a.wall, b.wall) for a, b in pairs),
        plain_step_s=statistics.median(b.wall for _, b in pairs) / block,
        written_per_step=written,
        peak_bytes=peak,
    )


def spread(pairs: Iterable[tuple[float, float]]) -> Spread:
    """Median, quartiles and total of the ratios of pairs."""
    both = list(pairs)
    ratios = [a / b for a, b in both]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Spread(median, low, high, sum(a for a, _ in both) / sum(b for _, b in both))
