"""Exact sums of a tile: how each piece of k is formed, and what that leaves over."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_emit import LANES
from deephochuli.kernels._cpu_memory import p16, p32, pi32, pi64
from deephochuli.kernels.products import _cpu_doubles as doubles
from deephochuli.kernels.products import _cpu_scalar as scalar
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS
from deephochuli.kernels.products._cpu_control import (
    C_A,
    C_A_BOUNDS,
    C_A_WORDS,
    C_B,
    C_B_BOUNDS,
    C_B_WORDS,
    C_BLOCK,
    C_DOUBLE_FUNCTION,
    C_PADDED_K,
    C_PLAN,
    C_STEADY_FUNCTION,
    C_SURE_FUNCTION,
    C_TILE_FUNCTION,
    C_TILE_PARAMETERS,
    C_WAY,
    TILE,
    WHOLE,
    call_exact,
    call_sums,
)
from deephochuli.kernels.products._cpu_scalar import OPTIONS

i64, u64, f32, f64, u32 = np.int64, np.uint64, np.float32, np.float64, np.uint32
# In one binary64 number, in two, or so that outputs are marked where that is too few.
SINGLE, DOUBLE, MARKED = range(3)
# Blocks for which it is worth the while to look at the running sums beforehand.
WORTH = 8


@nb.njit(**OPTIONS)
def join_marked(control, a_at, b_at, c_at, n_blocks, size, columns, rows, spare):
    """Blocks of an exact sum on one tile; marked outputs are formed one by one."""
    n, marks, table = n_blocks * size, p16(spare), control[C_TILE_PARAMETERS]
    call_exact(control[C_TILE_FUNCTION], a_at, b_at, c_at, spare, u64(n_blocks), u64(size), table)
    for at in range(TILE):
        if (i64(marks[at // LANES]) >> (at % LANES)) & 1:
            for i in range(n):
                rows[i] = f64(u32(p32(a_at)[i * ROWS + at // COLUMNS]).view(f32))
                columns[i] = f64(u32(p32(b_at)[i * COLUMNS + at % COLUMNS]).view(f32))
            start = f64(u32(p32(c_at)[at]).view(f32))
            value = scalar.partial_sum(rows, columns, n, start, True, spare, control[C_PLAN])
            p32(c_at)[at] = f32(value).view(u32)


@nb.njit(**OPTIONS)
def extent(bounds, first, stop):
    """The smallest and the largest exponent of some pieces."""
    lowest, highest = i64(bounds[2 * first]), i64(bounds[2 * first + 1])
    for piece in range(first + 1, stop):
        lowest = min(lowest, i64(bounds[2 * piece]))
        highest = max(highest, i64(bounds[2 * piece + 1]))
    return lowest, highest


@nb.njit(**OPTIONS)
def of_products(control, of_row, of_panel, first, stop, n):
    """The smallest exponent of products of some pieces, and how far the largest is above it."""
    a, b = pi32(control[C_A_BOUNDS]), pi32(control[C_B_BOUNDS])
    low_a, high_a = extent(a, of_row * n + first, of_row * n + stop)
    low_b, high_b = extent(b, of_panel * n + first, of_panel * n + stop)
    return low_a + low_b, high_a - low_a + high_b - low_b


@nb.njit(**OPTIONS)
def exact_way(control, of_row, of_panel, k0, k1, depth):
    """How blocks from one k to another are formed, and two exponents.

    Those are the last place of all sums up to there, and what no sum of the products of a block
    reaches.
    """
    table, n = pi64(control[C_TILE_PARAMETERS]), -(-i64(control[C_PADDED_K]) // depth)
    low, spread = of_products(control, of_row, of_panel, k0 // depth, (k1 - 1) // depth + 1, n)
    least, all_spread = of_products(control, of_row, of_panel, 0, n, n)
    last = min(least - table[doubles.D_PLACES], table[doubles.D_START])
    few = spread <= table[doubles.D_SPREAD] and low >= table[doubles.D_LOWEST]
    if few and control[C_STEADY_FUNCTION] != u64(0):
        return i64(SINGLE), last, low + spread + table[doubles.D_BLOCK]
    if least >= table[doubles.D_LEAST] and all_spread < 5000:
        return i64(DOUBLE), last, i64(0)
    return i64(MARKED), last, i64(0)


@nb.njit(**OPTIONS)
def is_below(c_at, exponent):
    """Whether the running sums of a tile are smaller than a power of two."""
    c, largest = p32(c_at), u32(0)
    for i in range(TILE):
        largest = max(largest, u32(c[i] & u32(0x7FFFFFFF)))
    return (i64(largest) >> 23) - 127 < exponent


@nb.njit(**OPTIONS)
def join_singly(control, a, b, c_at, n_blocks, size, last, reach):
    """Blocks whose products one binary64 number holds.

    Where running sums are below half of what such a number holds, some more blocks stay below it.
    """
    half, table = last + 52, control[C_TILE_PARAMETERS]
    many = i64(1) << min(max(half - reach, 0), 30)
    own = min(many, n_blocks) if many >= WORTH else n_blocks
    while n_blocks > 0:
        own = min(own, n_blocks)
        sure = many >= WORTH and is_below(c_at, half)
        function = control[C_SURE_FUNCTION] if sure else control[C_STEADY_FUNCTION]
        call_sums(function, a, b, c_at, u64(own), u64(size), u64(last), table)
        a, b = a + u64(8 * own * size * ROWS), b + u64(8 * own * size * COLUMNS)
        n_blocks -= own


@nb.njit(**OPTIONS)
def join_exactly(control, row, of_panel, c_at, k0, k1, depth, columns, rows, spare):
    """All blocks from one k to another on one tile; the last one may be shorter."""
    way, last, reach = exact_way(control, row, of_panel, k0, k1, depth)
    size = k1 - k0 if control[C_WAY] == u64(WHOLE) else i64(control[C_BLOCK])
    padded, table = control[C_PADDED_K], control[C_TILE_PARAMETERS]
    tile, panel = u64(row) * padded, u64(of_panel) * padded
    while k0 < k1:
        own = min(size, k1 - k0)
        many = (k1 - k0) // own
        in_a, in_b = (tile + u64(k0)) * u64(ROWS), (panel + u64(k0)) * u64(COLUMNS)
        a, b = control[C_A_WORDS] + u64(8) * in_a, control[C_B_WORDS] + u64(8) * in_b
        if way == SINGLE:
            join_singly(control, a, b, c_at, many, own, last, reach)
        elif way == DOUBLE:
            function = control[C_DOUBLE_FUNCTION]
            call_sums(function, a, b, c_at, u64(many), u64(own), u64(last), table)
        else:
            a, b = control[C_A] + u64(4) * in_a, control[C_B] + u64(4) * in_b
            join_marked(control, a, b, c_at, many, own, columns, rows, spare)
        k0 += many * own
