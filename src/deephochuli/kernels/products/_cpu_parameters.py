"""Plans as the tables that compiled code reads, and which tile function serves them."""

# Tables hold integers and numbers mixed; numpy's views carry no types.
# pyright: basic

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from deephochuli.formats import BINARY32, BINARY64, Format, Overflow, Rounding
from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_chains as chains
from deephochuli.kernels.products import _cpu_joints as joints
from deephochuli.kernels.products import _cpu_late as late
from deephochuli.kernels.products import _cpu_scalar as scalar
from deephochuli.kernels.products import _cpu_steady as steady
from deephochuli.kernels.products import _cpu_work as parts
from deephochuli.kernels.products._plan import ProductPlan

Table = Any
_KINDS = {"chain": scalar.CHAIN, "aligned": scalar.ALIGNED, "exact": scalar.EXACT}
_ORDERS = {
    "sequential": scalar.SEQUENTIAL,
    "pairwise": scalar.PAIRWISE,
    "interleaved": scalar.INTERLEAVED,
}
_MODES = {
    Rounding.NEAREST_EVEN: scalar.EVEN,
    Rounding.NEAREST_AWAY: scalar.AWAY,
    Rounding.TOWARD_ZERO: scalar.ZERO,
    Rounding.UP: scalar.UP,
    Rounding.DOWN: scalar.DOWN,
    Rounding.ODD: scalar.ODD,
}
_BEYOND = {Overflow.INFINITY: np.inf, Overflow.NAN: np.nan}
# A quick chain needs some bits between its precision and that of binary32.
_WIDEST_QUICK = 20
# Bounded chains scale sums to below two to this power: rounding one needs some room above it.
_ROOM = 108
# Powers of two above which the last bit of a number is one of binary32, with some to spare.
_SMALLEST = -140


class Way(NamedTuple):
    """How tiles are formed: loop, function, its table, and what operands are scaled by.

    Steady: the function for blocks whose exponents are known to be in range, if there is one.
    Marks: the function tells which outputs it left as they were.
    Always fits: no sum of such a block can leave 32 bits.
    Joint: the table by which partial sums are added to totals in a narrow format.
    """

    loop: int
    function: str = ""
    table: Table = None
    scale: float = 1.0
    steady: str = ""
    always_fits: bool = False
    marks: bool = False
    joint: Table = None


class Sizes(NamedTuple):
    """What operands and their sums do not exceed.

    Attributes:
        sums: What no partial sum, with its roundings, and no operand B exceeds.
        product: What no product exceeds.
    """

    sums: float
    product: float


UNKNOWN = Sizes(math.inf, math.inf)
_ONE_BY_ONE = Way(parts.ONE_BY_ONE)


@functools.lru_cache(maxsize=256)
def scalar_table(plan: ProductPlan) -> Table:
    """The parameters of single outputs."""
    table = _format_table(plan.format, plan.rounding, aligned=plan.kind == "aligned")
    inputs = plan.inputs or BINARY64
    table[scalar.S_KIND] = _KINDS[plan.kind]
    table[scalar.S_ORDER] = _ORDERS[plan.order]
    table[scalar.S_FUSED] = plan.fused and plan.order != "pairwise"
    table[scalar.S_FLUSH] = plan.flush
    table[scalar.S_BLOCK] = plan.block or 1 << 40
    table[scalar.S_INPUTS_EMIN] = inputs.emin
    table[scalar.S_FRACTION] = plan.fraction_bits
    table[scalar.S_FLOORS] = plan.floors
    table[scalar.S_ZERO] = scalar.NONE if plan.zero_exponent is None else plan.zero_exponent
    table[scalar.S_LATE] = plan.late_bits or 0
    table[scalar.S_SPLIT] = plan.split
    return table


@functools.lru_cache(maxsize=64)
def outer_table(plan: ProductPlan) -> Table:
    """The parameters of the second level."""
    table = _format_table(plan.outer or BINARY32, Rounding.NEAREST_EVEN, aligned=False)
    table[scalar.S_FLUSH] = plan.flush
    table[scalar.S_NATIVE] = plan.outer == BINARY32 and plan.dtype.itemsize == 4
    return table


def _format_table(fmt: Format, rounding: Rounding, *, aligned: bool) -> Table:
    table = np.zeros(scalar.S_SLOTS, np.int64)
    numbers = table.view(np.float64)
    table[scalar.S_WIDE] = fmt == BINARY64 and not aligned
    table[scalar.S_PRECISION], table[scalar.S_EMIN] = fmt.precision, fmt.emin
    table[scalar.S_MODE] = _MODES[rounding]
    table[scalar.S_STAYS] = not aligned
    beyond = np.inf if aligned else _BEYOND.get(fmt.overflow, fmt.max_finite)
    numbers[scalar.S_MAX], numbers[scalar.S_BEYOND] = fmt.max_finite, beyond
    keeps = fmt.has_infinities and fmt.overflow is not Overflow.SATURATE
    numbers[scalar.S_LEAST] = 2.0**fmt.emin
    numbers[scalar.S_MAGIC] = 1.5 * 2.0 ** (53 - fmt.precision)
    numbers[scalar.S_INFINITY] = np.inf if keeps else beyond
    return table


def way_of(plan: ProductPlan, sizes: Sizes, *, has_start: bool) -> Way:
    """How tiles of a plan are formed.

    Args:
        plan: What to form.
        sizes: What is known of the operands.
        has_start: Whether there are initial values.
    """
    if plan.kind == "exact":
        return _exact(plan)
    if plan.flush:
        return _flushing(plan, has_start=has_start)
    if plan.order != "sequential":
        return _tree(plan, has_start=has_start)
    if plan.kind == "aligned":
        return _blocks(plan, sizes.sums)
    nearest = plan.rounding is Rounding.NEAREST_EVEN
    if plan.format in (BINARY32, BINARY64) and nearest:
        if plan.format == BINARY32 and plan.dtype.itemsize == 8:
            return _ONE_BY_ONE
        name = ("fused" if plan.fused else "separate") + str(plan.format.bits)
        return Way(parts.CHAINS, name, _no_parameters())
    if not nearest or plan.format.precision > _WIDEST_QUICK or plan.dtype.itemsize == 8:
        return _ONE_BY_ONE
    return _narrow(plan, sizes)


def _exact(plan: ProductPlan) -> Way:
    """Exact sums of products that binary64 holds, in a format inside binary32."""
    nearest = plan.rounding is Rounding.NEAREST_EVEN and not plan.flush
    if plan.dtype.itemsize == 8 or not nearest or plan.format.precision > 24:
        return _ONE_BY_ONE
    loop = parts.WHOLE if plan.block is None else parts.BLOCKS
    return Way(loop, "exact_blocks", _chain_table(plan.format, 0), marks=True)


def _flushing(plan: ProductPlan, *, has_start: bool) -> Way:
    """A chain without subnormal numbers: tiles know those in binary32."""
    narrow = plan.format == BINARY32 and plan.dtype.itemsize == 4 and plan.kind == "chain"
    if not narrow or plan.rounding is not Rounding.NEAREST_EVEN:
        return _ONE_BY_ONE
    is_first = has_start and plan.outer is None
    if plan.order == "pairwise":
        return Way(parts.WHOLE, "flushing_pairwise32", _tree_table(is_first))
    if plan.order == "sequential":
        name = "flushing_fused32" if plan.fused else "flushing_separate32"
        return Way(parts.CHAINS, name, _no_parameters())
    if is_first or not plan.fused:
        return _ONE_BY_ONE
    return Way(parts.WHOLE, "flushing_interleaved32", _no_parameters())


def _tree(plan: ProductPlan, *, has_start: bool) -> Way:
    """Pairwise sums, and those of even and odd k apart, have tiles in binary32."""
    nearest = plan.rounding is Rounding.NEAREST_EVEN
    narrow = plan.format == BINARY32 and plan.dtype.itemsize == 4
    if not narrow or not nearest:
        return _ONE_BY_ONE
    is_first = has_start and plan.outer is None
    if plan.order == "pairwise":
        return Way(parts.WHOLE, "pairwise32", _tree_table(is_first))
    if is_first or not plan.fused:
        return _ONE_BY_ONE
    return Way(parts.WHOLE, "interleaved32", _no_parameters())


@functools.cache
def _tree_table(has_start: bool) -> Table:
    return np.array([has_start], np.int64)


@functools.cache
def _no_parameters() -> Table:
    return np.zeros(1, np.int64)


def _narrow(plan: ProductPlan, sizes: Sizes) -> Way:
    """A chain in a format of few bits."""
    fmt, inputs = plan.format, plan.inputs or BINARY32
    if not plan.fused:
        return Way(parts.CHAINS, "careful_separate", _chain_table(fmt, 0))
    least = inputs.emin - inputs.precision
    if 2 * inputs.precision > 24 or least < _SMALLEST:
        return Way(parts.CHAINS, "quick_wide", _chain_table(fmt, 0))
    if sizes.sums >= fmt.max_finite / 2:
        return Way(parts.CHAINS, "quick_checked", _chain_table(fmt, 0))
    name, scale = "quick_bounded", min(1 - fmt.emin, _ROOM - math.frexp(sizes.sums)[1])
    if 2 * inputs.precision + fmt.precision <= 24:
        own = min(scale, 24 - fmt.precision - math.frexp(sizes.product)[1])
        if least + own >= _SMALLEST:
            name, scale = "quick_even", own
    if name == "quick_bounded" and scale < 0:
        return Way(parts.CHAINS, "quick_checked", _chain_table(fmt, 0))
    joins = plan.outer == fmt and fmt.precision <= joints.WIDEST
    joint = _joint_table(fmt, scale) if joins else None
    return Way(parts.CHAINS, name, _chain_table(fmt, scale), 2.0**scale, joint=joint)


@functools.lru_cache(maxsize=64)
def _joint_table(fmt: Format, scale: int) -> Table:
    table = np.zeros(joints.J_SLOTS, np.int64)
    _put32(table, joints.J_UNSCALE, 2.0**-scale)
    _put32(table, joints.J_MAGIC, 1.5 * 2.0 ** (24 - fmt.precision))
    return table


@functools.lru_cache(maxsize=64)
def _chain_table(fmt: Format, scale: int) -> Table:
    table = np.zeros(chains.H_SLOTS, np.int64)
    numbers, p = table.view(np.float64), fmt.precision
    table[chains.H_LOW_BITS] = (1 << (24 - p)) - 1
    table[chains.H_HALF] = (1 << (24 - p)) >> 1
    # Far enough above the subnormal numbers of binary32 for errors of sums to be exact.
    least = max(fmt.emin + scale, -100)
    table[chains.H_LEAST] = (least + 127) << 23
    table[chains.H_SPAN] = (fmt.emax + scale - least) << 23
    numbers[chains.H_MAGIC64] = 1.5 * 2.0 ** (53 - p)
    numbers[chains.H_LEAST64] = 2.0 ** (fmt.emin + scale)
    numbers[chains.H_MAX] = fmt.max_finite * 2.0**scale
    beyond = _BEYOND.get(fmt.overflow, fmt.max_finite)
    numbers[chains.H_BEYOND] = beyond * 2.0**scale
    _put32(table, chains.H_MAGIC32, 1.5 * 2.0 ** (24 - p))
    return table


def _put32(table: Table, slot: int, value: float) -> None:
    table[slot : slot + 1].view(np.float32)[0] = value


def _blocks(plan: ProductPlan, largest: float) -> Way:
    """An aligned sum: the function depends on how many bits its sums can have."""
    fmt, inputs, block = plan.format, plan.inputs or BINARY32, plan.block or 1
    cuts = plan.rounding is Rounding.TOWARD_ZERO
    nearest = plan.rounding is Rounding.NEAREST_EVEN and fmt.precision <= 15
    if plan.late_bits is not None:
        return _late(plan)
    if plan.floors or 2 * inputs.precision > 24 or not (cuts or nearest):
        return _ONE_BY_ONE
    products = block * (2.0 - 2.0 ** (1 - inputs.precision)) ** 2 * 2.0**plan.fraction_bits
    total = products + 2.0 ** (plan.fraction_bits + 1)
    table = _block_table(plan)
    if cuts and fmt.precision < BINARY32.precision:
        if total >= 2**24:
            return _ONE_BY_ONE
        return Way(parts.BLOCKS, "shortened", table, steady="steady_shortened0", always_fits=True)
    n_parts = 0 if total < 2**31 else 1 if products < 2**31 else 2
    if products >= 2**32 or block % max(n_parts, 1):
        return _ONE_BY_ONE
    name = "truncated" if cuts else "nearest"
    # Rounding adds at most what the products did: the sum before them is a number of the format.
    ends = nearest and largest < fmt.max_finite / 2
    steadily = f"steady_{'bounded' if ends else name}{n_parts}"
    return Way(parts.BLOCKS, f"{name}{n_parts}", table, steady=steadily, always_fits=n_parts == 0)


def _late(plan: ProductPlan) -> Way:
    """An aligned sum that the running sum joins in the end: tiles know one kind."""
    inputs, block, bits = plan.inputs or BINARY32, plan.block or 1, late.FRACTION_BITS
    same = (plan.fraction_bits, plan.late_bits) == (bits, late.LATE_BITS) and not plan.floors
    nearest = plan.format == BINARY32 and plan.rounding is Rounding.NEAREST_EVEN
    products = block * (2.0 - 2.0 ** (1 - inputs.precision)) ** 2 * 2.0**bits
    if not (same and nearest) or 2 * inputs.precision > 24 or products > late.MOST:
        return _ONE_BY_ONE
    if block % 2 and plan.split:
        return _ONE_BY_ONE
    name = "steady_late_split" if plan.split else "steady_late"
    return Way(parts.BLOCKS, table=_late_table(plan), steady=name)


@functools.lru_cache(maxsize=64)
def _late_table(plan: ProductPlan) -> Table:
    table = _block_table(plan).copy()
    table[steady.T_HIGHEST] = late.HIGHEST
    table[steady.T_WORD] = (steady.LOWEST + blocks.BIAS + late.HEADROOM) << steady.PLACE
    return table


@functools.lru_cache(maxsize=64)
def _block_table(plan: ProductPlan) -> Table:
    table, fmt, bits = np.zeros(steady.T_SLOTS, np.int64), plan.format, plan.fraction_bits
    floor = blocks.OF_ZERO if plan.zero_exponent is None else plan.zero_exponent
    table[blocks.G_FLOOR] = max(floor + blocks.BIAS, -8000)
    table[blocks.G_SCALE] = bits + 254
    table[blocks.G_CUT] = 0xFFFFFFFF & -(1 << (24 - fmt.precision))
    table[blocks.G_LEAST] = fmt.emin + blocks.BIAS
    _put32(table, blocks.G_POWER, 2.0**fmt.emin)
    _put32(table, blocks.G_MAGIC, 1.5 * 2.0 ** (24 - fmt.precision))
    _put32(table, blocks.G_MAX, fmt.max_finite)
    lowest = max(steady.LOWEST, bits + 1 - blocks.BIAS)
    table[steady.T_LOWEST], table[steady.T_HIGHEST] = lowest, steady.HIGHEST
    table[steady.T_WORD] = (max(floor, lowest) + blocks.BIAS) << steady.PLACE
    table[steady.T_VECTORS] = chains.ROWS * chains.PANELS
    table[steady.T_LOW_BITS] = (1 << (24 - fmt.precision)) - 1
    table[steady.T_HALF] = (1 << (24 - fmt.precision)) >> 1
    table[steady.T_LIFT] = (1 - fmt.emin) << 23
    table[steady.T_SCALE] = (bits + 254) << 23
    table[steady.T_LEAST] = (fmt.emin + blocks.BIAS) << 23
    return table
