"""What counting costs beside other passes over the same memory.

Everything is measured in turn, round by round, in one run; a table entry is the median over the
rounds of the ratio to a reference of the same round, so that what else the machine does hits both.
One thread: CPU time of the calling thread. More threads: wall clock. Usage:

    python benchmarks/kernels.py [--rounds 25] [--threads 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from deephochuli.kernels import TensorJob, UpdateJob, cpu_backend

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` is speed relative to the reference, higher is faster."""

    what: str
    relative_to: str
    ratio: float
    target: str


def composition(x: torch.Tensor) -> Call:
    """The same statistics by eager torch operations: histogram of 13 leading bits and moments."""

    def run() -> object:
        bits = x.view(torch.int32)
        sticky = ((bits & 0xFFFFF) != 0).to(torch.int32)
        index = (((bits >> 20) & 0xFFF) << 1) | sticky
        magnitude = x.abs()
        wide = x.double()
        return (
            torch.bincount(index, minlength=8192),
            wide.sum(),
            (wide * wide).sum(),
            magnitude.max(),
            torch.where(magnitude > 0, magnitude, torch.inf).min(),
        )

    return run


def seconds(call: Call, clock: Callable[[], float], repeats: int) -> float:
    """Time of one call, of some in a row."""
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def interleaved(
    calls: dict[str, Call], rounds: int, clock: Callable[[], float], repeats: int
) -> dict[str, list[float]]:
    """Time all calls in turn, round by round, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = seconds(call, clock, repeats)
            if number:
                times[name].append(taken)
    return times


def ratio(times: dict[str, list[float]], reference: str, name: str) -> float:
    """Median over the rounds of reference time / time."""
    return statistics.median(a / b for a, b in zip(times[reference], times[name], strict=True))


def data(n: int) -> dict[str, torch.Tensor]:
    """Ordinary numbers, the output of a ReLU, and every exponent there is."""
    patterns = torch.randint(-(2**31), 2**31 - 1, (n,)).to(torch.int32)
    patterns = torch.where((patterns & 0x7F800000) == 0x7F800000, 0, patterns)
    x = torch.randn(n)
    return {"randn": x, "relu": x.relu(), "all binades": patterns.view(torch.float32)}


def plain_rows(n: int, size: str, rounds: int) -> list[Row]:
    """Counting float32 tensors on one thread, beside sum, clone and the torch composition."""
    backend, rows = cpu_backend(), []
    repeats = max(1, (1 << 18) // n)
    for kind, x in data(n).items():
        calls: dict[str, Call] = {
            "sum": x.sum,
            "clone": x.clone,
            "stats": lambda x=x: backend.summarise([TensorJob(x)]),
        }
        if n <= 1 << 16:
            calls["torch"] = composition(x)
        times = interleaved(calls, rounds, time.thread_time, repeats)
        targets = TARGETS[n > 1 << 16, kind == "all binades"]
        for other in calls.keys() - {"stats"}:
            name = f"stats, {size}, {kind}"
            rows.append(Row(name, other, ratio(times, other, "stats"), targets.get(other, "")))
    return rows


TARGETS: dict[tuple[bool, bool], dict[str, str]] = {
    (False, False): {"sum": ">= 0.12", "clone": ">= 0.22", "torch": ">= 15"},
    (False, True): {"sum": ">= 0.08"},
    (True, False): {"sum": ">= 0.5", "clone": ">= 1.5"},
    (True, True): {"sum": ">= 0.3"},
}


def channel_rows(rounds: int) -> list[Row]:
    """Extra time of counts per channel over the plain pass."""
    backend, rows = cpu_backend(), []
    for shape, last, target in (
        ((16, 64, 32, 32), False, "<= 0.60"),
        ((64, 256, 8, 8), False, ""),
        ((64, 1024, 4, 4), False, ""),
        ((16, 64, 32, 32), True, "<= 0.35"),
    ):
        x = torch.randn(shape)
        if last:
            x = x.contiguous(memory_format=torch.channels_last)
        calls: dict[str, Call] = {
            "plain": lambda x=x: backend.summarise([TensorJob(x)]),
            "channels": lambda x=x: backend.summarise([TensorJob(x, 1)]),
        }
        times = interleaved(calls, rounds, time.thread_time, 1)
        name = f"channels, {'x'.join(map(str, shape))}{' channels_last' if last else ''}"
        rows.append(Row(name, "extra over plain", ratio(times, "channels", "plain") ** -1, target))
    return [Row(r.what, r.relative_to, 1 / r.ratio - 1, r.target) for r in rows]


def update_rows(rounds: int) -> list[Row]:
    """One optimizer step over 250 parameters: weights, gradients, updates; per tensor and byte."""
    backend = cpu_backend()
    small = [update_job(64) for _ in range(250)]
    large = [update_job(1 << 20) for _ in range(4)]
    calls: dict[str, Call] = {
        "sum": lambda: [(job.before.sum(), job.after.sum()) for job in large],
        "large": lambda: backend.summarise_updates(large),
    }
    times = interleaved(calls, rounds, time.thread_time, 1)
    per_job = min(
        interleaved(
            {"small": lambda: backend.summarise_updates(small)}, rounds, time.thread_time, 1
        )["small"]
    )
    return [
        Row(
            "update of 4 x 1 Mi elements",
            "sum of two of the tensors",
            ratio(times, "sum", "large"),
            "",
        ),
        Row("update of 250 x 64 elements", "us per parameter", per_job / 250 * 1e6, ""),
    ]


def update_job(n: int) -> UpdateJob:
    """A parameter before and after a step of SGD."""
    before, gradient = torch.randn(n), torch.randn(n)
    return UpdateJob(before, before - 1e-3 * gradient, gradient)


def call_rows(rounds: int) -> list[Row]:
    """Time of one call on a tiny tensor."""
    rows, x = cpu_backend().rows(), torch.randn(10)
    calls: dict[str, Call] = {"add": lambda: rows.add(0, TensorJob(x))}
    times = interleaved(calls, rounds, time.thread_time, 200)["add"]
    rows.read()
    return [Row("rows.add, 10 elements", "us", min(times) * 1e6, "")]


def thread_rows(threads: int, rounds: int) -> list[Row]:
    """Wall clock of several threads over that of one."""
    backend, rows = cpu_backend(), []
    for n, size in ((1 << 18, "1 MiB"), (1 << 24, "64 MiB")):
        x = torch.randn(n)

        def on(count: int, x: torch.Tensor = x) -> object:
            torch.set_num_threads(count)
            return backend.summarise([TensorJob(x)])

        calls: dict[str, Call] = {"one": lambda on=on: on(1), "all": lambda on=on: on(threads)}
        times = interleaved(calls, rounds, time.perf_counter, max(1, (1 << 20) // n))
        rows.append(
            Row(f"{threads} threads, {size}", "1 thread", ratio(times, "one", "all"), ">= 1.4")
        )
    torch.set_num_threads(1)
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    few = max(5, arguments.rounds // 4)
    rows = plain_rows(1 << 16, "256 KiB", arguments.rounds) + plain_rows(1 << 24, "64 MiB", few)
    rows += channel_rows(few) + update_rows(few) + call_rows(few)
    rows += thread_rows(arguments.threads, few)
    if arguments.json:
        print(json.dumps([vars(row) for row in rows]))
        return
    print(f"{'measured':38} {'relative to':28} {'ratio':>8}  target")
    for row in rows:
        print(f"{row.what:38} {row.relative_to:28} {row.ratio:8.2f}  {row.target}")


if __name__ == "__main__":
    main()
