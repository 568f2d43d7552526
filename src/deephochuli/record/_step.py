"""One step that is being recorded, and the rows that are made of what was counted in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from deephochuli.kernels import Later, Rows, RowsOfDevice, Summary, UpdateSummary
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
    """Everything that gathers while one step goes on.

    Attributes:
        seen: What was seen, by the number of its place.
        rows: Where the tensors of each device are counted.
        taps: Rows of parameters that are known by now, or will be: each call makes some.
        waits: Whether a device has still to do something for it.
        loss: What was said of it last; its device may still have to make it.
    """

    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    rows: dict[torch.device, Rows] = field(default_factory=dict[torch.device, Rows])
    taps: list[Callable[[], list[TapRow]]] = field(default_factory=list[Callable[[], list[TapRow]]])
    waits: bool = False
    n_micro_batches: int = 0
    loss: Later[float] | None = None
    loss_scale: float | None = None
    lr: float | None = None
    skipped: bool = False

    def add(self, make: Callable[[], list[TapRow]], *, waits: bool) -> None:
        """Note rows of parameters, made now or, where a device has to be waited for, later."""
        if waits:
            self.taps.append(make)
            self.waits = True
        else:
            rows = make()
            self.taps.append(lambda: rows)

    def begin_reading(self) -> list[Later[dict[int, Summary]]]:
        """Begin to read what was seen; devices need not be waited for now."""
        readings: list[Later[dict[int, Summary]]] = []
        for rows in self.rows.values():
            if isinstance(rows, RowsOfDevice):
                readings.append(rows.begin_read())
                self.waits = True
            else:
                readings.append(Now(rows))
        return readings

    def all_taps(self, readings: Iterable[Later[dict[int, Summary]]]) -> list[TapRow]:
        """The rows of all that was counted: activations and gradients first, in their order."""
        found = [
            row_of(seen.place, seen.dtype, seen.calls, summary)
            for reading in readings
            for index, summary in reading.get().items()
            if (seen := self.seen[index])
        ]
        ordered = sorted(found, key=lambda row: (row.order, row.layer))
        return ordered + [row for make in self.taps for row in make()]


@dataclass(frozen=True, slots=True)
class Now:
    """Rows that are read when they are asked for; see `Later`."""

    rows: Rows

    def get(self) -> dict[int, Summary]:
        """Read them."""
        return self.rows.read()


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as rows name it."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What rows say of a parameter around one update, beside what was counted.

    Attributes:
        tap: Where to look.
        dtype: Of the parameter.
        grad_dtype: Of its gradient; None where it has none.
        moves: Whether its learning rate is not zero, so that a weight that stays is unmoved.
    """

    tap: ParameterTap
    dtype: str
    grad_dtype: str | None
    moves: bool

    @classmethod
    def of(cls, tap: ParameterTap, moves: bool) -> UpdateFacts:
        """What is known when the update has been made; the gradient may go afterwards."""
        gradient = tap.parameter.grad
        own = None if gradient is None else dtype_name(gradient.dtype)
        return cls(tap, dtype_name(tap.parameter.dtype), own, moves)

    def rows(self, summary: UpdateSummary) -> list[TapRow]:
        """The rows of its value, its gradient, its change."""
        tap, rows = self.tap, list[TapRow]()
        if tap.w is not None:
            rows.append(row_of(tap.w, self.dtype, 1, summary.weight))
        if tap.g is not None and summary.gradient is not None and self.grad_dtype is not None:
            rows.append(row_of(tap.g, self.grad_dtype, 1, summary.gradient))
        if tap.dw is not None:
            of_update = summary if self.moves else None
            rows.append(row_of(tap.dw, self.dtype, 1, summary.update, of_update))
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
