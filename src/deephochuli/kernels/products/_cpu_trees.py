"""Tiles of pairwise sums in binary32, with a binary counter of tiles that wait for others."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import p32, pi64
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS
from deephochuli.kernels.products._cpu_leaves import alone8, flushing_alone8

i64, u64, u32, f32 = np.int64, np.uint64, np.uint32, np.float32
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
# Waiting tiles: as many as K has bits.
HEIGHT = 40
LEAVES, TILE = 8, ROWS * COLUMNS


@nb.njit(**OPTIONS)
def settled(value, flush):
    """A number, or a zero with its sign for a subnormal one."""
    bits = f32(value).view(u32)
    small = flush & (u32(bits & u32(0x7F800000)) == u32(0))
    return u32(bits & u32(0x80000000) if small else bits).view(f32)


@nb.njit(**OPTIONS)
def place(waiting, height):
    """Where a waiting tile lies."""
    return u64(waiting.ctypes.data) + u64(4 * TILE) * u64(height)


@nb.njit(**OPTIONS)
def merge(waiting, height, flush):
    """Add the last of the waiting tiles to the one before it."""
    for i in range(TILE):
        total = f32(waiting[height - 2, i] + waiting[height - 1, i])
        waiting[height - 2, i] = settled(total, flush)
    return height - 1


@nb.njit(**OPTIONS)
def merge_pairs(waiting, height, number, flush):
    """Add up whatever the next tile, of that number, completes."""
    while number & 1:
        height = merge(waiting, height, flush)
        number >>= 1
    return height


@nb.njit(**OPTIONS)
def products_of(waiting, height, a_at, b_at, k, flush):
    """The products of one k as the next waiting tile."""
    a, b = p32(a_at), p32(b_at)
    for row in range(ROWS):
        x = u32(a[k * ROWS + row]).view(f32)
        for j in range(COLUMNS):
            product = f32(x * u32(b[k * COLUMNS + j]).view(f32))
            waiting[height, row * COLUMNS + j] = settled(product, flush)


@nb.njit(**OPTIONS)
def pairwise(a_at, b_at, c_at, n, params, flush):
    """Pairwise sums, added to the tile where it holds initial values.

    The first three levels are trees of eight products, in registers; what is left of K behind those
    has levels of its own.
    """
    waiting, height, c = np.empty((HEIGHT, TILE), np.float32), 0, p32(c_at)
    for number in range(n // LEAVES):
        k = u64(number * LEAVES)
        a, b = a_at + u64(4 * ROWS) * k, b_at + u64(4 * COLUMNS) * k
        if flush:
            flushing_alone8(a, b, place(waiting, height), LEAVES, params)
        else:
            alone8(a, b, place(waiting, height), LEAVES, params)
        height = merge_pairs(waiting, height + 1, number, flush)
    for rest in range(n % LEAVES):
        products_of(waiting, height, a_at, b_at, n - n % LEAVES + rest, flush)
        height = merge_pairs(waiting, height + 1, rest, flush)
    while height > 1:
        height = merge(waiting, height, flush)
    has_start = pi64(params)[0] != 0
    for i in range(TILE):
        value = waiting[0, i]
        if has_start:
            value = settled(f32(u32(c[i]).view(f32) + value), flush)
        c[i] = f32(value).view(u32)


def pairwise32(a_at, b_at, c_at, n, params):
    """Pairwise sums in binary32."""
    pairwise(a_at, b_at, c_at, n, params, False)


def flushing_pairwise32(a_at, b_at, c_at, n, params):
    """The same without subnormal numbers."""
    pairwise(a_at, b_at, c_at, n, params, True)
