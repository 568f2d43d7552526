"""Record very many steps of a very small net, and watch the memory of the process and the disk.

From the root of the repository: python -m tests.soak [--steps 1000000] [--cap-gib 4] [--to FOLDER]

The last line says how the resident memory grew after the warm-up (the first tenth), by a straight
line through the readings, and how large the run became. Exit code 1 if it grew by 1 MB an hour or
more, or the run is larger than its cap.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deephochuli.record import record
from deephochuli.store import open_run

N_READINGS = 400
MOST_BYTES_PER_HOUR = 1e6


def resident_bytes() -> int:
    """Memory of this process that is in use, as Linux tells it."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def soak(folder: Path, n_steps: int, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and record; seconds and resident bytes of each reading."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    x = torch.randn(4, 2)
    seconds, resident = [], []
    began = time.monotonic()
    with record(model, optimizer, to=folder, max_bytes=cap):
        for step in range(n_steps):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            if step % max(1, n_steps // N_READINGS) == 0:
                seconds.append(time.monotonic() - began)
                resident.append(resident_bytes())
                print(f"\r{step} steps, {resident[-1] / 1e6:.1f} MB", end="", file=sys.stderr)
    print(file=sys.stderr)
    return np.array(seconds), np.array(resident)


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--cap-gib", type=float, default=4.0)
    parser.add_argument("--to", type=Path, default=None)
    options = parser.parse_args()
    folder = options.to or Path(tempfile.mkdtemp()) / "run"
    cap = int(options.cap_gib * 2**30)
    seconds, resident = soak(folder, options.steps, cap)
    late = slice(len(seconds) // 10, None)
    slope = np.polyfit(seconds[late], resident[late], 1)[0] * 3600
    run, size = open_run(folder), bytes_in(folder)
    n_recorded, n_chunks = len(run.steps["step"]), run.n_chunks
    if options.to is None:
        shutil.rmtree(folder.parent)
    print(
        f"{n_recorded} of {options.steps} steps recorded in {n_chunks} chunks, {size / 1e6:.1f} MB "
        f"on disk (cap {cap / 1e6:.0f} MB), {seconds[-1]:.0f} s; resident memory "
        f"{resident[late][0] / 1e6:.1f} to {resident[-1] / 1e6:.1f} MB, "
        f"{slope / 1e6:+.3f} MB an hour"
    )
    failed = slope >= MOST_BYTES_PER_HOUR or size > cap or n_recorded != options.steps
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
