"""Plans as the tables that compiled code reads, and which tile function serves them."""

# Tables hold integers and numbers mixed; numpy's views carry no types.
# pyright: basic

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deephochuli.formats import BINARY32, BINARY64, Format, Overflow, Rounding
from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_chains as chains
from deephochuli.kernels.products import _cpu_control as parts
from deephochuli.kernels.products import _cpu_doubles as doubles
from deephochuli.kernels.products import _cpu_joints as joints
from deephochuli.kernels.products import _cpu_late as late
from deephochuli.kernels.products import _cpu_leaves as leaves
from deephochuli.kernels.products import _cpu_scalar as scalar
from deephochuli.kernels.products import _cpu_separate as separate
from deephochuli.kernels.products import _cpu_steady as steady
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
_EVEN = Rounding.NEAREST_EVEN
# A quick chain needs some bits between its precision and that of binary32.
_WIDEST_QUICK = 20
# Bounded chains scale sums to below two to this power: rounding one needs some room above it.
_ROOM = 108
# Powers of two above which the last bit of a number is one of binary32, with some to spare.
_SMALLEST = -140


class Way(NamedTuple):
    """How tiles are formed: loop, function, its table, and what operands are scaled by.

    Steady: the function for blocks whose exponents are known to be in range, if there is one.
    Exact: the function for exact sums in two numbers; the other one marks outputs that it leaves.
    Sure: the function for blocks whose exact sums need one number and are never rounded twice.
    Always fits: no sum of such a block can leave 32 bits.
    Joins: products in a chunk, where the function also adds the sums of chunks.
    Joint: the table by which partial sums are added to totals in a narrow format.
    """

    loop: int
    function: str = ""
    table: Table = None
    scale: float = 1.0
    steady: str = ""
    always_fits: bool = False
    exact: str = ""
    sure: str = ""
    joins: int = 0
    joint: Table = None


class Sizes(NamedTuple):
    """How large and how small operands and their sums are.

    Attributes:
        sums: What no partial sum, with its roundings, and no operand B exceeds.
        product: What no product exceeds.
        least: The smallest exponent of products that are not zero.
    """

    sums: float = math.inf
    product: float = math.inf
    least: int = -10000


UNKNOWN = Sizes()
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
    if _is_small_tree(plan):
        flushes = plan.flush and not stays_normal(plan, sizes.least)
        name = "flushing_leaves" if flushes else "leaves"
        chunk = plan.chunk or 1
        return Way(parts.CHAINS, f"{name}{chunk}", _no_parameters(), joins=chunk)
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
    return _narrow(plan, sizes) if plan.fused else _separate(plan, sizes, has_start=has_start)


def _exact(plan: ProductPlan) -> Way:
    """Exact sums of products that binary64 holds, in a format inside binary32."""
    nearest = plan.rounding is Rounding.NEAREST_EVEN and not plan.flush
    if plan.dtype.itemsize == 8 or not nearest or plan.format.precision > 24:
        return _ONE_BY_ONE
    if plan.block is None:
        return Way(parts.WHOLE, "exact_blocks", exact="exact_double")
    even = not (plan.chunk or 0) % plan.block and not plan.halves_tail
    size = str(plan.block) if plan.block in (2, 4) and even else ""
    whole = Way(parts.BLOCKS, "exact_blocks", exact="exact_double")
    if plan.format != BINARY32:
        return whole
    return whole._replace(steady=f"exact_single{size}", sure=f"exact_sure{size}")


@functools.lru_cache(maxsize=64)
def _exact_table(plan: ProductPlan) -> Table:
    """What blocks need so that binary64 adds their products: few exponents, and no small ones.

    Products lie below 2^(e + 2) and are multiples of 2^(e - 2(p - 1)), e their exponents. Above
    2^-149 all sums that are subnormal in binary32 are numbers of it.
    """
    inputs, size = plan.inputs or BINARY32, (plan.block or 1) - 1
    table = np.zeros(doubles.D_SLOTS, np.int64)
    table[: chains.H_SLOTS] = _chain_table(plan.format, 0)
    places = 2 * (inputs.precision - 1)
    table[doubles.D_BLOCK] = 2 + size.bit_length()
    table[doubles.D_SPREAD] = 53 - table[doubles.D_BLOCK] - places
    table[doubles.D_LOWEST], table[doubles.D_PLACES] = places - 149, places
    table[doubles.D_LEAST], table[doubles.D_START] = 1 << 20, 1 << 9
    return table


def exact_way(
    plan: ProductPlan,
    way: Way,
    k: int,
    products: tuple[int, int],
    starts: Sequence[int] | None,
    *,
    has_negative_zero: bool = False,
) -> Way:
    """The same exact sums of operands of which more is known.

    Args:
        plan: What to form.
        way: How it is formed.
        k: Products in a sum.
        products: The smallest and the largest exponent of products.
        starts: The smallest and the largest exponent of initial values; None: there are none.
        has_negative_zero: Whether one of those is -0, which one number does not keep.
    """
    table = _full_table(plan, k, products[1], starts)
    if has_negative_zero:
        table[doubles.D_SPREAD] = -(1 << 20)
    if plan.format == BINARY32 and products[0] >= table[doubles.D_LOWEST]:
        return way._replace(table=table, exact="exact_double32")
    return way._replace(table=table)


def _full_table(plan: ProductPlan, k: int, highest: int, starts: Sequence[int] | None) -> Table:
    """The parameters of exact sums, and what two binary64 numbers hold of all K products.

    A first number that begins at 1.5 x 2^s keeps multiples of 2^(s - 52) of sums below 2^(s - 1);
    rests are at most half of that, and the second number adds them without error if all of them
    together are at most 2^53 places of the smallest products and initial values.
    """
    table, size = _exact_table(plan).copy(), plan.block or k
    low, high = starts or (512, -512)
    table[doubles.D_START] = low - BINARY32.precision + 1
    # Running sums of blocks are rounded: twice their exact size is more than enough.
    many = k if plan.block is None else 2 * k + size
    bound = many * 2.0 ** min(highest + 2, 512) + 2.0 ** min(high + 2, 512)
    finite = highest <= 2 * BINARY32.emax and high <= BINARY32.emax
    if not finite or (plan.block is not None and bound >= plan.format.max_finite):
        table[doubles.D_SPREAD] = -(1 << 20)
        return table
    place = math.frexp(bound)[1] + 1
    last = place + (size + 2).bit_length() - 106
    if last <= table[doubles.D_START]:
        table[doubles.D_LEAST] = last + table[doubles.D_PLACES]
        table.view(np.float64)[doubles.D_LARGE] = 1.5 * 2.0**place
    return table


def _is_small_tree(plan: ProductPlan) -> bool:
    """Whether sums are joined trees in binary32 of a few products each."""
    narrow = plan.format == plan.outer == BINARY32 and plan.dtype.itemsize == 4
    tree = plan.kind == "chain" and plan.order == "pairwise" and not plan.halves_tail
    return narrow and tree and plan.chunk in leaves.SIZES and plan.rounding is _EVEN


def stays_normal(plan: ProductPlan, least: int = UNKNOWN.least) -> bool:
    """Whether nothing that is formed of products and of normal numbers can be subnormal.

    Products are multiples of the last place of the smallest one; where that is 2^-102, they differ
    by 2^-126 or nothing from any binary32 number of their size, and so do sums of them.
    """
    inputs = plan.inputs or BINARY64
    last = max(least, 2 * inputs.emin) - 2 * (inputs.precision - 1)
    return 2 * inputs.precision <= 24 and last >= -102


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


def _separate(plan: ProductPlan, sizes: Sizes, *, has_start: bool) -> Way:
    """A chain of rounded products in a format of few bits."""
    fmt, inputs = plan.format, plan.inputs or BINARY32
    last = max(sizes.least, 2 * (inputs.emin - inputs.precision + 1)) - 2 * (inputs.precision - 1)
    exact = 2 * inputs.precision <= 24 and last >= BINARY32.emin - BINARY32.precision + 1
    if not exact or fmt.precision > 11 or not sizes.product < fmt.max_finite:
        return Way(parts.CHAINS, "careful_separate", _chain_table(fmt, 0))
    name = "signed_separate" if has_start else "quick_separate"
    return Way(parts.CHAINS, name, _separate_table(fmt))


@functools.lru_cache(maxsize=64)
def _separate_table(fmt: Format) -> Table:
    table, room = np.zeros(separate.Q_SLOTS, np.int64), 24 - fmt.precision
    table[: chains.H_SLOTS] = _chain_table(fmt, 0)
    table[separate.Q_LEAST] = (fmt.emin + 127) << 23
    # Neither the next power of two nor the large number may leave binary32.
    table[separate.Q_LIMIT] = (min(fmt.emax, 125 - room) + 127) << 23
    _put32(table, separate.Q_MAGIC, 1.5 * 2.0**room)
    table[separate.Q_STEP] = (room << 23) | (1 << 22)
    return table


def _narrow(plan: ProductPlan, sizes: Sizes) -> Way:
    """A chain in a format of few bits."""
    fmt, inputs = plan.format, plan.inputs or BINARY32
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
    joins = ends and plan.outer == fmt and fmt.precision <= joints.WIDEST
    return Way(
        parts.BLOCKS,
        f"{name}{n_parts}",
        table,
        steady=steadily,
        always_fits=n_parts == 0,
        joint=_joint_table(fmt, 0) if joins else None,
    )


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
    name = "steady_late_split" if plan.split else "steady_late4" if block == 4 else "steady_late"
    return Way(parts.BLOCKS, table=_late_table(plan), steady=name)


@functools.lru_cache(maxsize=64)
def _late_table(plan: ProductPlan) -> Table:
    table = _block_table(plan).copy()
    table[steady.T_HIGHEST] = late.HIGHEST
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
