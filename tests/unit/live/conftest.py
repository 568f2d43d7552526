"""Runs that grow while a test looks at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deephochuli.store import Manifest, RunWriter, StepRow
from tests.e2e.synthetic import Shape, rows_of_step

SHAPE = Shape(layers=("a", "b"), n_elements=48, n_channels=4, dtype="float16")


class Growing:
    """A run of which a test writes one chunk at a time."""

    def __init__(self, folder: Path, *, chunk_steps: int = 4) -> None:
        self.folder = folder
        self.n_steps = 0
        self._rng = np.random.default_rng(5)
        self._chunk_steps = chunk_steps
        self._writer = RunWriter(folder, Manifest(), chunk_steps=chunk_steps)

    def grow(self, n_chunks: int = 1) -> None:
        """Write some chunks."""
        for _ in range(n_chunks * self._chunk_steps):
            step, self.n_steps = 10 * self.n_steps, self.n_steps + 1
            row = StepRow(step=step, wall_s=step / 50, loss=1.0 / self.n_steps)
            self._writer.append(row, list(rows_of_step(SHAPE, step, 0.5, self._rng)))

    def end(self, error: BaseException | None = None) -> None:
        """End the recording in order, though perhaps an error ended the training."""
        self._writer.close(error)


@pytest.fixture
def growing(tmp_path):
    """A run that a test lets grow, with one chunk to begin with."""
    run = Growing(tmp_path / "run")
    run.grow()
    yield run
    run.end()
