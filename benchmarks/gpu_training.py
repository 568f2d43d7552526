"""The parts of benchmarks/gpu.py that train: what recording costs, what it waits for, and where."""

from __future__ import annotations

import importlib
import re
import statistics
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_work import TRAINED, Budget, Clock, Table, Trained, timed_functions
from pairs import Spread, spread

import deephochuli
from deephochuli.record import Recording, record
from deephochuli.store import StepRow, TapRow

PACKAGE = Path(deephochuli.__file__).parent
SPARSE = 20
"""Every so many steps are recorded in the sparse blocks."""


class Switch:
    """A schedule that can be turned; a recorder asks it about a step when the one before ends."""

    def __init__(self) -> None:
        """Begin with every step."""
        self.turn(1)

    def turn(self, every: int, at: int = 0) -> None:
        """Record every so many steps, one of them a step of this number."""
        self._every, self._at = every, at

    def __call__(self, step: int) -> bool:
        """Say whether a step is recorded."""
        return (step - self._at) % self._every == 0


class Counted:
    """Counts the tensors that were seen in recorded steps."""

    def __init__(self) -> None:
        """Begin with none."""
        self.n_tensors = self.n_rows = self.n_steps = 0

    def begin(self, recording: Recording) -> None:
        """Take no notice."""

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Count the tensors of one step."""
        self.n_steps += 1
        self.n_rows += len(taps)
        self.n_tensors += sum(tap.calls for tap in taps)

    def chunk(self) -> None:
        """Take no notice."""

    def end(self) -> None:
        """Take no notice."""


@dataclass
class Recorded:
    """A training that is being recorded, and what can be turned and read of it."""

    switch: Switch
    counted: Counted
    recording: Recording
    folder: Path

    def flush(self) -> float:
        """Write what waits; seconds of wall clock."""
        start = time.perf_counter()
        self.recording.flush()
        return time.perf_counter() - start


@contextmanager
def recorded(training: Trained) -> Iterator[Recorded]:
    """Record everything of a training, in a folder that is removed at the end."""
    switch, counted = Switch(), Counted()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        with record(
            training.model, training.optimizer, to=folder, every=switch, follow=counted
        ) as recording:
            yield Recorded(switch, counted, recording, folder)


STEPS_HEAD = (
    "model", "recorded", "device: median (quartiles)", "wall: median (quartiles)",
    "wall with writing", "plain step, ms", "recorded step, ms", "peak memory, GiB",
)  # fmt: skip


def steps_part(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """Blocks of steps, plain and recorded in turn, of the same model."""
    table = Table("Recording everything: ratios to the plain step", STEPS_HEAD).begin()
    yield table
    for key, share in zip(TRAINED, budget.shares(len(TRAINED)), strict=True):
        training = TRAINED[key](device, quick)
        lengths = {1: 2, 4: 4} if quick else {1: 10, SPARSE: SPARSE}
        compare(table, training, training, 2 if quick else 6, lengths, share)


def compiled_part(
    device: torch.device, quick: bool, budget: Budget, backend: str
) -> Iterator[Table]:
    """The same under torch.compile: two models, one of which is recorded all the time."""
    table = Table(f"The same under torch.compile ({backend})", STEPS_HEAD).begin()
    yield table
    for key, share in zip(TRAINED, budget.shares(len(TRAINED)), strict=True):
        plain, ours = (TRAINED[key](device, quick) for _ in range(2))
        for training in (plain, ours):
            training.model.compile(backend=backend)
        lengths = {1: 2, 4: 4} if quick else {1: 10, SPARSE: SPARSE}
        compare(table, plain, ours, 2 if quick else 5, lengths, share)
        torch.compiler.reset()
        if budget.is_spent:
            table.note("out of time: the rest is left out")
            return


@dataclass(frozen=True)
class Block:
    """Seconds of one block of steps: between events of the device, by the wall, and for writing."""

    device: float
    wall: float
    writing: float = 0.0


def compare(
    table: Table, plain: Trained, ours: Trained, n_pairs: int, lengths: dict[int, int],
    budget: Budget,
) -> None:  # fmt: skip
    """Time blocks in turn, of so many steps for each schedule, and add a line for each.

    Where both are one training, recording begins and ends around each block.
    """
    clock = Clock(plain.device)
    pairs: dict[int, list[tuple[Block, Block]]] = {every: [] for every in lengths}
    plain.run(3)
    with ExitStack() as stack:
        held = None if ours is plain else stack.enter_context(recorded(ours))
        for number in range(n_pairs):
            if number >= 2 and budget.is_spent:
                table.note(f"{ours.name}: out of time after {number} of {n_pairs} pairs")
                break
            for every, length in lengths.items():
                first = plain_block(clock, plain, length) if number % 2 else None
                mine = our_block(clock, ours, held, every, length)
                pairs[every].append((mine, first or plain_block(clock, plain, length)))
    peak = torch.cuda.max_memory_allocated(clock.device) / 2**30 if clock.is_cuda else 0.0
    for every, both in pairs.items():
        table.add(
            ours.name,
            "every step" if every == 1 else f"1 in {every}",
            shown(spread((a.device, b.device) for a, b in both)),
            shown(spread((a.wall, b.wall) for a, b in both)),
            shown(spread((a.wall + a.writing, b.wall) for a, b in both)),
            f"{statistics.median(b.wall for _, b in both) / lengths[every] * 1e3:.2f}",
            f"{statistics.median(a.wall for a, _ in both) / lengths[every] * 1e3:.2f}",
            f"{peak:.1f}",
        )


def plain_block(clock: Clock, training: Trained, length: int) -> Block:
    """Time one block of steps as they are."""
    training.run(1)
    return Block(*clock.block(lambda: training.run(length)))


def our_block(
    clock: Clock, training: Trained, held: Recorded | None, every: int, length: int
) -> Block:
    """Time one recorded block, and the writing of what it left; rows and buffers are made before.

    Of a sparse block the step in the middle is recorded.
    """
    if held is None:
        with recorded(training) as begun:
            return our_block(clock, training, begun, every, length)
    held.switch.turn(1)
    training.run(1)
    held.switch.turn(every, held.recording.n_steps + 1 + length // 2)
    training.run(1)
    held.flush()
    taken = clock.block(lambda: training.run(length))
    return Block(*taken, held.flush())


def shown(found: Spread) -> str:
    """Median and quartiles as one cell."""
    return f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"


def syncs_part(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """How often a step waits for the device, and where."""
    head = ("model", "steps", "waits per step", "tensors seen per step", "waits per tensor")
    table = Table("Calls that wait for the device", head).begin()
    where = Table("Where a recorded step waits", ("model", "per step", "line, called from"))
    yield table
    yield where
    for key in TRAINED:
        training = TRAINED[key](device, quick)
        training.run(2)
        places = waits(training, 2)
        table.add(training.name, "plain", places.total() / 2, "", "")
        with recorded(training) as begun:
            training.run(2)
            before = begun.counted.n_tensors
            places = waits(training, 2)
            seen = (begun.counted.n_tensors - before) / 2
        per_step = places.total() / 2
        table.add(training.name, "recorded", per_step, seen, f"{per_step / max(seen, 1):.3f}")
        for place, count in places.most_common():
            where.rows.append((training.name, f"{count / 2:g}", place))
    where.begin()


def waits(training: Trained, n_steps: int) -> Counter[str]:
    """Places of the calls that wait for the device during some steps, as torch itself warns."""
    places: Counter[str] = Counter()
    threads = threading.Lock()  # backward passes run in threads of their own

    def note(message: Warning | str, *_: object, **__: object) -> None:
        if "synchronizing CUDA operation" in str(message):
            with threads:
                places[caller()] += 1

    if training.device.type != "cuda":
        training.run(n_steps)
        return places
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            training.run(n_steps)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return places


def caller() -> str:
    """The innermost three lines of the package, or of this training, that are being run."""
    homes = (str(PACKAGE), str(Path(__file__).parent))
    frames = traceback.extract_stack()[:-2]
    ours = [f for f in frames if f.filename.startswith(homes)] or frames
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(ours[-3:]))


def profile_part(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """What the device does in recorded steps, and how long the calling thread is ours."""
    for key in TRAINED:
        training = TRAINED[key](device, quick)
        training.run(2)
        # A recording keeps functions that it was given: what is timed is exchanged before it.
        with timed_functions(functions_of(device)) as taken, recorded(training) as begun:
            training.run(2)
            yield from host_times(training, taken, 3)
            yield from device_times(training, 2)
            table = Table(f"{training.name}: what a step leaves", ("what", "per step")).begin()
            begun.flush()
            written = sum(p.stat().st_size for p in begun.folder.rglob("*") if p.is_file())
            n_steps = begun.counted.n_steps
            table.add("rows", begun.counted.n_rows // n_steps)
            table.add("tensors seen", begun.counted.n_tensors // n_steps)
            table.add("bytes written", written // n_steps)
            yield table
        if budget.is_spent:
            return


def host_times(training: Trained, taken: dict[str, list[float]], n_steps: int) -> Iterator[Table]:
    """Seconds on the host in our functions; those of a function include what it calls."""
    before = {name: tuple(numbers) for name, numbers in taken.items()}
    wall = Clock(training.device).block(lambda: training.run(n_steps))[1]
    head = ("function", "calls per step", "ms per step", "us per call")
    table = Table(f"{training.name}: the host in recorded steps", head).begin()
    table.add("a whole step, wall", 1, f"{wall / n_steps * 1e3:.2f}", "")
    found = {
        name: (taken[name][0] - calls, taken[name][1] - seconds)
        for name, (calls, seconds) in before.items()
    }
    for name, (calls, seconds) in sorted(found.items(), key=lambda item: -item[1][1]):
        table.add(
            name,
            f"{calls / n_steps:g}",
            f"{seconds / n_steps * 1e3:.3f}",
            f"{seconds / max(calls, 1) * 1e6:.1f}",
        )
    yield table


def functions_of(device: torch.device) -> dict[str, tuple[Any, str]]:
    """The functions whose time on the host is of interest."""
    recorder = importlib.import_module("deephochuli.record._recorder")
    store = importlib.import_module("deephochuli.store")
    homes: dict[str, tuple[Any, str]] = {
        "Recorder.see": (recorder.Recorder, "see"),
        "Recorder._keep_weights": (recorder.Recorder, "_keep_weights"),
        "Recorder._read_update": (recorder.Recorder, "_read_update"),
        "Recorder._end_step": (recorder.Recorder, "_end_step"),
        "Recorder._summarise": (recorder.Recorder, "_summarise"),
        "RunWriter.append": (store.RunWriter, "append"),
    }
    if device.type == "cuda":
        cuda = importlib.import_module("deephochuli.kernels._cuda")
        store = importlib.import_module("deephochuli.kernels._device_store")
        homes |= {
            "Recorder.settle": (recorder.Recorder, "settle"),
            "CudaRows.add": (store.CudaRows, "add"),
            "CudaRows.begin_read": (store.CudaRows, "begin_read"),
            "CudaRows.summaries": (store.CudaRows, "summaries"),
            "CudaBackend.begin": (cuda.CudaBackend, "begin"),
            "CudaBackend.begin_updates": (cuda.CudaBackend, "begin_updates"),
            "CudaBackend._tables": (cuda.CudaBackend, "_tables"),
            "of parameters: to_host": (cuda, "to_host"),
            "of parameters: summaries_of": (cuda, "summaries_of"),
            "row_of": (recorder, "row_of"),
        }
    return homes


def is_remark(event: Any) -> bool:
    """Whether an event of a profile spans others, as that of an optimizer's step does."""
    return getattr(event, "is_user_annotation", False) or event.key.startswith("Optimizer.")


def device_times(training: Trained, n_steps: int) -> Iterator[Table]:
    """The kernels that take most of the device's time, and what the host asks of its driver."""
    from torch.profiler import ProfilerActivity, profile

    if training.device.type != "cuda":
        return
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        training.run(n_steps)
        torch.cuda.synchronize()
    events = profiler.key_averages()
    on_device = [
        event
        for event in events
        if event.device_type != torch.autograd.DeviceType.CPU and not is_remark(event)
    ]
    on_device.sort(key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in on_device)
    table = Table(
        f"{training.name}: the device in recorded steps, {total / n_steps / 1e3:.2f} ms a step",
        ("kernel", "calls per step", "ms per step", "share"),
    ).begin()
    ours = re.compile(r"\b(count|channel_of)_")
    for event in on_device[:15] + [e for e in on_device[15:] if ours.search(e.key)]:
        taken = event.self_device_time_total
        table.add(
            event.key[:60].replace("|", "/"),
            f"{event.count / n_steps:g}",
            f"{taken / n_steps / 1e3:.3f}",
            f"{taken / max(total, 1):.1%}",
        )
    yield table
    calls = Table(f"{training.name}: driver calls", ("call", "per step", "ms per step")).begin()
    for event in sorted(events, key=lambda e: -e.self_cpu_time_total):
        if event.key.startswith(("cuda", "cu")):
            taken = event.self_cpu_time_total / n_steps / 1e3
            calls.add(event.key, f"{event.count / n_steps:g}", f"{taken:.3f}")
    yield calls
