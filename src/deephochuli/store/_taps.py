"""The taps of a run, numbered in the order in which a writer first saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._rows import TapRow
from deephochuli.store._schema import TAP_COLUMNS
from deephochuli.store._text import as_utf8

_TEXTS = tuple(c.name for c in TAP_COLUMNS if c.kind == "text" and c.name != "dtype")


class Taps:
    """The taps of a run in the order in which they were first seen, with their texts."""

    def __init__(self) -> None:
        self.index: dict[tuple[str, str], int] = {}
        self.texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self.order: list[int] = []
        self.dtypes: list[str] = ["mixed"]
        self._dtype_index: dict[str, int] = {}

    def indices(self, rows: Sequence[TapRow]) -> NDArray[np.int64]:
        """Index of the tap of each row; new taps get the next."""
        found = [self.index.get((row.layer, row.quantity)) for row in rows]
        return np.array(
            [self._add(row) if i is None else i for i, row in zip(found, rows, strict=True)],
            np.int64,
        )

    def add(self, texts: Mapping[str, str], order: int) -> int:
        """Index of the tap with these texts; a new one gets the next."""
        name = (texts["layer"], texts["quantity"])
        if name not in self.index:
            self.index[name] = len(self.order)
            self.order.append(order)
            for text, values in self.texts.items():
                values.append(as_utf8(texts[text]))
        return self.index[name]

    def _add(self, row: TapRow) -> int:
        return self.add({text: getattr(row, text) for text in _TEXTS}, row.order)

    def dtype_indices(self, rows: Sequence[TapRow]) -> NDArray[np.int64]:
        """Index of the dtype of each row in ``dtypes``."""
        return np.array([self.dtype_index(row.dtype) for row in rows], np.int64)

    def dtype_index(self, name: str) -> int:
        """Index of a dtype in ``dtypes``; a new one gets the next."""
        if name not in self._dtype_index:
            self._dtype_index[name] = len(self.dtypes)
            self.dtypes.append(as_utf8(name))
        return self._dtype_index[name]
