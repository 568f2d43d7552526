"""One step that is being recorded, and the rows that are made of what was counted in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from deephochuli.kernels import Rows, Summary, UpdateSummary
from deephochuli.store import TapRow
from deephochuli.taps import ParameterTap, Place


@dataclass(slots=True)
class Seen:
    """What is known of one place in the step that is being recorded."""

    place: Place
    dtype: str
    calls: int = 0


@dataclass(slots=True)
class Step:
    """Everything that gathers while one step goes on."""

    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    rows: dict[torch.device, Rows] = field(default_factory=dict[torch.device, Rows])
    taps: list[TapRow] = field(default_factory=list[TapRow])
    n_micro_batches: int = 0
    loss: float | None = None
    loss_scale: float | None = None
    lr: float | None = None
    skipped: bool = False

    def all_taps(self) -> list[TapRow]:
        """The rows of all that was counted: activations and gradients first, in their order."""
        found = [
            row_of(seen.place, seen.dtype, seen.calls, summary)
            for rows in self.rows.values()
            for index, summary in rows.read().items()
            if (seen := self.seen[index])
        ]
        return sorted(found, key=lambda row: (row.order, row.layer)) + self.taps


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as rows name it."""
    return str(dtype).removeprefix("torch.")


def update_rows(tap: ParameterTap, summary: UpdateSummary, moves: bool) -> list[TapRow]:
    """The rows of a parameter around one update: its value, its gradient, its change.

    Args:
        tap: The parameter, and where to look.
        summary: What was counted.
        moves: Whether its learning rate is not zero, so that a weight that stays counts as unmoved.
    """
    dtype = dtype_name(tap.parameter.dtype)
    rows: list[TapRow] = []
    if tap.w is not None:
        rows.append(row_of(tap.w, dtype, 1, summary.weight))
    if tap.g is not None and summary.gradient is not None and tap.parameter.grad is not None:
        rows.append(row_of(tap.g, dtype_name(tap.parameter.grad.dtype), 1, summary.gradient))
    if tap.dw is not None:
        rows.append(row_of(tap.dw, dtype, 1, summary.update, summary if moves else None))
    return rows


def row_of(
    place: Place, dtype: str, calls: int, summary: Summary, update: UpdateSummary | None = None
) -> TapRow:
    """The row of what was counted at one place."""
    channels = summary.channels
    return TapRow(
        layer=place.layer,
        quantity=place.quantity,
        module=place.module,
        module_type=place.module_type,
        role=place.role,
        dtype=dtype,
        order=place.order,
        calls=calls,
        sum=summary.sum,
        sum_sq=summary.sum_sq,
        min_abs=summary.min_abs,
        max_abs=summary.max_abs,
        key=summary.keys,
        count=summary.counts,
        positive=channels.positive if channels else None,
        zero=channels.zero if channels else None,
        nonfinite=channels.nonfinite if channels else None,
        n_updatable=update.n_updatable if update else None,
        n_unmoved=update.n_unmoved if update else None,
        ratio=update.ratios if update else None,
        ratio_count=update.ratio_counts if update else None,
    )
