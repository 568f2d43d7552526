"""Tiles of pairwise sums in binary32, lane by lane, with a binary counter of waiting sums."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import p32, pi64
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS

i64, u64, u32, f32 = np.int64, np.uint64, np.uint32, np.float32
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
# Waiting sums: as many as K has bits.
HEIGHT = 40


@nb.njit(**OPTIONS)
def settled(value, flush):
    """A number, or a zero with its sign for a subnormal one."""
    bits = f32(value).view(u32)
    small = flush & (u32(bits & u32(0x7F800000)) == u32(0))
    return u32(bits & u32(0x80000000) if small else bits).view(f32)


@nb.njit(**OPTIONS)
def row_of(waiting, a_at, b_at, row, n, flush):
    """The pairwise sums of one row of a tile; they end in the first of the waiting ones."""
    a, b, height = p32(a_at), p32(b_at), 0
    for k in range(n):
        x = u32(a[k * ROWS + row]).view(f32)
        for j in range(COLUMNS):
            waiting[height, j] = settled(f32(x * u32(b[k * COLUMNS + j]).view(f32)), flush)
        height += 1
        filled = k
        while filled & 1:
            height -= 1
            for j in range(COLUMNS):
                total = f32(waiting[height - 1, j] + waiting[height, j])
                waiting[height - 1, j] = settled(total, flush)
            filled >>= 1
    while height > 1:
        height -= 1
        for j in range(COLUMNS):
            total = f32(waiting[height - 1, j] + waiting[height, j])
            waiting[height - 1, j] = settled(total, flush)


@nb.njit(**OPTIONS)
def pairwise(a_at, b_at, c_at, n, params, flush):
    """Pairwise sums, added to the tile where it holds initial values."""
    has_start = pi64(params)[0] != 0
    waiting, c = np.empty((HEIGHT, COLUMNS), np.float32), p32(c_at)
    for row in range(ROWS):
        row_of(waiting, a_at, b_at, row, n, flush)
        for j in range(COLUMNS):
            value = waiting[0, j]
            if has_start:
                value = settled(f32(u32(c[row * COLUMNS + j]).view(f32) + value), flush)
            c[row * COLUMNS + j] = f32(value).view(u32)


def pairwise32(a_at, b_at, c_at, n, params):
    """Pairwise sums in binary32."""
    pairwise(a_at, b_at, c_at, n, params, False)


def flushing_pairwise32(a_at, b_at, c_at, n, params):
    """The same without subnormal numbers."""
    pairwise(a_at, b_at, c_at, n, params, True)
