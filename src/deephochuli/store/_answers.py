"""What a reader of a run hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._ragged import Array, Ragged
from deephochuli.store._rows import Counts, Keys, Ratios


@dataclass(frozen=True, slots=True)
class TapInfo:
    """One tap of a run, as a reader lists it.

    Attributes:
        layer: Place in the model, as its path.
        quantity: z, a, dz, da, w, g, dw or state:NAME.
        module: Path of the module that holds the tensor.
        module_type: Class of that module.
        role: Kind of the activation, or name of the parameter.
        dtype: Name of the dtype, or ``"mixed"``.
        order: Place in the order of execution.
        n_records: In how many recorded steps the tap was seen.
        n_channels: Channels that were counted; 0 if none were.
    """

    layer: str
    quantity: str
    module: str
    module_type: str
    role: str
    dtype: str
    order: int
    n_records: int
    n_channels: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MergedTap:
    """One tap merged over all steps of a run.

    Attributes:
        info: Which tap.
        step_first: First recorded step that holds the tap.
        step_last: Last one.
        n_steps: In how many recorded steps it was seen.
        numbers: The scalar columns of rollup.parquet by name; -1 or nan where nothing was measured.
        key: Leading-bit keys, strictly increasing.
        count: Elements that have the key.
        positive: Per channel: elements > 0, or None.
        zero: Per channel: elements == 0, or None.
        nonfinite: Per channel: inf and nan, or None.
        ratio: Binades between weight and update, for dw, or None.
        ratio_count: Elements that have the ratio, or None.
    """

    info: TapInfo
    step_first: int
    step_last: int
    n_steps: int
    numbers: dict[str, Any]
    key: Keys
    count: Counts
    positive: Counts | None
    zero: Counts | None
    nonfinite: Counts | None
    ratio: Ratios | None
    ratio_count: Counts | None


@dataclass(frozen=True, slots=True)
class Damage:
    """A chunk that was left out.

    Attributes:
        chunk: Name of its folder.
        reason: What is wrong with it, and in which file.
    """

    chunk: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollups:
    """Rows of the rollups of a run, or its records: chunk after chunk, and in each tap after tap.

    Attributes:
        tap: Index of the tap of each row in ``RunReader.taps()``.
        chunk: Number of the chunk of each row.
        step_first: First recorded step of the row.
        step_last: Last one.
        n_steps: Recorded steps merged in the row.
        numbers: Scalar columns by name; -1 or nan where nothing was measured.
        lists: Columns of lists by name, those that were asked for.
    """

    tap: NDArray[np.int64]
    chunk: NDArray[np.int64]
    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    n_steps: NDArray[np.int64]
    numbers: dict[str, Array]
    lists: dict[str, Ragged]

    def __len__(self) -> int:
        return len(self.tap)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """Counts per channel of one tap; row i belongs to chunk i of those that hold the tap.

    Attributes:
        step_first: First recorded step of the chunk.
        step_last: Last one.
        n_per_channel: Elements of one channel, over all recorded steps of the chunk.
        positive: Elements > 0 of each channel; None where the chunk has no counts.
        zero: Elements == 0.
        nonfinite: inf and nan.
    """

    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    n_per_channel: NDArray[np.int64]
    positive: list[NDArray[np.int64] | None]
    zero: list[NDArray[np.int64] | None]
    nonfinite: list[NDArray[np.int64] | None]
