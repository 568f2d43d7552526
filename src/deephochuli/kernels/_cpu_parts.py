"""What one thread of the CPU back end does: take parts of the work and finish them.

The work of a call is a table of *jobs* (tensors) cut into *parts* of a fixed size. Each thread
claims parts with an atomic counter, counts into histograms of its own, and writes the keys that
occur, in order, into an arena of its own. The cut does not depend on the number of threads, and
the results of parts are combined in order: so neither does any result.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numba import types

from deephochuli.kernels import _cpu_blocks as blocks
from deephochuli.kernels import _cpu_memory as memory

u32, u64 = np.uint32, np.uint64

BLOCK, COPIES = blocks.BLOCK, blocks.COPIES
MAIN32, MAIN64 = blocks.MAIN32, blocks.MAIN64
N_KEYS = 65536
INFINITY, NAN = 0x7FF0, 0x7FF8
OPTIONS = blocks.OPTIONS

# Job table, uint64 columns.
J_UPDATE, J_TYPE, J_DATA, J_N, J_BEFORE, J_GRADIENT = 0, 1, 2, 3, 4, 5
J_INNER, J_CHANNELS, J_COUNTS, J_TABLE, J_FIRST_PART = 6, 7, 8, 9, 10
J_COLUMNS = 11
BINARY32, BINARY64, BFLOAT16, BINARY16, TABLE8 = 0, 1, 2, 3, 4

# Part table, int64 columns: input, then where the results are.
P_JOB, P_START, P_STOP = 0, 1, 2
P_SLOT, P_KEYS, P_RATIO_AT, P_RATIO_N, P_UPDATABLE, P_UNMOVED = 3, 4, 10, 11, 12, 13
P_COLUMNS = 14
# Moments of a part: 3 sets (data or weight, gradient, update) x (sum, squares, min, max).
M_COLUMNS = 12

# Scratch of one slot, in bytes from its start.
MAIN_BYTES = 4 * max(COPIES * MAIN32, 2 * MAIN64)
S_MAIN = 0
S_DIRECT = S_MAIN + 3 * MAIN_BYTES
S_RATIO = S_DIRECT + 3 * 4 * N_KEYS
RATIO_ZERO, N_RATIOS = 2304, 4608
S_WIDE = S_RATIO + 4 * N_RATIOS
S_INDEX = S_WIDE + 4 * 8 * BLOCK
S_STATE = S_INDEX + 8 * BLOCK
SLOT_BYTES = S_STATE + 256

# Control block, uint64.
C_SLOT, C_NEXT, C_PARTS, C_JOBS, C_PART_TABLE, C_MOMENTS, C_SCRATCH = 0, 1, 2, 3, 4, 5, 6
C_ARENA_KEYS, C_ARENA_COUNTS, C_ARENA_SIZE = 7, 8, 9
C_COLUMNS = 10


@nb.njit(**OPTIONS)
def add_block32(bits, main, direct, moments, extremes):
    """Count one binary32 block; return whether it holds zeros and whether non-finite elements."""
    total, squares, low, high, edges, zeros = blocks.moments32(bits)
    special = high >= blocks.INF32
    if special or u32(low + u32(1)) < blocks.TINY32 and low != u32(0xFFFFFFFF):
        blocks.count_any32(bits, direct)
        if special:
            total, squares, low, high, finite = blocks.finite_moments32(bits)
            extremes[2] |= u64(finite)
        else:
            extremes[2] = u64(1)
    else:
        extremes[2] = u64(1)
        if edges == zeros:
            blocks.count_plain32(bits, main)
        else:
            blocks.count_sticky32(bits, main)
    moments[0] += total
    moments[1] += squares
    extremes[0] = min(extremes[0], u64(low))
    extremes[1] = max(extremes[1], u64(high))
    return zeros != 0, special


@nb.njit(**OPTIONS)
def add_block64(bits, main, direct, moments, extremes):
    """Count one binary64 block; return whether it holds zeros and whether non-finite elements."""
    total, squares, low, high, _, zeros = blocks.moments64(bits)
    special = high >= blocks.INF64
    extremes[2] |= u64(not special)
    if special:
        blocks.count_any64(bits, direct)
        total, squares, low, high, finite = blocks.finite_moments64(bits)
        extremes[2] |= u64(finite)
    else:
        blocks.count_sticky64(bits, main)
    moments[0] += total
    moments[1] += squares
    extremes[0] = min(extremes[0], low)
    extremes[1] = max(extremes[1], high)
    return zeros != 0, special


@nb.njit(types.uint32(types.uint32[::1], types.int64), **OPTIONS)
def take(counts, index):
    """Return a counter and set it to zero."""
    value = counts[index]
    counts[index] = u32(0)
    return value


@nb.njit(types.int64(types.uint16[::1], types.uint32[::1], types.int64, types.int64, types.uint32), **OPTIONS)
def emit(keys, counts, n, key, count):
    """Append a key that occurs; return the new length."""
    if count != u32(0):
        keys[n] = key
        counts[n] = count
        n += 1
    return n


@nb.njit(**OPTIONS)
def drain32(main, direct, low_key, high_key, keys, counts):
    """Move the counts of binary32 data out of the histograms, in the order of the keys."""
    n = np.int64(0)
    for sign in (0, 0x8000):
        local = sign >> 3
        zeros = take(direct, sign)
        for copy in range(COPIES):
            zeros += take(main[copy], local) + take(main[copy], local + 1)
        n = emit(keys, counts, n, sign, zeros)
        for key in range(low_key, high_key + 1):
            count = take(direct, sign | key)
            if (897 << 4) <= key < (1151 << 4):
                for copy in range(COPIES):
                    count += take(main[copy], local | (key - (896 << 4)))
            n = emit(keys, counts, n, sign | key, count)
        n = emit(keys, counts, n, sign | INFINITY, take(direct, sign | INFINITY))
        if sign == 0:
            n = emit(keys, counts, n, NAN, take(direct, NAN))
    return n


@nb.njit(**OPTIONS)
def drain64(main, direct, low_key, high_key, keys, counts):
    """Move the counts of binary64 data out of the histograms, in the order of the keys."""
    n = np.int64(0)
    for sign in (0, 0x8000):
        zeros = take(direct, sign) + take(main[0], sign) + take(main[1], sign)
        n = emit(keys, counts, n, sign, zeros)
        for key in range(low_key, high_key + 1):
            count = take(direct, sign | key)
            count += take(main[0], sign | key) + take(main[1], sign | key)
            n = emit(keys, counts, n, sign | key, count)
        n = emit(keys, counts, n, sign | INFINITY, take(direct, sign | INFINITY))
        if sign == 0:
            n = emit(keys, counts, n, NAN, take(direct, NAN))
    return n


@nb.njit(**OPTIONS)
def magnitude32(bits):
    """Value of a nonnegative binary32 pattern, from integers alone."""
    exponent, fraction = np.int64(bits >> u64(23)), np.float64(bits & u64(0x7FFFFF))
    if exponent == 0:
        return fraction * 2.0**-149
    scale = u64((exponent + 896) << 52).view(np.float64)
    return (1.0 + fraction * 2.0**-23) * scale


@nb.njit(**OPTIONS)
def finish_set(which, is64, scratch, moments, extremes, keys, counts, result):
    """Turn the state of one set into moments, and drain its histograms into the arena."""
    none, finite = extremes[0] == u64(0xFFFFFFFFFFFFFFFF), extremes[2] != u64(0)
    if not is64:
        none = none or extremes[0] == u64(0xFFFFFFFF)
    low_bits, high_bits = u64(extremes[0] + u64(1)), extremes[1]
    main = memory.u32_at(scratch + u64(S_MAIN + which * MAIN_BYTES), MAIN_BYTES // 4)
    direct = memory.u32_at(scratch + u64(S_DIRECT + which * 4 * N_KEYS), N_KEYS)
    low_key, high_key = 1, 0
    if is64:
        if not none:
            low_key, high_key = blocks.sticky64(low_bits), blocks.sticky64(high_bits)
        view = main[: 2 * MAIN64].reshape((2, MAIN64))
        n = drain64(view, direct, low_key, high_key, keys, counts)
        low, high = u64(low_bits).view(np.float64), u64(high_bits).view(np.float64)
    else:
        if not none:
            low_key, high_key = blocks.key32(u32(low_bits)), blocks.key32(u32(high_bits))
        view = main[: COPIES * MAIN32].reshape((COPIES, MAIN32))
        n = drain32(view, direct, low_key, high_key, keys, counts)
        low, high = magnitude32(low_bits), magnitude32(high_bits)
    result[0], result[1] = moments[0], moments[1]
    result[2] = np.nan if none else low
    result[3] = high if finite else np.nan
    moments[:] = 0.0
    extremes[0], extremes[1], extremes[2] = u64(0xFFFFFFFFFFFFFFFF), u64(0), u64(0)
    return n


@nb.njit(**OPTIONS)
def load_block32(kind, address, table, start, n, wide):
    """Binary32 patterns of a block: in place for binary32, else widened into ``wide``."""
    if kind == BINARY32:
        return memory.u32_at(address + u64(4 * start), n)
    out = wide[:n]
    if kind == BFLOAT16:
        blocks.widen_bfloat16(memory.u16_at(address + u64(2 * start), n), out)
    elif kind == BINARY16:
        blocks.widen_binary16(memory.u16_at(address + u64(2 * start), n), out)
    else:
        blocks.widen_table(memory.u8_at(address + u64(start), n), memory.u32_at(table, 256), out)
    return out


@nb.njit(**OPTIONS)
def ratio_slow(update_key, weight_key, ratios):
    """Count one ratio where a zero, a subnormal or a special value may be involved."""
    update_key &= 0x7FFF
    weight_key &= 0x7FFF
    if 0 < update_key < INFINITY and 0 < weight_key < INFINITY:
        ratios[(update_key >> 4) - (weight_key >> 4) + RATIO_ZERO] += u32(1)


@nb.njit(**OPTIONS)
def compare_block32(before, after, gradient, update, ratios):
    """Form the update of a block, count its ratios, and the elements that should have moved.

    ``gradient`` has no elements when there is none. Returns (updatable, unmoved).
    """
    for i in range(after.size):
        difference = u32(after[i]).view(np.float32) - u32(before[i]).view(np.float32)
        update[i] = np.float32(difference).view(np.uint32)
    for i in range(after.size):
        e_update = (update[i] >> u32(23)) & u32(255)
        e_weight = (before[i] >> u32(23)) & u32(255)
        if e_update - u32(1) < u32(254) and e_weight - u32(1) < u32(254):
            ratios[np.int64(e_update) - np.int64(e_weight) + RATIO_ZERO] += u32(1)
        elif (update[i] & blocks.ABS32) != u32(0):
            ratio_slow(blocks.key32(update[i]), blocks.key32(before[i]), ratios)
    updatable, unmoved = u32(0), u32(0)
    for i in range(gradient.size):
        moves = u32((gradient[i] & blocks.ABS32) - u32(1)) < blocks.INF32 - u32(1)
        updatable = u32(updatable + u32(moves))
        unmoved = u32(unmoved + u32(moves and before[i] == after[i]))
    return updatable, unmoved


@nb.njit(**OPTIONS)
def compare_block64(before, after, gradient, update, ratios):
    """The same for binary64 patterns."""
    for i in range(after.size):
        difference = u64(after[i]).view(np.float64) - u64(before[i]).view(np.float64)
        update[i] = np.float64(difference).view(np.uint64)
        if (update[i] & blocks.ABS64) != u64(0):
            ratio_slow(blocks.sticky64(update[i]), blocks.sticky64(before[i]), ratios)
    updatable, unmoved = 0, 0
    for i in range(gradient.size):
        moves = u64((gradient[i] & blocks.ABS64) - u64(1)) < blocks.INF64 - u64(1)
        updatable += np.int64(moves)
        unmoved += np.int64(moves and before[i] == after[i])
    return updatable, unmoved


@nb.njit(**OPTIONS)
def plain_part(job, start, stop, counts_at, scratch, moments, extremes):
    """Count a part of one tensor into set 0, with its channels if asked for."""
    kind = np.int64(job[J_TYPE])
    n_channels, inner = np.int64(job[J_CHANNELS]), np.int64(job[J_INNER])
    out = memory.u32_at(counts_at, 3 * n_channels).reshape((3, n_channels))
    main = memory.u32_at(scratch, MAIN_BYTES // 4)
    direct = memory.u32_at(scratch + u64(S_DIRECT), N_KEYS)
    if kind == BINARY64:
        view64 = main[: 2 * MAIN64].reshape((2, MAIN64))
        for at in range(start, stop, BLOCK // 2):
            n = min(BLOCK // 2, stop - at)
            bits64 = memory.u64_at(job[J_DATA] + u64(8 * at), n)
            zero, special = add_block64(bits64, view64, direct, moments[0], extremes[0])
            if n_channels:
                blocks.count_channels64(bits64, at, inner, out, zero, special)
    else:
        wide = memory.u32_at(scratch + u64(S_WIDE), BLOCK)
        view32 = main[: COPIES * MAIN32].reshape((COPIES, MAIN32))
        for at in range(start, stop, BLOCK):
            n = min(BLOCK, stop - at)
            bits = load_block32(kind, job[J_DATA], job[J_TABLE], at, n, wide)
            zero, special = add_block32(bits, view32, direct, moments[0], extremes[0])
            if n_channels:
                blocks.count_channels32(bits, at, inner, out, zero, special)


@nb.njit(types.uint32[:, ::1](types.uint64, types.int64), **OPTIONS)
def main32_of(scratch, which):
    """The private histograms of one set, for binary32 keys."""
    main = memory.u32_at(scratch + u64(S_MAIN + which * MAIN_BYTES), COPIES * MAIN32)
    return main.reshape((COPIES, MAIN32))


@nb.njit(types.uint32[:, ::1](types.uint64, types.int64), **OPTIONS)
def main64_of(scratch, which):
    """The private histograms of one set, for binary64 keys."""
    main = memory.u32_at(scratch + u64(S_MAIN + which * MAIN_BYTES), 2 * MAIN64)
    return main.reshape((2, MAIN64))


@nb.njit(types.uint32[::1](types.uint64, types.int64), **OPTIONS)
def direct_of(scratch, which):
    """The histogram of one set for elements that take the slow way."""
    return memory.u32_at(scratch + u64(S_DIRECT + which * 4 * N_KEYS), N_KEYS)


@nb.njit(**OPTIONS)
def update_part32(job, start, stop, scratch, moments, extremes):
    """Count a part of one optimizer step: weights, gradients and updates in one read."""
    kind, table = np.int64(job[J_TYPE]), job[J_TABLE]
    wide = memory.u32_at(scratch + u64(S_WIDE), 4 * BLOCK).reshape((4, BLOCK))
    ratios = memory.u32_at(scratch + u64(S_RATIO), N_RATIOS)
    has_gradient = job[J_GRADIENT] != u64(0)
    updatable, unmoved = 0, 0
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        after = load_block32(kind, job[J_DATA], table, at, n, wide[0])
        before = load_block32(kind, job[J_BEFORE], table, at, n, wide[1])
        gradient = wide[2][:0]
        if has_gradient:
            gradient = load_block32(kind, job[J_GRADIENT], table, at, n, wide[2])
            add_block32(
                gradient, main32_of(scratch, 1), direct_of(scratch, 1), moments[1], extremes[1]
            )
        update = wide[3][:n]
        should, stayed = compare_block32(before, after, gradient, update, ratios)
        updatable += np.int64(should)
        unmoved += np.int64(stayed)
        add_block32(after, main32_of(scratch, 0), direct_of(scratch, 0), moments[0], extremes[0])
        add_block32(update, main32_of(scratch, 2), direct_of(scratch, 2), moments[2], extremes[2])
    return updatable, unmoved


@nb.njit(**OPTIONS)
def update_part64(job, start, stop, scratch, moments, extremes):
    """The same for binary64 parameters."""
    wide = memory.u64_at(scratch + u64(S_WIDE), BLOCK)
    ratios = memory.u32_at(scratch + u64(S_RATIO), N_RATIOS)
    has_gradient = job[J_GRADIENT] != u64(0)
    updatable, unmoved = 0, 0
    for at in range(start, stop, BLOCK // 2):
        n = min(BLOCK // 2, stop - at)
        after = memory.u64_at(job[J_DATA] + u64(8 * at), n)
        before = memory.u64_at(job[J_BEFORE] + u64(8 * at), n)
        gradient = wide[:0]
        if has_gradient:
            gradient = memory.u64_at(job[J_GRADIENT] + u64(8 * at), n)
            add_block64(
                gradient, main64_of(scratch, 1), direct_of(scratch, 1), moments[1], extremes[1]
            )
        update = wide[:n]
        should, stayed = compare_block64(before, after, gradient, update, ratios)
        updatable += should
        unmoved += stayed
        add_block64(after, main64_of(scratch, 0), direct_of(scratch, 0), moments[0], extremes[0])
        add_block64(update, main64_of(scratch, 2), direct_of(scratch, 2), moments[2], extremes[2])
    return updatable, unmoved


@nb.njit(**OPTIONS)
def drain_ratios(scratch, keys, counts):
    """Move the counts of ratios into the arena (as index + offset, unsigned)."""
    ratios = memory.u32_at(scratch + u64(S_RATIO), N_RATIOS)
    n = np.int64(0)
    for index in range(N_RATIOS):
        n = emit(keys, counts, n, index, take(ratios, index))
    return n


@nb.njit(types.int64(types.uint64[::1], types.int64[::1], types.int64, types.int64, types.int64), **OPTIONS)
def run_part(control, part, part_index, slot, used):
    """Finish one part; return how much of the slot's arena is used now."""
    job = memory.u64_at(control[C_JOBS] + u64(8 * J_COLUMNS * part[P_JOB]), J_COLUMNS)
    scratch = control[C_SCRATCH] + u64(SLOT_BYTES * slot)
    state = memory.f64_at(scratch + u64(S_STATE), 6).reshape((3, 2))
    extremes = memory.u64_at(scratch + u64(S_STATE + 48), 9).reshape((3, 3))
    size = np.int64(control[C_ARENA_SIZE])
    keys = memory.u16_at(control[C_ARENA_KEYS] + u64(2 * size * slot), size)
    counts = memory.u32_at(control[C_ARENA_COUNTS] + u64(4 * size * slot), size)
    results = memory.f64_at(control[C_MOMENTS] + u64(8 * M_COLUMNS * part_index), M_COLUMNS)
    start, stop, is64 = part[P_START], part[P_STOP], job[J_TYPE] == u64(BINARY64)
    part[P_SLOT] = slot
    n_sets = 1
    if job[J_UPDATE] == u64(0):
        slab = u64(4 * 3 * np.int64(job[J_CHANNELS]) * (part_index - np.int64(job[J_FIRST_PART])))
        plain_part(job, start, stop, job[J_COUNTS] + slab, scratch, state, extremes)
    else:
        n_sets = 3
        if is64:
            should, stayed = update_part64(job, start, stop, scratch, state, extremes)
        else:
            should, stayed = update_part32(job, start, stop, scratch, state, extremes)
        part[P_UPDATABLE], part[P_UNMOVED] = should, stayed
        n = drain_ratios(scratch, keys[used:], counts[used:])
        part[P_RATIO_AT], part[P_RATIO_N] = used, n
        used += n
    for which in range(n_sets):
        n = finish_set(
            which,
            is64,
            scratch,
            state[which],
            extremes[which],
            keys[used:],
            counts[used:],
            results[4 * which : 4 * which + 4],
        )
        part[P_KEYS + 2 * which], part[P_KEYS + 2 * which + 1] = used, n
        used += n
    return used


@nb.njit(types.void(types.uint64), **OPTIONS)
def work(control_address):
    """Claim parts until none is left; every thread of a call runs this once."""
    control = memory.u64_at(control_address, C_COLUMNS)
    slot = memory.fetch_add(control_address + u64(8 * C_SLOT))
    used = np.int64(0)
    while True:
        index = memory.fetch_add(control_address + u64(8 * C_NEXT))
        if index >= np.int64(control[C_PARTS]):
            break
        part = memory.i64_at(control[C_PART_TABLE] + u64(8 * P_COLUMNS * index), P_COLUMNS)
        used = run_part(control, part, index, slot, used)


@nb.cfunc(types.void(types.uint64), nopython=True, cache=True)
def work_entry(control_address):
    """The address that a thread pool calls."""
    work(control_address)
