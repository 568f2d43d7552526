"""Runs made without training, for the tests of the report.

The numbers are drawn, but the shape is that of a real run: layers in order, many quantities,
gradients that shrink with depth and time, updates that a format of few bits cannot add.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deephochuli.store import Manifest, ModelSummary, RunWriter, StepRow, TapRow

QUANTITIES = ("z", "dz", "w", "g", "dw", "state:momentum_buffer")
HOSTILE_NAMES = (
    "<script>window.__owned=1</script>",
    '"><img src=x onerror="window.__owned=1">',
    "</script><script>window.__owned=1</script>",
    "<!--<script>",
    "${window.__owned=1}",
    "javascript:window.__owned=1",
    '=HYPERLINK("http://x","y")',
    "שלום.\u202egnp.exe",
    "emoji.🧠.👩‍👩‍👧‍👦",
    "nul.\x00.tail",
    "line\u2028separator",
    "long." + "x" * 10_000,
)
CONVOLUTIONS = (
    "stem",
    *(
        f"stages.{stage}.{block}.conv{number}"
        for stage in (0, 1)
        for block in (0, 1)
        for number in (1, 2)
    ),
    "neck",
    "head",
)


@dataclass(frozen=True)
class Shape:
    """How large a synthetic run is, and in which dtype it pretends to have been trained."""

    dtype: str = "float32"
    layers: tuple[str, ...] = CONVOLUTIONS
    quantities: tuple[str, ...] = QUANTITIES
    n_steps: int = 60
    every: int = 5
    n_elements: int = 3000
    n_channels: int = 24
    seed: int = 0
    hole: tuple[int, int] | None = None
    command: tuple[str, ...] = ("python", "train.py")


def keys_of(values: np.ndarray) -> np.ndarray:
    """Leading-bit key of each value: 15 leading bits of its binary64 pattern and a sticky bit."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    sticky = (bits & np.uint64((1 << 49) - 1)) != 0
    keys = ((bits >> np.uint64(49)) << np.uint64(1)).astype(np.uint16) | sticky.astype(np.uint16)
    keys[np.isnan(values)] = 0x7FF8
    return keys


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values as the dtype would store them."""
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float64)
    single = values.astype(np.float32)
    if dtype == "bfloat16":
        bits = single.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        single = bits.astype(np.uint32).view(np.float32)
    return single.astype(np.float64)


def _centre(quantity: str, depth: float, time: float) -> tuple[float, float]:
    """Centre and spread of the log2 magnitude of one quantity at a relative depth and time."""
    known = {
        "z": (0.2 + 1.2 * depth - 0.4 * time, 1.0),
        "dz": (-13.0 - 5.0 * time - 4.0 * (1 - depth), 2.2),
        "w": (-3.2 - 1.2 * depth, 1.0),
        "g": (-9.0 - 4.5 * time - 3.0 * (1 - depth), 2.0),
        "dw": (-12.0 - 4.5 * time - 3.0 * (1 - depth), 2.0),
    }
    return known.get(quantity, (-8.0 - 4.0 * time - 3.0 * (1 - depth), 1.8))


def _draw(shape: Shape, quantity: str, depth: float, time: float, rng: Any) -> np.ndarray:
    """One tensor, channels first."""
    centre, spread = _centre(quantity, depth, time)
    size = (shape.n_channels, shape.n_elements // shape.n_channels)
    values = rng.standard_normal(size) * 2.0**centre
    if quantity not in ("z", "w"):
        values *= 2.0 ** (rng.standard_normal(size) * spread)
    if quantity == "z":
        values += (rng.standard_normal((shape.n_channels, 1)) * 0.2 - 0.1) * 2.0**centre
        channel = np.arange(shape.n_channels)
        wakes = (channel % 2 == 0) & (0.5 < time < 0.8)
        gone = (channel % 7 == 3) & ~wakes & (time > 0.15)
        values[gone] = -np.abs(values[gone]) - 2.0**centre
    return values


def _update_columns(values: np.ndarray, weights: np.ndarray, dtype: str) -> dict[str, Any]:
    """What moved, and by how many binades the update was smaller than the weight."""
    moved = rounded(weights + values, dtype) != weights
    good = (values != 0) & (weights != 0) & moved
    ratio = np.floor(np.log2(np.abs(values[good]))) - np.floor(np.log2(np.abs(weights[good])))
    keys, counts = np.unique(ratio.astype(np.int16), return_counts=True)
    return {
        "n_updatable": int(values.size),
        "n_unmoved": int((~moved).sum()),
        "ratio": keys,
        "ratio_count": counts.astype(np.int64),
    }


def _statistics(values: np.ndarray, *, channels: bool) -> dict[str, Any]:
    """The statistics of one tensor by plain numpy."""
    keys, counts = np.unique(keys_of(values.ravel()), return_counts=True)
    finite = values[np.isfinite(values)]
    magnitudes = np.abs(finite[finite != 0])
    per_channel = {
        "positive": ((values > 0) & np.isfinite(values)).sum(1),
        "zero": (values == 0).sum(1),
        "nonfinite": (~np.isfinite(values)).sum(1),
    }
    return {
        "calls": 1,
        "sum": float(finite.sum()),
        "sum_sq": float((finite**2).sum()),
        "min_abs": float(magnitudes.min()) if magnitudes.size else float("nan"),
        "max_abs": float(np.abs(finite).max()) if finite.size else float("nan"),
        "key": keys,
        "count": counts.astype(np.int64),
        **{name: column.astype(np.int64) for name, column in per_channel.items() if channels},
    }


def tap_row(
    layer: str,
    quantity: str,
    values: np.ndarray,
    *,
    dtype: str = "float32",
    order: int = 0,
    **more: Any,
) -> TapRow:
    """The row of one tensor, channels first."""
    is_activation = quantity in ("z", "a", "dz", "da")
    return TapRow(
        layer=f"{layer}.relu" if is_activation else f"{layer}.weight",
        quantity=quantity,
        module=layer,
        module_type="Conv2d",
        role="relu" if is_activation else "weight",
        dtype=dtype,
        order=2 * order + is_activation,
        **_statistics(values, channels=quantity == "z"),
        **more,
    )


def rows_of_step(shape: Shape, step: int, time: float, rng: Any) -> Iterator[TapRow]:
    """All rows of one recorded step."""
    for order, layer in enumerate(shape.layers):
        if shape.hole and order == 3 and shape.hole[0] <= step < shape.hole[1]:
            continue
        depth = order / max(1, len(shape.layers) - 1)
        weights = rounded(_draw(shape, "w", depth, 0.0, rng), shape.dtype)
        for quantity in shape.quantities:
            values, more = weights, {}
            if quantity != "w":
                values = _draw(shape, quantity, depth, time, rng)
            if quantity == "dw":
                more = _update_columns(values, weights, shape.dtype)
                values = rounded(weights + values, shape.dtype) - weights
            stored = rounded(values, shape.dtype)
            yield tap_row(layer, quantity, stored, dtype=shape.dtype, order=order, **more)


def manifest_of(shape: Shape) -> Manifest:
    """A manifest such as the recorder writes."""
    return Manifest(
        versions={"deephochuli": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.2"},
        platform="Linux x86_64",
        device="cpu",
        n_threads=2,
        flags={"tf32": False, "flush_denormal": False, "deterministic": False},
        dtypes={f"{layer}.weight": shape.dtype for layer in shape.layers},
        seed=shape.seed,
        command=[*shape.command, "--dtype", shape.dtype],
        model=ModelSummary(class_name="ResNet", n_parameters=123_456, n_modules=41),
        schedule=f"every {shape.every} steps",
    )


def write_run(folder: Path, shape: Shape) -> Path:
    """Write a whole run folder and return its path."""
    rng = np.random.default_rng(shape.seed)
    with RunWriter(folder, manifest_of(shape)) as writer:
        for index in range(shape.n_steps):
            step = index * shape.every
            loss = 2.3 * float(np.exp(-step / 90)) + 0.05 * float(rng.random())
            row = StepRow(step=step, wall_s=0.02 * step, loss=loss, lr=0.05)
            writer.append(row, list(rows_of_step(shape, step, index / shape.n_steps, rng)))
    return folder
