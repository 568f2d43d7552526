"""What goes into a run: a row for each recorded step, and a row for each tap seen in it.

Rows hold plain numbers and numpy arrays. Whatever follows from the histogram (n, n_zero,
n_subnormal, n_inf, n_nan) or from the channel counts (n_channels, n_per_channel,
n_silent_channels) is not a field: the writer derives it, so that a row cannot contradict itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint16]
Counts = NDArray[np.int64]
Ratios = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One recorded step.

    Attributes:
        step: Number of the optimizer step, from 0; higher than in the row before.
        wall_s: Seconds since the recording began.
        loss: The loss, if the recorder was told; nan and inf are kept as they are.
        loss_scale: Factor that the loss was scaled with, if any.
        skipped: The optimizer left this step out (GradScaler found a non-finite gradient).
        lr: Learning rate of the first parameter group.
        n_micro_batches: Backward passes that the gradients of this step were summed over.
    """

    step: int
    wall_s: float
    loss: float | None = None
    loss_scale: float | None = None
    skipped: bool = False
    lr: float | None = None
    n_micro_batches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TapRow:
    """One tap in one recorded step.

    The texts and ``order`` describe the tap; the first row of a (layer, quantity) settles them for
    the run, except ``dtype``. Arrays are copied by the writer.

    Attributes:
        layer: Place in the model, as its path.
        quantity: z, a, dz, da, w, g, dw or state:NAME.
        module: Path of the module that holds the tensor.
        module_type: Class of that module.
        role: Kind of the activation (``"relu"``), or name of the parameter (``"weight"``).
        dtype: Name of the dtype, such as ``"bfloat16"``.
        order: Place in the order of execution.
        calls: How often the place was passed in this step.
        sum: Sum of the finite elements.
        sum_sq: Sum of their squares.
        min_abs: Least nonzero finite magnitude; nan if there is none.
        max_abs: Greatest finite magnitude; nan if there is none.
        key: Leading-bit keys, uint16, strictly increasing.
        count: int64, > 0: elements that have the key.
        positive: int64 per channel: finite elements > 0. All three of these, or none.
        zero: int64 per channel: +0 and -0.
        nonfinite: int64 per channel: inf and nan.
        n_updatable: For dw: elements with nonzero gradient and learning rate.
        n_unmoved: For dw: of those, elements whose stored bits did not change.
        ratio: For dw, int16, strictly increasing: floor(log2|dw|) - floor(log2|w|).
        ratio_count: int64, > 0: moved elements with w != 0 that have the ratio.
    """

    layer: str
    quantity: str
    module: str
    module_type: str
    role: str
    dtype: str
    order: int
    calls: int
    sum: float
    sum_sq: float
    min_abs: float
    max_abs: float
    key: Keys
    count: Counts
    positive: Counts | None = None
    zero: Counts | None = None
    nonfinite: Counts | None = None
    n_updatable: int | None = None
    n_unmoved: int | None = None
    ratio: Ratios | None = None
    ratio_count: Counts | None = None
