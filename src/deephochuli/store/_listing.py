"""Which taps a run has, from the rollups of its chunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._answers import TapInfo
from deephochuli.store._arrow import Texts, Values

LISTED = (
    "layer",
    "quantity",
    "module",
    "module_type",
    "role",
    "dtype",
    "order",
    "n_steps",
    "n_channels",
)
"""Columns of rollup.parquet that a `TapList` needs."""


@dataclass(frozen=True, slots=True)
class Names:
    """The different pairs of layer and quantity in some rows.

    Attributes:
        pairs: The pairs.
        first: The first row of each.
        place: Which pair each row has.
    """

    pairs: list[tuple[str, str]]
    first: list[int]
    place: NDArray[np.int64]


Part = dict[str, Values]


def join_names(layer: Texts, quantity: Texts) -> Names:
    """Find the different pairs of layer and quantity in some rows."""
    width = max(1, len(quantity.names))
    codes = layer.codes * width + quantity.codes
    pairs: NDArray[np.int64]
    pairs, first, place = np.unique(codes, return_index=True, return_inverse=True)
    known: list[int] = pairs.tolist()
    names = [(layer.names[pair // width], quantity.names[pair % width]) for pair in known]
    return Names(names, first.tolist(), place)


class TapList:
    """The taps of some chunks, one added after the other."""

    def __init__(self) -> None:
        """No tap yet."""
        self._found: dict[tuple[str, str], TapInfo] = {}
        self._dtypes: dict[tuple[str, str], str] = {}
        self._n_records: Counter[tuple[str, str]] = Counter()
        self._n_channels: Counter[tuple[str, str]] = Counter()

    def add(self, names: Names, part: Part) -> None:
        """Add the taps of a chunk: its names, and the columns `LISTED` of its rollup.

        The first row of a tap settles its texts and order.
        """
        n_records, n_channels = _count(part, names)
        dtypes = _name_dtypes(part, names)
        rows = zip(names.pairs, names.first, dtypes, n_records, n_channels, strict=True)
        for pair, row, dtype, records, channels in rows:
            if pair not in self._found:
                self._found[pair] = _describe(part, row)
                self._dtypes[pair] = dtype
            elif self._dtypes[pair] != dtype:
                self._dtypes[pair] = "mixed"
            self._n_records[pair] += records
            self._n_channels[pair] = max(self._n_channels[pair], channels)

    def taps(self) -> list[TapInfo]:
        """Taps by order, layer and quantity."""
        infos = [
            replace(
                info,
                dtype=self._dtypes[pair],
                n_records=self._n_records[pair],
                n_channels=self._n_channels[pair],
            )
            for pair, info in self._found.items()
        ]
        return sorted(infos, key=lambda info: (info.order, info.layer, info.quantity))


def _count(part: Part, names: Names) -> tuple[list[int], list[int]]:
    """Recorded steps and channels of each pair of names."""
    n_records = np.zeros(len(names.pairs), np.int64)
    n_channels = np.zeros(len(names.pairs), np.int64)
    np.add.at(n_records, names.place, part["n_steps"])
    np.maximum.at(n_channels, names.place, part["n_channels"])
    return n_records.tolist(), n_channels.tolist()


def _name_dtypes(part: Part, names: Names) -> list[str]:
    """Dtype of each pair of names, or "mixed" if its rows have several."""
    dtype: Texts = part["dtype"]
    low = np.full(len(names.pairs), len(dtype.names))
    high = np.zeros(len(names.pairs), np.int64)
    np.minimum.at(low, names.place, dtype.codes)
    np.maximum.at(high, names.place, dtype.codes)
    return [dtype.names[i] if i == j else "mixed" for i, j in zip(low, high, strict=True)]


def _describe(part: Part, row: int) -> TapInfo:
    """A tap as one row has it, without what is counted over all."""

    def text(name: str) -> str:
        column: Texts = part[name]
        return column.names[int(column.codes[row])]

    return TapInfo(
        layer=text("layer"),
        quantity=text("quantity"),
        module=text("module"),
        module_type=text("module_type"),
        role=text("role"),
        dtype=text("dtype"),
        order=int(part["order"][row]),
        n_records=0,
        n_channels=0,
    )
