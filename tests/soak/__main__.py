"""Record very many steps of a very small net, and watch the memory of the process and the disk.

From the root of the repository: python -m tests.soak [--steps 1000000] [--cap-gib 4] [--to FOLDER]

The last line says how the resident memory grew after the warm-up, by a straight line through the
readings, and how large the run became. Exit code 1 if it grew by 1 MB an hour or more, or the run
is larger than its cap.

Chunks double as a run gets longer, up to a cap of bytes, and rows wait in memory until their chunk
is written. So memory is read when a chunk has just been written, after free pages went back to the
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
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from deephochuli.record import record
from deephochuli.store import RunReader, open_run

STEPS_BETWEEN_LOOKS = 20
MOST_BYTES_PER_HOUR = 1e6


def resident_bytes() -> int:
    """Memory of this process that is in use, as Linux tells it."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def n_entries(folder: Path) -> int:
    """Files and folders in a folder."""
    return sum(1 for _ in folder.iterdir())


def returned_to_the_system() -> None:
    """Give free pages back, so that what is resident is what is held and not what was needed."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def end_of_warm_up(run: RunReader) -> int:
    """The last step of the first chunk of the largest size; chunks that nearly have it count."""
    seals = [chunk.seal for chunk in run.chunks if chunk.seal is not None]
    largest = max(seal.n_steps for seal in seals)
    return next(seal.step_last for seal in seals if seal.n_steps > 0.9 * largest)


def soak(folder: Path, n_steps: int, cap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train and record; step, seconds and resident bytes at each reading."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    x = torch.randn(4, 2)
    readings: list[tuple[int, float, int]] = []
    n_files = 0
    began = time.monotonic()
    with record(model, optimizer, to=folder, max_bytes=cap):
        for step in range(n_steps):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            if step % STEPS_BETWEEN_LOOKS == 0 and n_entries(folder) > n_files:
                n_files = n_entries(folder)
                returned_to_the_system()
                readings.append((step, time.monotonic() - began, resident_bytes()))
                print(f"\r{step} steps, {readings[-1][2] / 1e6:.1f} MB", end="", file=sys.stderr)
    print(file=sys.stderr)
    steps, seconds, resident = zip(*readings, strict=True)
    return np.array(steps), np.array(seconds), np.array(resident)


def slope_of(seconds: np.ndarray, resident: np.ndarray) -> tuple[float, float]:
    """Bytes an hour of a straight line through the readings, and their standard error."""
    hours = seconds / 3600
    (slope, _), covariance = np.polyfit(hours, resident, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--cap-gib", type=float, default=4.0)
    parser.add_argument("--to", type=Path, default=None)
    options = parser.parse_args()
    folder = options.to or Path(tempfile.mkdtemp()) / "run"
    cap = int(options.cap_gib * 2**30)
    steps, seconds, resident = soak(folder, options.steps, cap)
    run, size = open_run(folder), bytes_in(folder)
    warm = end_of_warm_up(run)
    late = steps > warm
    slope, error = slope_of(seconds[late], resident[late])
    n_recorded, n_chunks = len(run.steps["step"]), run.n_chunks
    if options.to is None:
        shutil.rmtree(folder.parent)
    print(
        f"{n_recorded} of {options.steps} steps recorded in {n_chunks} chunks, {size / 1e6:.1f} MB "
        f"on disk (cap {cap / 1e6:.0f} MB), {seconds[-1]:.0f} s; resident memory "
        f"{resident[0] / 1e6:.1f} MB at first, {resident[late][0] / 1e6:.1f} MB after the warm-up "
        f"of {warm} steps, {resident[-1] / 1e6:.1f} MB at the end: {slope / 1e6:+.3f} MB an hour "
        f"(standard error {error / 1e6:.3f}) over {late.sum()} readings"
    )
    failed = slope >= MOST_BYTES_PER_HOUR or size > cap or n_recorded != options.steps
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
