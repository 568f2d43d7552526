"""How numbers become few bytes: logarithmic codes, and one packed blob of typed arrays.

A report holds hundreds of thousands of counts and magnitudes for its charts. They are stored as

* **count codes** (uint16): 0 for no element, else ``1 + round(64 log2 count)``. Counts up to 92
  come back exactly, larger ones within 1.1 %. ``NOT_MEASURED`` marks a cell that was never
  recorded;
* **magnitude codes** (int32): ``OFFSET + round(256 log2 x)``, within 0.14 %; 0 is "not measured",
  1 is an exact zero.

Whole-run counts never pass through a code: they are exact integers. The blob is the bytes of all
arrays, differences taken where neighbours resemble each other, grouped by byte significance (all
lowest bytes, then all second bytes, ...), deflated, in base64.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NOT_MEASURED: Final = 0xFFFF
STEPS_PER_OCTAVE_OF_COUNT: Final = 64
STEPS_PER_BINADE: Final = 256
MAGNITUDE_OFFSET: Final = 1 << 19

_KINDS: Final = {"u1": "<u1", "u2": "<u2", "i2": "<i2", "u4": "<u4", "i4": "<i4", "i8": "<i8"}
_KINDS_FLOAT: Final = {"f4": "<f4", "f8": "<f8"}


def encode_counts(counts: Array, measured: Array | None = None) -> npt.NDArray[np.uint16]:
    """Count codes of nonnegative counts; `measured` is False where there is no count at all."""
    safe = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    codes = 1 + np.rint(STEPS_PER_OCTAVE_OF_COUNT * np.log2(safe))
    codes = np.where(np.asarray(counts) > 0, codes, 0.0).astype(np.uint16)
    if measured is not None:
        codes[~measured] = NOT_MEASURED
    return codes


def encode_magnitudes(values: Array) -> npt.NDArray[np.int32]:
    """Magnitude codes of nonnegative values; nan is "not measured"."""
    values = np.asarray(values, dtype=np.float64)
    positive = np.isfinite(values) & (values > 0)
    logs = np.log2(np.where(positive, values, 1.0))
    codes = MAGNITUDE_OFFSET + np.rint(STEPS_PER_BINADE * logs)
    codes = np.where(positive, codes, np.where(values == 0, 1, 0))
    return codes.astype(np.int32)


class Blob:
    """Typed arrays collected under names, then packed into one base64 text and a directory."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: list[bytes] = []
        self.directory: dict[str, list[Any]] = {}

    def add(self, name: str, kind: str, array: Array, *, delta: bool = False) -> None:
        """Append one array.

        Args:
            name: Key of the array in the directory.
            kind: Element type as it is stored: u1, u2, i2, u4, i4, i8, f4 or f8.
            array: Any shape; stored flat, last axis fastest.
            delta: Store differences of neighbours (modulo the width of the type; integers only).
        """
        stored = {**_KINDS, **_KINDS_FLOAT}[kind]
        flat = np.ascontiguousarray(array).reshape(-1).astype(stored)
        self.directory[name] = [kind, int(flat.size), int(delta)]
        if delta:
            unsigned = flat.view(f"<u{flat.itemsize}")
            flat = np.diff(unsigned, prepend=unsigned.dtype.type(0))
        planes = flat.view(np.uint8).reshape(-1, flat.itemsize).T
        self._parts.append(np.ascontiguousarray(planes).tobytes())

    def to_base64(self) -> str:
        """All arrays in order of arrival, deflated (zlib container), as base64 text."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 6)).decode("ascii")
