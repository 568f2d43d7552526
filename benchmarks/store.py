"""What a run folder costs: bytes per tap and step, CPU time of a step, time to read it again.

    python benchmarks/store.py                     # one size, every step recorded
    python benchmarks/store.py --layers 100 --steps 1000 --keep runs/large

Rows are drawn, not trained: each tap is a tensor of normal values of 2**16 to 2**21 elements whose
histogram is sampled anew in each step; a quarter are stored in bfloat16, a quarter has exact zeros.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow, open_run

QUANTITIES = ("z", "dz", "w", "g", "dw", "da", "state:exp_avg", "state:exp_avg_sq")
STICKY = np.uint64((1 << 49) - 1)
N_CHANNELS = 64
N_VARIANTS = 16


@dataclass(frozen=True)
class Tap:
    """One tensor of the pretended model."""

    layer: str
    quantity: str
    order: int
    dtype: str
    keys: np.ndarray
    shares: np.ndarray
    n: int


def keys_of(values: np.ndarray) -> np.ndarray:
    """Leading-bit keys of finite values: 15 bits of the binary64 pattern and a sticky bit."""
    bits = values.astype(np.float64).view(np.uint64)
    return ((bits >> np.uint64(49)) << np.uint64(1) | ((bits & STICKY) != 0)).astype(np.uint16)


def draw_taps(n_layers: int, n_quantities: int, rng: np.random.Generator) -> list[Tap]:
    """Tensors of a model with some layers."""
    taps: list[Tap] = []
    for order in range(n_layers):
        for quantity in QUANTITIES[:n_quantities]:
            n = int(2 ** rng.uniform(16, 21)) // N_CHANNELS * N_CHANNELS
            values = rng.standard_normal(min(n, 1 << 18)).astype(np.float32)
            values *= np.float32(2.0 ** rng.normal(-5, 4))
            kind = len(taps) % 4
            if kind == 1:
                values[rng.random(len(values)) < 0.4] = 0
            if kind == 2:
                values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            keys, counts = np.unique(keys_of(values), return_counts=True)
            dtype = "bfloat16" if kind == 2 else "float32"
            shares = counts / counts.sum()
            taps.append(
                Tap(f"stage{order // 8}.block{order}", quantity, order, dtype, keys, shares, n)
            )
    return taps


def draw_row(tap: Tap, rng: np.random.Generator) -> TapRow:
    """The tap in one step: the histogram of a new sample of its distribution."""
    count = rng.multinomial(tap.n, tap.shares)
    key, count = tap.keys[count > 0], count[count > 0]
    more: dict[str, Any] = {}
    if tap.quantity == "z":
        size = tap.n // N_CHANNELS
        positive = rng.binomial(size, 0.5, N_CHANNELS)
        zero = np.zeros(N_CHANNELS, np.int64)
        more = {"positive": positive, "zero": zero, "nonfinite": zero}
    if tap.quantity == "dw":
        ratio = np.arange(-30, 2, dtype=np.int16)
        more = {"n_updatable": tap.n, "n_unmoved": int(rng.integers(tap.n)), "ratio": ratio}
        more["ratio_count"] = rng.integers(1, tap.n // 30, len(ratio))
    return TapRow(
        layer=tap.layer,
        quantity=tap.quantity,
        module=tap.layer,
        module_type="Conv2d",
        role="relu" if tap.quantity in ("z", "dz", "da") else "weight",
        dtype=tap.dtype,
        order=tap.order,
        calls=1,
        sum=float(rng.normal()),
        sum_sq=float(rng.random()),
        min_abs=float(rng.random()) * 1e-6,
        max_abs=float(rng.random()),
        key=key,
        count=count,
        **more,
    )


def steps_of(taps: list[Tap], rng: np.random.Generator) -> Iterator[list[TapRow]]:
    """Rows of step after step; a few are drawn and come round again, for drawing is slow."""
    variants = [[draw_row(tap, rng) for tap in taps] for _ in range(N_VARIANTS)]
    while True:
        yield from variants


def write(path: Path, taps: list[Tap], n_steps: int, rng: np.random.Generator) -> dict[str, float]:
    """Write a run, and say what it cost."""
    rows = steps_of(taps, rng)
    warm_up = path.with_name(f"{path.name}-warm-up")
    with RunWriter(warm_up, Manifest()) as writer:  # imports, first use of encoders
        writer.append(StepRow(step=0, wall_s=0.0), next(rows))
    shutil.rmtree(warm_up)
    waits: list[float] = []
    cpu = 0.0
    with RunWriter(path, Manifest()) as writer:
        for step in range(n_steps):
            taken = next(rows)
            began, began_cpu = time.perf_counter(), time.process_time()
            writer.append(StepRow(step=step, wall_s=float(step), loss=1.0), taken)
            waits.append(time.perf_counter() - began)
            cpu += time.process_time() - began_cpu
        began_cpu = time.process_time()
    cpu += time.process_time() - began_cpu
    sizes = {
        kind: sum(p.stat().st_size for p in path.rglob(f"{kind}*"))
        for kind in ("taps", "rollup", "")
    }
    n_rows = n_steps * len(taps)
    return {
        "keys per row": statistics.fmean(len(row.key) for row in next(rows)),
        "bytes per row, all files": sizes[""] / n_rows,
        "bytes per row, taps": sizes["taps"] / n_rows,
        "bytes per row, rollup": sizes["rollup"] / n_rows,
        "MB": sizes[""] / 1e6,
        "CPU ms per step": cpu / n_steps * 1e3,
        "median wait per step, ms": statistics.median(waits) * 1e3,
        "longest wait, ms": max(waits) * 1e3,
    }


def read(path: Path) -> dict[str, float]:
    """Time of each question, on a reader that has not been asked before, in ms."""
    tap = open_run(path).taps()[-1]
    questions: dict[str, Callable[[], object]] = {
        "open": lambda: open_run(path),
        "open, steps, taps": lambda: (run := open_run(path), run.steps, run.taps()),
        "scalars of one tap": lambda: open_run(path).scalars(tap.layer, tap.quantity),
        "history of one tap": lambda: open_run(path).history(tap.layer, tap.quantity),
        "one tap over the run": lambda: open_run(path).whole(tap.layer, tap.quantity),
        "channels of one tap": lambda: open_run(path).channels(tap.layer, tap.quantity),
        "all scalars": lambda: open_run(path).all_scalars(),
        "all rollups": lambda: open_run(path).rollups(),
        "what a report asks": lambda: (
            run := open_run(path),
            run.steps,
            run.all_scalars(),
            run.rollups(),
        ),
    }
    times: dict[str, float] = {}
    for name, ask in questions.items():
        began, began_cpu = time.perf_counter(), time.process_time()
        ask()
        times[f"{name}, ms"] = (time.perf_counter() - began) * 1e3
        times[f"{name}, CPU ms"] = (time.process_time() - began_cpu) * 1e3
    return times


def main() -> None:
    """Write a run, read it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--quantities", type=int, default=8, choices=range(1, 9))
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="leave the run in this folder")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    taps = draw_taps(options.layers, options.quantities, rng)
    with tempfile.TemporaryDirectory() as scratch:
        path = options.keep or Path(scratch) / "run"
        print(f"{len(taps)} taps, {options.steps} steps")
        for name, value in (write(path, taps, options.steps, rng) | read(path)).items():
            print(f"  {name:32} {value:10.1f}")


if __name__ == "__main__":
    main()
