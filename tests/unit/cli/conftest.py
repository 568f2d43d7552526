"""Small runs with numbers chosen by hand, so that what commands must say is known."""

import math

import numpy as np
import pytest

from deephochuli.kernels import key_of
from deephochuli.store import Manifest, RunWriter, StepRow, TapRow


def tap(layer, quantity, values, dtype="float32", **more):
    keys, counts = np.unique([key_of(v) for v in values], return_counts=True)
    magnitudes = [abs(v) for v in values if v]
    return TapRow(
        layer=layer,
        quantity=quantity,
        module=layer,
        module_type="Linear",
        role="weight",
        dtype=dtype,
        order=0,
        calls=1,
        sum=math.fsum(values),
        sum_sq=math.fsum(v * v for v in values),
        min_abs=min(magnitudes),
        max_abs=max(magnitudes),
        key=keys.astype(np.uint16),
        count=counts.astype(np.int64),
        **more,
    )


@pytest.fixture
def write(tmp_path):
    """Write a run of a few equal steps and return its folder."""

    def write_run(name, *taps, n_steps=3):
        folder = tmp_path / name
        with RunWriter(folder, Manifest()) as writer:
            for step in range(n_steps):
                writer.append(StepRow(step=step, wall_s=float(step)), list(taps))
        return folder

    return write_run


@pytest.fixture
def healthy(write):
    """Weights near one, and gradients that even FP16 can hold."""
    return write("healthy", tap("fc", "w", [1.0, -0.5, 0.75]), tap("fc", "g", [0.25, -0.125]))


@pytest.fixture
def damaged(write):
    """BF16 weights of which every update is swamped."""
    lost = {
        "n_updatable": 4,
        "n_unmoved": 4,
        "ratio": np.zeros(0, np.int16),
        "ratio_count": np.zeros(0, np.int64),
    }
    return write(
        "damaged",
        tap("fc", "w", [1.0, -0.5, 0.75, 1.5], "bfloat16"),
        tap("fc", "g", [2.0**-20] * 4, "bfloat16"),
        tap("fc", "dw", [2.0**-30] * 4, "bfloat16", **lost),
    )
