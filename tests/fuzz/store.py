"""Spoil run folders a million times, and see that the reader never does anything but say so.

    python -m tests.fuzz.store --n 1000000            # all of it; --start goes on where it ended

Each case is settled by its number and the seed. It fails if the process that reads dies, if it
takes more than 5 seconds or more than 1 GB of memory, if anything but a `StoreError` comes out, or
if code is run, a process started, a socket opened or a file written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MOST_SECONDS = 5.0
MOST_BYTES = 1_000_000_000
BATCH = 200
WARM_UP = 300
_FORBIDDEN = (
    *("exec", "compile", "import", "pickle.find_class", "marshal.loads", "code.__new__"),
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.dlopen"),
    *("socket.connect", "socket.bind", "os.kill", "os.chown"),
)


@dataclass
class Outcome:
    """What came of many cases."""

    counts: Counter[str] = field(default_factory=Counter[str])
    worst_s: float = 0.0
    worst_case: int = -1
    peak_bytes: int = 0
    failures: list[str] = field(default_factory=list[str])

    @property
    def tried(self) -> int:
        """How many cases were tried."""
        return self.counts.total()


def fuzz(n: int, *, start: int = 0, seed: int = 0, say_every: int = 0) -> Outcome:
    """Try some cases in processes that may die of them."""
    outcome = Outcome()
    number = start
    began = time.monotonic()
    deadly: set[int] = set()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="deephochuli-fuzz-", dir=memory if memory.is_dir() else None
    ) as folder:
        work = (Path(folder), seed, deadly)
        while number < start + n:
            number = _run_worker(number, start + n, work, outcome, say_every, began)
    return outcome


def _run_worker(
    number: int,
    stop: int,
    work: tuple[Path, int, set[int]],
    outcome: Outcome,
    say_every: int,
    began: float,
) -> int:
    """Let a process try cases until it is done, dies or hangs; returns the next case."""
    context = multiprocessing.get_context("fork" if sys.platform != "win32" else "spawn")
    here, there = context.Pipe(duplex=False)
    current = context.Value("q", number, lock=False)
    worker = context.Process(target=_work, args=(there, current, number, stop, *work))
    worker.start()
    there.close()
    try:
        while number < stop:
            # The warm-up and the making of the runs come before the first batch.
            if not _wait(here, current, worker.pid, number == current.value):
                _note(outcome, f"case {current.value}: hangs")
                break
            part: dict[str, Any] = here.recv()
            _add(outcome, part)
            number = part["next"]
            if say_every and number // say_every != (number - part["tried"]) // say_every:
                _say(outcome, time.monotonic() - began)
            if part["failures"] and number < stop:
                return number
    except EOFError:
        worker.join()
        _note(outcome, f"case {current.value}: the process ends ({worker.exitcode})")
    finally:
        worker.kill()
        worker.join()
        here.close()
    if number < stop:  # the next process tries the batch again, without this case
        outcome.counts["failed"] += 1
        if current.value in work[2]:  # it was left out, and yet the process has ended
            raise RuntimeError(f"A process ends before case {current.value}: see its output.")
        work[2].add(current.value)
    return number


def _wait(here: Connection, current: Any, pid: int | None, is_first: bool) -> bool:
    """Whether the worker goes on: another case is begun, or a batch is done, in time."""
    before, since, spent = current.value, time.monotonic(), _cpu_seconds(pid)
    limit = 60.0 if is_first else MOST_SECONDS
    while not here.poll(0.2):
        if current.value != before:
            before, since, spent = current.value, time.monotonic(), _cpu_seconds(pid)
            limit = MOST_SECONDS
        # On a busy machine a process waits for its turn: that is no hang until much later.
        elif (waited := time.monotonic() - since) > limit and (
            _cpu_seconds(pid) - spent > limit or waited > 10 * limit
        ):
            return False
    return True


def _cpu_seconds(pid: int | None) -> float:
    """CPU time of a process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _note(outcome: Outcome, failure: str) -> None:
    outcome.failures.append(failure)
    print(failure, flush=True)


def _add(outcome: Outcome, part: dict[str, Any]) -> None:
    outcome.counts.update(part["counts"])
    for failure in part["failures"]:
        _note(outcome, failure)
    outcome.peak_bytes = max(outcome.peak_bytes, part["peak"])
    if part["worst"] > outcome.worst_s:
        outcome.worst_s, outcome.worst_case = part["worst"], part["worst_case"]


def _work(
    there: Connection,
    current: Any,
    start: int,
    stop: int,
    folder: Path,
    seed: int,
    deadly: set[int],
) -> None:
    """Try cases one after the other, and report in batches."""
    from tests.fuzz.cases import make_grounds, run_case

    folder = Path(tempfile.mkdtemp(dir=folder))
    inherited = _peak()  # a forked process begins with the peak of its parent
    try:
        grounds = make_grounds(folder)
        for number in range(WARM_UP):
            run_case(grounds, number, seed=1 << 20)
        watch = _Watch()
        parent = os.getppid()
        for first in range(start, stop, BATCH):
            part: dict[str, Any] = {"counts": Counter[str](), "failures": [], "worst": 0.0}
            for number in range(first, min(first + BATCH, stop)):
                current.value = number
                if number in deadly:
                    continue
                case = partial(run_case, grounds, number, seed)
                _try(part, watch, number, case, inherited)
                if part["failures"]:
                    break
            part.setdefault("worst_case", first)
            part["next"] = current.value + 1
            part["tried"] = part["next"] - first
            part["peak"] = _peak() - inherited
            there.send(part)
            if part["failures"] or os.getppid() != parent:
                return
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _try(part: dict[str, Any], watch: _Watch, number: int, case: Any, inherited: int) -> None:
    began = time.process_time()
    try:
        part["counts"][case()] += 1
    except Exception:
        part["counts"]["failed"] += 1
        part["failures"].append(f"case {number}: {traceback.format_exc(limit=-6)}")
    spent = time.process_time() - began
    if spent >= part["worst"]:
        part["worst"], part["worst_case"] = spent, number
    if watch.seen:
        part["failures"].append(f"case {number}: does {watch.seen[:3]}")
    if (taken := _peak() - inherited) > MOST_BYTES:
        part["failures"].append(f"case {number}: takes {taken:,} bytes")


def _peak() -> int:
    """Most memory that this process has had."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class _Watch:
    """Notes what a reader of data has no reason to do."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, details: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {details!r:.200}")


def _say(outcome: Outcome, seconds: float) -> None:
    counts = outcome.counts
    print(
        f"tried {outcome.tried:,}: refused {counts['refused']:,}, read {counts['read']:,}, failed "
        f"{len(outcome.failures)}; worst {outcome.worst_s:.3f} s (case {outcome.worst_case}), "
        f"peak {outcome.peak_bytes / 1e6:.0f} MB, {seconds:.0f} s",
        flush=True,
    )


def main() -> int:
    """Try many cases, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="how many cases")
    parser.add_argument("--start", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    outcome = fuzz(options.n, start=options.start, seed=options.seed, say_every=20_000)
    _say(outcome, time.monotonic() - began)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
