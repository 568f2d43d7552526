"""A run of 100 layers, 8 quantities and 1,000 recorded steps: its size, and the time to read it.

Times are CPU times of this process, so that a busy machine does not fail the test.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow, open_run

N_LAYERS, N_STEPS, N_VARIANTS = 100, 1000, 8
QUANTITIES = ("z", "a", "dz", "da", "w", "g", "dw", "state:exp_avg")
N_ELEMENTS = 1 << 18


def normal_histogram(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Keys and counts of normal values: about 20 binades of 8 bins, of both signs."""
    bits = rng.standard_normal(N_ELEMENTS).view(np.uint64) >> np.uint64(49)
    keys = (bits << np.uint64(1) | np.uint64(1)).astype(np.uint16)
    return np.unique(keys, return_counts=True)


def draw_rows(keys: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> list[TapRow]:
    """Rows of one step: each tap of another scale, with the noise of another sample."""
    rows: list[TapRow] = []
    for order in range(N_LAYERS):
        for quantity in QUANTITIES:
            count = rng.poisson(counts)
            key = keys[count > 0] - np.uint16(16 * order // 4)
            rows.append(
                TapRow(
                    layer=f"layers.{order}",
                    quantity=quantity,
                    module=f"layers.{order}",
                    module_type="Conv2d",
                    role="relu",
                    dtype="float32",
                    order=order,
                    calls=1,
                    sum=float(rng.normal()),
                    sum_sq=float(rng.random()),
                    min_abs=float(rng.random()),
                    max_abs=float(rng.random()),
                    key=key,
                    count=count[count > 0],
                )
            )
    return rows


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.slow
def test_a_large_run_is_small_and_quick_to_read(tmp_path):
    rng = np.random.default_rng(0)
    histogram = normal_histogram(rng)
    variants = [draw_rows(*histogram, rng) for _ in range(N_VARIANTS)]
    path = tmp_path / "run"
    spent = 0.0
    with RunWriter(path, Manifest()) as writer:
        for step in range(N_STEPS):
            row = StepRow(step=step, wall_s=float(step))
            rows = variants[step % N_VARIANTS]
            spent += cpu_seconds(lambda: writer.append(row, rows))  # noqa: B023
    n_rows = N_STEPS * len(variants[0])
    assert len(list(path.iterdir())) <= 64 + 1
    assert sum(p.stat().st_size for p in path.rglob("*.*")) / n_rows < 1024
    assert spent / N_STEPS / len(variants[0]) * 316 < 0.030  # aim 0.015 s, on a machine at rest

    reader = open_run(path)
    table = {}
    seconds = cpu_seconds(
        lambda: (reader.steps, reader.taps(), table.update(reader.all_scalars()), reader.rollups())
    )
    assert seconds < 6  # aim 1.5 s, on a machine at rest
    assert len(table["n"]) == n_rows
    n = sum(int(row.count.sum()) for rows in variants for row in rows) * N_STEPS // N_VARIANTS
    assert table["n"].sum() == n
    assert reader.rollups().lists["count"].values.sum() == n
    assert cpu_seconds(lambda: open_run(path).history("layers.50", "g")) < 6
