"""A run as large as a serious one, quickly written: few tensors, many names and steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from deephochuli.store import RunWriter, StepRow
from tests.e2e.synthetic import Shape, manifest_of, rows_of_step

EIGHT = ("z", "dz", "da", "w", "g", "dw", "state:exp_avg", "state:exp_avg_sq")


def write_large_run(folder: Path, *, n_layers: int, n_steps: int, n_variants: int = 12) -> Path:
    """Write a run of `n_layers` layers with eight quantities each.

    The histograms of a step are drawn for four layers and `n_variants` moments of training, and
    dealt out to all layers and steps.
    """
    rng = np.random.default_rng(7)
    pattern = Shape(layers=("a", "b", "c", "d"), quantities=EIGHT, n_elements=16_384, n_channels=64)
    variants = [
        list(rows_of_step(pattern, 0, number / n_variants, rng)) for number in range(n_variants)
    ]
    per_layer = len(EIGHT)
    shape = Shape(layers=tuple(f"stages.{i // 10}.{i % 10}.conv" for i in range(n_layers)))
    with RunWriter(folder, manifest_of(shape), chunk_seconds=1e9) as writer:
        for step in range(n_steps):
            drawn = variants[step * n_variants // n_steps]
            rows = []
            for number, layer in enumerate(shape.layers):
                start = (number % 4) * per_layer
                for row in drawn[start : start + per_layer]:
                    suffix = row.layer.partition(".")[2]
                    name = f"{layer}.{suffix}"
                    order = 2 * number + row.order % 2
                    rows.append(replace(row, layer=name, module=layer, order=order))
            writer.append(StepRow(step=step, wall_s=0.1 * step, loss=1.0 / (1 + step)), rows)
    return folder
