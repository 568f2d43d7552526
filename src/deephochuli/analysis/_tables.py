"""The scalar columns of a run, one slice for each tap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import FormatError
from deephochuli.formats import Format, format_of_dtype
from deephochuli.store import RunReader, TapInfo

COLUMNS = (
    "n",
    "n_zero",
    "n_subnormal",
    "n_inf",
    "n_nan",
    "min_abs",
    "max_abs",
    "n_channels",
    "n_silent_channels",
    "n_updatable",
    "n_unmoved",
)


@dataclass(frozen=True, slots=True)
class TapSeries:
    """One tap with its scalar columns, a value for each recorded step.

    Attributes:
        info: Which tap.
        columns: ``step`` and the columns of ``COLUMNS`` by name.
    """

    info: TapInfo
    columns: dict[str, NDArray[np.generic]]

    @property
    def steps(self) -> NDArray[np.int64]:
        """Recorded steps."""
        return self.integers("step")

    @property
    def format(self) -> Format | None:
        """The format in which the tensor was stored; None when it changed or is unknown."""
        try:
            return format_of_dtype(self.info.dtype)
        except FormatError:
            return None

    def integers(self, name: str) -> NDArray[np.int64]:
        """A column of counts."""
        return self.columns[name].astype(np.int64)

    def floats(self, name: str) -> NDArray[np.float64]:
        """A column of numbers."""
        return self.columns[name].astype(np.float64)

    def total(self, name: str) -> int:
        """Sum of a column of counts over the steps where it was measured."""
        values = self.integers(name)
        return int(values[values >= 0].sum())


def series_of(
    run: RunReader, accept: Callable[[TapInfo], bool] = lambda _: True
) -> Iterator[TapSeries]:
    """Yield the series of all taps that are accepted, in the order of the run."""
    table = run.all_scalars(COLUMNS)
    taps = run.taps()
    bounds = np.searchsorted(table["tap"], np.arange(len(taps) + 1))
    for index, info in enumerate(taps):
        if accept(info):
            rows = slice(bounds[index], bounds[index + 1])
            yield TapSeries(info, {name: table[name][rows] for name in ("step", *COLUMNS)})


def share(part: int, whole: int) -> float:
    """A part of a whole; 0 of nothing."""
    return part / whole if whole else 0.0


def span(steps: NDArray[np.int64], hit: NDArray[np.bool_]) -> tuple[int, int]:
    """First and last step of those that are hit."""
    found = steps[hit]
    return (int(found[0]), int(found[-1])) if len(found) else (0, 0)
