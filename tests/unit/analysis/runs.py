"""Small runs whose every number is known, because the test chose the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deephochuli.kernels import TensorJob, reference_backend
from deephochuli.store import Manifest, RunReader, RunWriter, StepRow, TapRow, open_run


def tap(
    layer: str,
    quantity: str,
    tensor: torch.Tensor,
    *,
    order: int = 0,
    role: str = "relu",
    updates: tuple[int, int] | None = None,
) -> TapRow:
    """One row, counted by the reference; channels along dimension 1 for z."""
    dim = 1 if quantity == "z" else None
    (summary,) = reference_backend().summarise([TensorJob(tensor, dim)])
    channels = summary.channels
    return TapRow(
        layer=layer,
        quantity=quantity,
        module=layer,
        module_type="ReLU",
        role=role,
        dtype=str(tensor.dtype).removeprefix("torch."),
        order=order,
        calls=1,
        sum=summary.sum,
        sum_sq=summary.sum_sq,
        min_abs=summary.min_abs,
        max_abs=summary.max_abs,
        key=summary.keys,
        count=summary.counts,
        positive=channels.positive if channels else None,
        zero=channels.zero if channels else None,
        nonfinite=channels.nonfinite if channels else None,
        n_updatable=updates[0] if updates else None,
        n_unmoved=updates[1] if updates else None,
        ratio=np.array([-3], np.int16) if updates else None,
        ratio_count=np.array([7], np.int64) if updates else None,
    )


def write_run(
    folder: Path,
    steps: Sequence[Sequence[TapRow]],
    *,
    chunk_steps: int = 1,
    skipped: Sequence[int] = (),
    loss_scales: Sequence[float | None] | None = None,
) -> RunReader:
    """Write rows as a run, one chunk for each ``chunk_steps`` steps, and open it."""
    with RunWriter(folder, Manifest(), chunk_steps=chunk_steps) as writer:
        for number, rows in enumerate(steps):
            scale = loss_scales[number] if loss_scales else None
            step = StepRow(
                step=number,
                wall_s=float(number),
                skipped=number in skipped,
                loss_scale=scale,
            )
            writer.append(step, rows)
    return open_run(folder)
