"""Which taps a run has, from the rollups of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
"""Columns of rollup.parquet that `list_taps` needs."""


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


def list_taps(chunks: Sequence[tuple[Names, Part]]) -> list[TapInfo]:
    """Taps by order, layer and quantity. The first row of a tap settles its texts and order.

    Args:
        chunks: The names and the columns `LISTED` of the rollup of each chunk.
    """
    numbers: dict[tuple[str, str], int] = {}
    origins: list[tuple[Part, int]] = []
    taps = [np.empty(0, np.int64)]
    for names, part in chunks:
        for pair, row in zip(names.pairs, names.first, strict=True):
            if pair not in numbers:
                numbers[pair] = len(origins)
                origins.append((part, row))
        taps.append(np.array([numbers[pair] for pair in names.pairs], np.int64)[names.place])
    tap = np.concatenate(taps)
    parts = [part for _, part in chunks]
    n_records, n_channels = _count(parts, tap, len(origins))
    dtypes = _name_dtypes(parts, tap, len(origins))
    infos = [
        _describe(part, row, dtypes[i], int(n_records[i]), int(n_channels[i]))
        for i, (part, row) in enumerate(origins)
    ]
    return sorted(infos, key=lambda info: (info.order, info.layer, info.quantity))


def _count(
    parts: Sequence[Part], tap: NDArray[np.int64], n_taps: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Recorded steps and channels of each tap."""
    n_records = np.zeros(n_taps, np.int64)
    n_channels = np.zeros(n_taps, np.int64)
    if parts:
        np.add.at(n_records, tap, np.concatenate([part["n_steps"] for part in parts]))
        np.maximum.at(n_channels, tap, np.concatenate([part["n_channels"] for part in parts]))
    return n_records, n_channels


def _name_dtypes(parts: Sequence[Part], tap: NDArray[np.int64], n_taps: int) -> list[str]:
    """Dtype of each tap, or "mixed" if it changed between chunks."""
    names = sorted({name for part in parts for name in part["dtype"].names})
    codes = [
        np.array([names.index(name) for name in part["dtype"].names], np.int64)[part["dtype"].codes]
        for part in parts
    ]
    low, high = np.full(n_taps, len(names)), np.zeros(n_taps, np.int64)
    if codes:
        np.minimum.at(low, tap, np.concatenate(codes))
        np.maximum.at(high, tap, np.concatenate(codes))
    return [names[i] if i == j else "mixed" for i, j in zip(low, high, strict=True)]


def _describe(part: Part, row: int, dtype: str, n_records: int, n_channels: int) -> TapInfo:
    def text(name: str) -> str:
        column: Texts = part[name]
        return column.names[int(column.codes[row])]

    return TapInfo(
        layer=text("layer"),
        quantity=text("quantity"),
        module=text("module"),
        module_type=text("module_type"),
        role=text("role"),
        dtype=dtype,
        order=int(part["order"][row]),
        n_records=n_records,
        n_channels=n_channels,
    )
