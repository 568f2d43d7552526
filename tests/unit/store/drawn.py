"""Rows made of real arrays, so that what a run says can be counted again without it."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow

LAYERS = ("stem", "block.0", "head")
QUANTITIES = ("z", "dz", "w", "dw")


def key_of(value: float) -> int:
    """Leading-bit key of one value, from the text of its definition."""
    if value != value:
        return 0x7FF8
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    return (bits >> 49) << 1 | (bits % (1 << 49) != 0)


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and counts of an array, one element at a time."""
    counts = Counter(key_of(value) for value in values.ravel().tolist())
    keys = sorted(counts)
    return np.array(keys, np.uint16), np.array([counts[key] for key in keys], np.int64)


def tap_row(values: np.ndarray, *, channels: bool = False, **given: Any) -> TapRow:
    """Row of an array whose first axis are its channels."""
    finite = values[np.isfinite(values)].astype(np.float64)
    magnitudes = np.abs(finite[finite != 0])
    key, count = histogram(values)
    with np.errstate(over="ignore"):
        sum_sq = float((finite**2).sum())
    named: dict[str, Any] = {
        "layer": "stem",
        "quantity": "z",
        "module": "stem",
        "module_type": "Conv2d",
        "role": "relu",
        "dtype": str(values.dtype),
        "order": 0,
        "calls": 1,
        "sum": float(finite.sum()),
        "sum_sq": sum_sq,
        "min_abs": float(magnitudes.min()) if len(magnitudes) else float("nan"),
        "max_abs": float(np.abs(finite).max()) if len(finite) else float("nan"),
        "key": key,
        "count": count,
    }
    if channels:
        named["positive"] = ((values > 0) & np.isfinite(values)).sum(1)
        named["zero"] = (values == 0).sum(1)
        named["nonfinite"] = (~np.isfinite(values)).sum(1)
    return TapRow(**(named | given))


def draw_values(rng: np.random.Generator, kind: int) -> np.ndarray:
    """Four channels with zeros, subnormals, infinities and nans among them."""
    values = rng.standard_normal((4, 25)) * 2.0 ** rng.integers(-30, 10)
    values[rng.random(values.shape) < 0.2] = 0.0
    if kind % 3 == 1:
        values[0, :3] = [np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        return values.astype([np.float32, np.float16, np.float64][kind % 3])


def draw_step(step: int, rng: np.random.Generator, n_layers: int = len(LAYERS)) -> list[TapRow]:
    """Rows of all taps in one step, in an order that changes; now and then one is missing."""
    rows: list[TapRow] = []
    for order, layer in enumerate(LAYERS[:n_layers]):
        for quantity in QUANTITIES:
            if rng.random() < 0.1:
                continue
            more: dict[str, Any] = {}
            if quantity == "dw":
                ratio = np.unique(rng.integers(-40, 3, 9)).astype(np.int16)
                more = {"n_updatable": 80 + step, "n_unmoved": step, "ratio": ratio}
                more["ratio_count"] = rng.integers(1, 9, len(ratio))
            values = draw_values(rng, order + (step > 4 and quantity == "w"))
            named = {"layer": layer, "quantity": quantity, "order": order, "module": layer}
            rows.append(tap_row(values, channels=quantity == "z", **named, **more))
    return [rows[i] for i in rng.permutation(len(rows))]


def draw_run(
    n_steps: int, seed: int = 0, n_layers: int = len(LAYERS)
) -> list[tuple[StepRow, list[TapRow]]]:
    """Rows of a run, every third step recorded."""
    rng = np.random.default_rng(seed)
    return [
        (
            StepRow(
                step=3 * i,
                wall_s=0.5 * i,
                loss=[2.5, None, float("nan")][i % 3],
                loss_scale=None if i % 2 else 1024.0,
                skipped=i == 2,
                lr=0.1 if i else None,
                n_micro_batches=1 + i,
            ),
            draw_step(3 * i, rng, n_layers),
        )
        for i in range(n_steps)
    ]


def write_run(path: Path, run: list[tuple[StepRow, list[TapRow]]], **options: Any) -> Path:
    """Write rows as a run folder."""
    with RunWriter(path, Manifest(), **options) as writer:
        for step, rows in run:
            writer.append(step, rows)
    assert writer.manifest.stopped is None
    return path


def rows_by_tap(run) -> dict[tuple[str, str], list[tuple[int, TapRow]]]:
    """Steps and rows of each tap, in the order of steps."""
    found: dict[tuple[str, str], list[tuple[int, TapRow]]] = {}
    for step, rows in run:
        for row in rows:
            found.setdefault((row.layer, row.quantity), []).append((step.step, row))
    return found
