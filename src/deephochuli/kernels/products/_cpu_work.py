"""What one thread of the CPU back end does: form tiles of the result until there are none left.

A task is one panel of 32 columns of one matrix and some rows. Operands are packed: A in tiles of 4
rows, B in panels, each k after k, filled up with zeros. Which thread does a task changes nothing.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import fetch_add, p32, p64, pf64, pi32, pi64
from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_scalar as scalar
from deephochuli.kernels.products import _cpu_steady as steady
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS
from deephochuli.kernels.products._cpu_control import (
    BLOCKS,
    C_A,
    C_A_BOUNDS,
    C_A_EXPONENTS,
    C_A_WORDS,
    C_B,
    C_B_BOUNDS,
    C_B_EXPONENTS,
    C_B_WORDS,
    C_BLOCK,
    C_CHUNKS,
    C_CUTS,
    C_DEFAULT,
    C_DOUBLE_FUNCTION,
    C_GROUPS,
    C_JOINT,
    C_JOINT_PARAMETERS,
    C_M,
    C_N,
    C_NEXT,
    C_OUT,
    C_OUTER,
    C_PADDED_K,
    C_PANELS,
    C_PLAN,
    C_RESTORE,
    C_ROW_TILES,
    C_SAVE,
    C_SCALE,
    C_SCRATCH,
    C_SCRATCH_SIZE,
    C_START,
    C_STARTS,
    C_STEADY_FUNCTION,
    C_TASKS,
    C_TILE_FUNCTION,
    C_TILE_PARAMETERS,
    C_UNSCALE,
    C_WAY,
    C_WIDE,
    DEPTH,
    GROUP,
    ONE_BY_ONE,
    PIECE,
    TILE,
    WHOLE,
    call1,
    call_blocks,
    call_chain,
    call_joint,
)
from deephochuli.kernels.products._cpu_exactly import join_exactly
from deephochuli.kernels.products._cpu_scalar import OPTIONS
from deephochuli.kernels.products._cpu_trees import settled

i64, u64, f32, f64, u32, u16 = np.int64, np.uint64, np.float32, np.float64, np.uint32, np.uint16

# Scratch of a thread: totals and partial sums of a task, one row of A and one column of B in
# binary64, what a single output needs, and the processor's floating-point state.
STATE_BYTES = 1024
TILES_BYTES = 8 * GROUP * TILE
FIXED_BYTES = 2 * TILES_BYTES + scalar.SCRATCH_BYTES + STATE_BYTES


def scratch_bytes(padded_k: int) -> int:
    """What a thread needs for some k."""
    return FIXED_BYTES + 2 * 8 * padded_k


@nb.njit(**OPTIONS)
def read(at, wide, place):
    """A number of the carrier as binary64."""
    if wide != u64(0):
        return pf64(at)[place]
    return f64(u32(p32(at)[place]).view(f32))


@nb.njit(**OPTIONS)
def write(at, wide, place, value):
    """A number of the carrier from binary64."""
    if wide != u64(0):
        pf64(at)[place] = value
    else:
        p32(at)[place] = f32(value).view(u32)


@nb.njit(**OPTIONS)
def place_of(control, batch, row, column):
    """Where an output lies; negative beyond the edges."""
    if row >= i64(control[C_M]) or column >= i64(control[C_N]):
        return i64(-1)
    return (batch * i64(control[C_M]) + row) * i64(control[C_N]) + column


@nb.njit(**OPTIONS)
def begin(control, batch, group, panel, n_tiles, totals):
    """Set the totals of a task to their initial values."""
    start, wide = control[C_START], control[C_WIDE]
    if start == u64(0):
        for i in range(n_tiles * TILE):
            totals[i] = 0.0
        return
    for i in range(n_tiles * TILE):
        row = (group * GROUP + i // TILE) * ROWS + i % TILE // COLUMNS
        at = place_of(control, batch, row, panel * COLUMNS + i % COLUMNS)
        totals[i] = read(start, wide, at) if at >= 0 else 0.0


@nb.njit(**OPTIONS)
def finish(control, batch, group, panel, n_tiles, totals):
    """Write the totals of a task."""
    m, n, first = i64(control[C_M]), i64(control[C_N]), panel * COLUMNS
    above, width = group * GROUP * ROWS, min(i64(COLUMNS), n - first)
    narrow, wide = p32(control[C_OUT]), pf64(control[C_OUT])
    for row in range(min(n_tiles * ROWS, m - above)):
        at, own = (batch * m + above + row) * n + first, row * COLUMNS
        if control[C_WIDE] != u64(0):
            for j in range(width):
                wide[at + j] = totals[own + j]
        else:
            for j in range(width):
                narrow[at + j] = f32(totals[own + j]).view(u32)


@nb.njit(**OPTIONS)
def one_block(control, a_at, b_at, c_at, first, columns, rows):
    """A block that a tile function left over, output by output."""
    n = i64(control[C_BLOCK])
    for r in range(ROWS):
        for k in range(n):
            rows[k] = f64(u32(p32(a_at)[(first + k) * ROWS + r]).view(f32))
        for j in range(COLUMNS):
            for k in range(n):
                columns[k] = f64(u32(p32(b_at)[(first + k) * COLUMNS + j]).view(f32))
            c = f64(u32(p32(c_at)[r * COLUMNS + j]).view(f32))
            value = scalar.aligned_block(rows, columns, 0, n, c, control[C_PLAN])
            p32(c_at)[r * COLUMNS + j] = f32(value).view(u32)


@nb.njit(**OPTIONS)
def join_blocks(control, a_at, ea_at, b_at, eb_at, c_at, k0, k1, columns, rows):
    """All blocks from one k to another on one tile."""
    block = i64(control[C_BLOCK])
    n, done = (k1 - k0) // block, i64(0)
    while done < n:
        if control[C_TILE_FUNCTION] == u64(0):
            one_block(control, a_at, b_at, c_at, k0 + done * block, columns, rows)
            done += 1
            continue
        k = u64(k0 + done * block)
        done += call_blocks(
            control[C_TILE_FUNCTION],
            a_at + k * u64(4 * ROWS),
            ea_at + k * u64(4 * ROWS),
            b_at + k * u64(4 * COLUMNS),
            eb_at + k * u64(2 * COLUMNS),
            c_at,
            u64(n - done),
            u64(block),
            control[C_TILE_PARAMETERS],
        )
        if done < n:
            one_block(control, a_at, b_at, c_at, k0 + done * block, columns, rows)
            done += 1


@nb.njit(**OPTIONS)
def is_steady(control, of_row, of_panel):
    """Whether the exponents of a tile's operands stay in range."""
    if control[C_STEADY_FUNCTION] == u64(0):
        return False
    a, b = pi32(control[C_A_BOUNDS]), pi32(control[C_B_BOUNDS])
    lowest, highest = a[2 * of_row] + b[2 * of_panel], a[2 * of_row + 1] + b[2 * of_panel + 1]
    table = pi64(control[C_TILE_PARAMETERS])
    return lowest >= table[steady.T_LOWEST] and highest <= table[steady.T_HIGHEST]


@nb.njit(**OPTIONS)
def is_steady_start(control, c_at):
    """Whether the running sums of a tile are in range, or zero."""
    table = pi64(control[C_TILE_PARAMETERS])
    lowest = u32((table[steady.T_LOWEST] + blocks.BIAS) << 23)
    span = u32((table[steady.T_HIGHEST] + blocks.BIAS) << 23) - lowest
    c, odd = p32(c_at), u32(0)
    for i in range(TILE):
        size = u32(c[i] & u32(0x7FFFFFFF))
        outside = u32(size - lowest) > span
        odd |= u32(outside & (size != u32(0)))
    return odd == u32(0)


@nb.njit(**OPTIONS)
def join_steadily(control, a_at, wa_at, b_at, wb_at, c_at, k0, k1):
    """All blocks from one k to another on one tile, or none; whether they were joined."""
    if control[C_START] != u64(0) and not is_steady_start(control, c_at):
        return False
    block, k = i64(control[C_BLOCK]), u64(k0)
    cuts = control[C_CUTS] != u64(0)
    if cuts:
        steady.set_rounding(0)
    done = call_blocks(
        control[C_STEADY_FUNCTION],
        a_at + k * u64(4 * ROWS),
        wa_at + k * u64(4 * ROWS),
        b_at + k * u64(4 * COLUMNS),
        wb_at + k * u64(2 * COLUMNS),
        c_at,
        u64((k1 - k0) // block),
        u64(block),
        control[C_TILE_PARAMETERS],
    )
    if cuts:
        steady.set_rounding(1)
    return done != 0


@nb.njit(**OPTIONS)
def by_tiles(control, row_tile, of_panel, parts_at, n_tiles, k0, k1, columns, rows, spare):
    """Partial sums of a task, tile by tile, a piece of k at a time."""
    padded, size = control[C_PADDED_K], u64(8) if control[C_WIDE] != u64(0) else u64(4)
    b_at = control[C_B] + of_panel * padded * size * u64(COLUMNS)
    eb_at = control[C_B_EXPONENTS] + of_panel * padded * u64(2 * COLUMNS)
    wb_at = control[C_B_WORDS] + of_panel * padded * u64(2 * COLUMNS)
    block, at_once = i64(control[C_BLOCK]), PIECE if control[C_DOUBLE_FUNCTION] != u64(0) else DEPTH
    depth = block * max(i64(1), i64(at_once) // block)
    step = max(i64(1), k1 - k0) if control[C_WAY] == u64(WHOLE) else depth
    for first in range(k0, k1, step):
        stop = min(first + step, k1)
        for t in range(n_tiles):
            row = row_tile + u64(t)
            tile_a = control[C_A] + row * padded * size * u64(ROWS)
            c_at = parts_at + u64(t) * u64(TILE) * size
            if control[C_DOUBLE_FUNCTION] != u64(0):
                where = i64(row), i64(of_panel)
                join_exactly(control, *where, c_at, first, stop, depth, columns, rows, spare)
                continue
            if control[C_WAY] != u64(BLOCKS):
                call_chain(
                    control[C_TILE_FUNCTION],
                    tile_a + u64(first) * size * u64(ROWS),
                    b_at + u64(first) * size * u64(COLUMNS),
                    c_at,
                    u64(stop - first),
                    control[C_TILE_PARAMETERS],
                )
                continue
            if is_steady(control, i64(row), i64(of_panel)):
                tile_wa = control[C_A_WORDS] + row * padded * u64(4 * ROWS)
                if join_steadily(control, tile_a, tile_wa, b_at, wb_at, c_at, first, stop):
                    continue
            tile_ea = control[C_A_EXPONENTS] + row * padded * u64(4 * ROWS)
            join_blocks(control, tile_a, tile_ea, b_at, eb_at, c_at, first, stop, columns, rows)


@nb.njit(**OPTIONS)
def one_by_one(control, a_at, b_at, parts_at, n_tiles, n_rows, n_columns, k0, k1, spare):
    """Partial sums of a task, output by output."""
    wide, padded, n = control[C_WIDE], control[C_PADDED_K], k1 - k0
    size = u64(8) if wide != u64(0) else u64(4)
    columns_at = spare + u64(scalar.SCRATCH_BYTES)
    rows_at = columns_at + u64(8) * padded
    columns, rows = pf64(columns_at), pf64(rows_at)
    has_start = control[C_START] != u64(0) and control[C_OUTER] == u64(0)
    for j in range(n_columns):
        for k in range(n):
            columns[k] = read(b_at, wide, (k0 + k) * COLUMNS + j)
        for row in range(n_rows):
            tile_a = a_at + u64(row // ROWS) * padded * size * u64(ROWS)
            for k in range(n):
                rows[k] = read(tile_a, wide, (k0 + k) * ROWS + row % ROWS)
            at = row // ROWS * TILE + row % ROWS * COLUMNS + j
            start = read(parts_at, wide, at)
            value = scalar.partial_sum(rows, columns, n, start, has_start, spare, control[C_PLAN])
            write(parts_at, wide, at, value)


@nb.njit(**OPTIONS)
def join_natively(totals, parts_at, n, unscale, flush):
    """Add partial sums to totals in binary32."""
    parts = p32(parts_at)
    for i in range(n):
        part = f32(u32(parts[i]).view(f32) * f32(unscale))
        total = f32(f32(totals[i]) + part)
        totals[i] = f64(settled(total, flush))


@nb.njit(**OPTIONS)
def join(control, totals_at, parts_at, n, has_outer):
    """Add partial sums to the totals, or replace these where there is one chunk only."""
    totals = pf64(totals_at)
    wide, unscale, outer = control[C_WIDE], u64(control[C_UNSCALE]).view(f64), control[C_OUTER]
    if not has_outer:
        narrow = p32(parts_at)
        for i in range(n):
            part = f64(u32(narrow[i]).view(f32)) if wide == u64(0) else pf64(parts_at)[i]
            totals[i] = part * unscale
        return
    if control[C_JOINT] != u64(0):
        table = control[C_JOINT_PARAMETERS]
        call_joint(control[C_JOINT], totals_at, parts_at, u64(n), table)
        return
    slots = pi64(outer)
    if slots[scalar.S_NATIVE] != 0:
        join_natively(totals, parts_at, n, unscale, slots[scalar.S_FLUSH] != 0)
        return
    if slots[scalar.S_WIDE] != 0 or slots[scalar.S_FLUSH] != 0 or slots[scalar.S_PRECISION] > 24:
        for i in range(n):
            totals[i] = scalar.add(totals[i], read(parts_at, wide, i) * unscale, outer)
        return
    for i in range(n):
        totals[i] = scalar.add_values(totals[i], read(parts_at, wide, i) * unscale, outer)


@nb.njit(**OPTIONS)
def fill(control, totals, parts_at, n, has_outer, scale):
    """What partial sums start from."""
    if control[C_WIDE] != u64(0):
        wide = pf64(parts_at)
        for i in range(n):
            wide[i] = 0.0 if has_outer else totals[i] * scale
        return
    narrow = p32(parts_at)
    for i in range(n):
        narrow[i] = u32(0) if has_outer else u32(f32(totals[i] * scale).view(u32))


@nb.njit(**OPTIONS)
def do_task(control, task, scratch):
    """Form one part of the result."""
    panels, groups = i64(control[C_PANELS]), i64(control[C_GROUPS])
    panel, rest = task % panels, task // panels
    group, batch = rest % groups, rest // groups
    n_tiles = min(i64(GROUP), i64(control[C_ROW_TILES]) - group * GROUP)
    size = u64(8) if control[C_WIDE] != u64(0) else u64(4)
    row_tile = u64(batch) * control[C_ROW_TILES] + u64(group * GROUP)
    of_panel = u64(batch) * control[C_PANELS] + u64(panel)
    padded = control[C_PADDED_K]
    a_at = control[C_A] + row_tile * padded * size * u64(ROWS)
    b_at = control[C_B] + of_panel * padded * size * u64(COLUMNS)
    totals, parts_at = pf64(scratch), scratch + u64(TILES_BYTES)
    spare = scratch + u64(2 * TILES_BYTES)
    columns_at = spare + u64(scalar.SCRATCH_BYTES)
    columns, rows = pf64(columns_at), pf64(columns_at + u64(8) * padded)
    begin(control, batch, group, panel, n_tiles, totals)
    has_outer, scale = control[C_OUTER] != u64(0), u64(control[C_SCALE]).view(f64)
    n_rows = min(n_tiles * ROWS, i64(control[C_M]) - group * GROUP * ROWS)
    n_columns = min(i64(COLUMNS), i64(control[C_N]) - panel * COLUMNS)
    starts = pi64(control[C_STARTS])
    for chunk in range(i64(control[C_CHUNKS])):
        fill(control, totals, parts_at, n_tiles * TILE, has_outer, scale)
        k0, k1 = starts[chunk], starts[chunk + 1]
        if control[C_WAY] == u64(ONE_BY_ONE):
            one_by_one(control, a_at, b_at, parts_at, n_tiles, n_rows, n_columns, k0, k1, spare)
        else:
            by_tiles(control, row_tile, of_panel, parts_at, n_tiles, k0, k1, columns, rows, spare)
        join(control, scratch, parts_at, n_tiles * TILE, has_outer)
    finish(control, batch, group, panel, n_tiles, totals)


def work(control_at):
    """Do tasks until there are none left, in the default floating-point environment."""
    control = p64(control_at)
    slot = fetch_add(control_at)
    scratch = control[C_SCRATCH] + u64(slot) * control[C_SCRATCH_SIZE]
    state = scratch + control[C_SCRATCH_SIZE] - u64(STATE_BYTES)
    if control[C_SAVE] != u64(0):
        call1(control[C_SAVE], state)
        call1(control[C_RESTORE], control[C_DEFAULT])
    while True:
        task = fetch_add(control_at + u64(8 * C_NEXT))
        if task >= i64(control[C_TASKS]):
            break
        do_task(control, task, scratch)
    if control[C_SAVE] != u64(0):
        call1(control[C_RESTORE], state)
