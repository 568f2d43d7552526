"""Record very many steps of a very small net, and watch the memory of the process and the disk.

From the root of the repository: python -m tests.soak [--steps 1000000] [--cap-gib 4] [--to FOLDER]

The last lines say how the resident memory and the memory in use grew after the warm-up, by straight
lines through the readings, and how large the run became. Exit code 1 if one of them grew by 1 MB an
hour or more, or the run is larger than its cap.

Chunks double as a run gets longer, up to a cap, and rows wait in memory until their chunk is
written. So memory is read when a chunk has just been written, after free pages went back to the
system, and the warm-up ends with the first chunk of the largest size; what the bounded buffers take
until then is told beside the slope.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from deephochuli.record import record
from deephochuli.store import RunReader, open_run

STEPS_BETWEEN_LOOKS = 20
MOST_BYTES_PER_HOUR = 1e6


@dataclass(frozen=True, slots=True)
class Reading:
    """Memory just after a chunk was written.

    Attributes:
        step: Steps so far.
        hours: Time so far.
        resident: Bytes of the process in memory, as Linux tells it.
        in_use: Bytes that the C library's allocator and Arrow's have given out and not got back.
    """

    step: int
    hours: float
    resident: float
    in_use: float


class _Allocator(ctypes.Structure):
    """What mallinfo2 of the C library returns."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        ).split()
    ]


LIBRARY = ctypes.CDLL(None)
LIBRARY.mallinfo2.restype = _Allocator


def read(step: int, hours: float) -> Reading:
    """Read memory, after free pages went back to the system."""
    pa.default_memory_pool().release_unused()
    LIBRARY.malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    given = LIBRARY.mallinfo2()
    in_use = given.uordblks + given.hblkhd + pa.total_allocated_bytes()
    return Reading(step, hours, pages * 4096, in_use)


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def n_entries(folder: Path) -> int:
    """Files and folders in a folder."""
    return sum(1 for _ in folder.iterdir())


def end_of_warm_up(run: RunReader) -> int:
    """The last step of the first chunk of the largest size; chunks that nearly have it count."""
    seals = [chunk.seal for chunk in run.chunks if chunk.seal is not None]
    largest = max(seal.n_steps for seal in seals)
    return next(seal.step_last for seal in seals if seal.n_steps > 0.9 * largest)


def soak(folder: Path, n_steps: int, cap: int) -> list[Reading]:
    """Train and record, and read memory whenever a chunk was written."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    x = torch.randn(4, 2)
    readings: list[Reading] = []
    n_files = 0
    began = time.monotonic()
    with record(model, optimizer, to=folder, max_bytes=cap):
        for step in range(n_steps):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            if step % STEPS_BETWEEN_LOOKS == 0 and n_entries(folder) > n_files:
                n_files = n_entries(folder)
                readings.append(read(step, (time.monotonic() - began) / 3600))
                now = f"\r{step} steps, {readings[-1].resident / 1e6:.1f} MB"
                print(now, end="", file=sys.stderr)
    print(file=sys.stderr)
    return readings


def told(name: str, readings: list[Reading]) -> tuple[str, float]:
    """How a kind of memory grew, in words, and its slope in bytes an hour."""
    values = [getattr(reading, name) for reading in readings]
    hours = [reading.hours for reading in readings]
    (slope, _), covariance = np.polyfit(hours, values, 1, cov=True)
    error = float(np.sqrt(covariance[0, 0]))
    words = (
        f"{name.replace('_', ' ')}: {values[0] / 1e6:.1f} to {values[-1] / 1e6:.1f} MB, "
        f"{slope / 1e6:+.3f} MB an hour (standard error {error / 1e6:.3f})"
    )
    return words, float(slope)


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--cap-gib", type=float, default=4.0)
    parser.add_argument("--to", type=Path, default=None)
    options = parser.parse_args()
    folder = options.to or Path(tempfile.mkdtemp()) / "run"
    cap = int(options.cap_gib * 2**30)
    readings = soak(folder, options.steps, cap)
    run, size = open_run(folder), bytes_in(folder)
    warm = end_of_warm_up(run)
    late = [reading for reading in readings if reading.step > warm]
    n_recorded, n_chunks = len(run.steps["step"]), run.n_chunks
    if options.to is None:
        shutil.rmtree(folder.parent)
    print(
        f"{n_recorded} of {options.steps} steps recorded in {n_chunks} chunks, {size / 1e6:.1f} MB "
        f"on disk (cap {cap / 1e6:.0f} MB), {readings[-1].hours:.2f} hours; resident at first: "
        f"{readings[0].resident / 1e6:.1f} MB"
    )
    print(f"after the warm-up of {warm} steps, {len(late)} readings:")
    failed = size > cap or n_recorded != options.steps
    for name in ("resident", "in_use"):
        words, slope = told(name, late)
        failed |= slope >= MOST_BYTES_PER_HOUR
        print(words)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
