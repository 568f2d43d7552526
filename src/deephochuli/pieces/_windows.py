"""Which entries each output of a pooling layer looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def spread(x: Any, n: int | None) -> tuple[int, ...]:
    """An argument of torch that is one number, or one a dimension, as a tuple."""
    if isinstance(x, int):
        return (x,) * (n or 1)
    several = tuple(int(each) for each in x)
    return several * n if n is not None and len(several) == 1 else several


def index_of(places: torch.Tensor) -> NDArray[np.int64]:
    """Places as a flat array."""
    return places.reshape(-1).numpy().astype(np.int64)


@dataclass(frozen=True)
class Windows:
    """Windows of a pooling layer.

    Attributes:
        shape: Spatial shape of the input.
        along: For each dimension an array (outputs, most positions); a position outside of the
            input is padding, `NOTHING` is not even that.
    """

    shape: tuple[int, ...]
    along: tuple[NDArray[np.int64], ...]

    def over(self, n_channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places and counts for all channels.

        Returns:
            (Places in the flattened input, shape (outputs, most entries), -1 where there is none;
            number of entries of each window, those in the padding included).
        """
        n = len(self.along)
        place = np.zeros([1] * (2 * n), dtype=np.int64)
        is_there = np.ones([1] * (2 * n), dtype=bool)
        is_counted = np.ones([1] * (2 * n), dtype=bool)
        for d, positions in enumerate(self.along):
            shape = [1] * (2 * n)
            shape[d], shape[n + d] = positions.shape
            at = positions.reshape(shape)
            place = place * self.shape[d] + at
            is_there = is_there & (at >= 0) & (at < self.shape[d])
            is_counted = is_counted & (at != NOTHING)
        n_windows = math.prod(p.shape[0] for p in self.along)
        flat = np.where(is_there, place, -1).reshape(n_windows, -1)
        counted = np.broadcast_to(is_counted, is_there.shape).reshape(n_windows, -1).sum(axis=1)
        begin = np.arange(n_channels)[:, None, None] * math.prod(self.shape)
        index = np.where(flat[None] >= 0, flat[None] + begin, -1)
        return index.reshape(-1, flat.shape[1]), np.tile(counted, n_channels)


NOTHING = np.iinfo(np.int64).min // 4
"""A position that no window has: windows at an edge are shorter."""


def pool_windows(
    shape: Sequence[int],
    out: Sequence[int],
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    n: int,
) -> Windows:
    """Windows of a pooling layer with a fixed kernel; `out` decides about rounding up."""
    sizes, edges, steps = spread(kernel, n), spread(padding, n), spread(dilation, n)
    strides = sizes if stride is None or stride == () or stride == [] else spread(stride, n)
    along: list[NDArray[np.int64]] = []
    for d in range(n):
        begin = np.arange(out[d], dtype=np.int64)[:, None] * strides[d] - edges[d]
        at = begin + np.arange(sizes[d], dtype=np.int64)[None, :] * steps[d]
        along.append(np.where(at < shape[d] + edges[d], at, NOTHING))
    return Windows(tuple(shape), tuple(along))


def adaptive_windows(shape: Sequence[int], out: Sequence[int]) -> Windows:
    """Windows of adaptive pooling: from floor(i n / m) to ceil((i + 1) n / m)."""
    along: list[NDArray[np.int64]] = []
    for n, m in zip(shape, out, strict=True):
        ends = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        widest = max(stop - start for start, stop in ends)
        along.append(
            np.array(
                [[*range(a, b), *[NOTHING] * (widest - b + a)] for a, b in ends], dtype=np.int64
            )
        )
    return Windows(tuple(shape), tuple(along))
