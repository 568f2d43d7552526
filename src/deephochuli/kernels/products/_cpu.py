"""The CPU back end: packed operands, one call of the compiled parts, on torch's own threads."""

# The compiled parts carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import ctypes
import functools
import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deephochuli.formats import BINARY32, Rounding
from deephochuli.kernels._pool import run_everywhere
from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_control as parts
from deephochuli.kernels.products import _cpu_late as late
from deephochuli.kernels.products import _cpu_steady as steady
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS
from deephochuli.kernels.products._cpu_entries import address_of
from deephochuli.kernels.products._cpu_parameters import (
    UNKNOWN,
    Sizes,
    Way,
    exact_way,
    outer_table,
    scalar_table,
    stays_normal,
    way_of,
)
from deephochuli.kernels.products._cpu_work import scratch_bytes
from deephochuli.kernels.products._environment import environment
from deephochuli.kernels.products._plan import ProductPlan
from deephochuli.kernels.products._reference import flushed_operand

# Below this many products waking other threads costs more than they help.
_SMALL = 1 << 17


class _Workspace(threading.local):
    """Scratch memory of the calling thread's calls, grown when needed and kept."""

    def __init__(self) -> None:
        self.control = np.zeros(parts.C_SLOTS, np.uint64)
        self.scratch = np.zeros(0, np.uint8)

    def prepare(self, size: int) -> int:
        """Make room; what compiled code needs to be zero, it leaves zero."""
        if len(self.scratch) < size:
            self.scratch = np.zeros(size, np.uint8)
        return self.scratch.ctypes.data


_workspace = _Workspace()


class CpuProducts:
    """Sums of products by compiled code."""

    name = "numba"

    def multiply(
        self,
        plan: ProductPlan,
        a: torch.Tensor,
        b: torch.Tensor,
        initial: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Form all sums of a batch of matrix products; see `ProductBackend`."""
        out = torch.empty(a.shape[0], a.shape[1], b.shape[2], dtype=plan.dtype, device="cpu")
        if not out.numel() or not a.shape[2]:
            return out.zero_() if initial is None else out.copy_(initial)
        if plan.flush and _never_flushes(plan, a, b, initial):
            plan = replace(plan, flush=False)
            initial = None if initial is None else initial + 0.0
        elif plan.flush:
            a, b = flushed_operand(plan, a), flushed_operand(plan, b)
            if initial is not None:
                initial = flushed_operand(plan, initial, is_start=True)
        factors = late_factors(plan, a, b) if initial is None else None
        if factors is not None:
            a, b = a * factors[0], b * factors[1]
        start = None if initial is None else initial.contiguous()
        way = way_of(plan, _sizes(plan, a, b, start), has_start=start is not None)
        _run(plan, way, a, b, start, out)
        return out if factors is None else out.mul_(1 / (factors[0] * factors[1]))


def _never_flushes(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor | None
) -> bool:
    """Whether no operand and no sum of FMA chains in binary32 can be a subnormal number.

    All sums, rounded or not, are multiples of the last bits of the smallest product and of the
    smallest initial value. Zeros lose their signs in sums that start from +0.
    """
    known = plan.kind == "chain" and plan.fused and plan.order != "pairwise"
    if not known or plan.inputs is None or plan.dtype != torch.float32:
        return False
    smallest = [_least_exponent(x) for x in (a, b)]
    unit = sum(smallest) - 2 * (plan.inputs.precision - 1)
    if start is not None:
        unit = min(unit, _least_exponent(start) - (BINARY32.precision - 1))
    return min(smallest) >= plan.inputs.emin and unit >= BINARY32.emin


def _least_exponent(x: torch.Tensor) -> int:
    """The exponent of the smallest number that is not zero; a large one where there is none."""
    x, least = x.contiguous(), np.zeros(1, np.uint32)
    _function("least32", 2, 1)(x.data_ptr(), least.ctypes.data, x.numel())
    return ((int(least[0]) + 1) >> 23) - 127


def _largest_size(x: torch.Tensor) -> float:
    """What no magnitude exceeds."""
    return max(abs(float(value)) for value in torch.aminmax(x))


def late_factors(plan: ProductPlan, a: torch.Tensor, b: torch.Tensor) -> tuple[float, float] | None:
    """Powers of two that bring operands that are too large into the range of late joining.

    None where they are not too large, or where a sum could notice: where an operand or a sum is
    subnormal or overflows, here or there, or where the exponents of products differ by too much.
    """
    if plan.late_bits is None or plan.outer is not None or plan.inputs is None:
        return None
    sizes = [_largest_size(x) for x in (a, b)]
    if not all(map(math.isfinite, sizes)):
        return None
    tops = [math.frexp(size)[1] - 1 for size in sizes]
    if max(tops) <= steady.HIGHEST and sum(tops) <= late.HIGHEST:
        return None
    lows = [_least_exponent(x) for x in (a, b)]
    top, bits = min(sum(tops), late.HIGHEST), a.shape[2].bit_length()
    shifts = 1 - tops[0], top - 1 - tops[1]
    moved = [low + shift for low, shift in zip(lows, shifts, strict=True)]
    normal = sum(lows) >= BINARY32.emin + late.FRACTION_BITS and sum(tops) + bits <= 124
    fit = min(*lows, *moved) >= plan.inputs.emin and sum(moved) >= steady.LOWEST
    return (2.0 ** shifts[0], 2.0 ** shifts[1]) if normal and fit else None


def _sizes(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor | None
) -> Sizes:
    """What is known of the operands' sizes, as far as it matters for a plan."""
    if plan.flush and plan.order == "pairwise" and not stays_normal(plan):
        return UNKNOWN._replace(least=_least_exponent(a) + _least_exponent(b))
    narrow = plan.format.precision <= 20 and plan.rounding is Rounding.NEAREST_EVEN
    if plan.kind == "exact" or not narrow:
        return UNKNOWN
    sizes = [_largest_size(x) for x in (a, b)]
    first = 0.0 if start is None else _largest_size(start)
    product = sizes[0] * sizes[1]
    bound = max((first + product) * a.shape[2] * 2.0, sizes[1])
    if bound != bound:
        return UNKNOWN
    separate = plan.kind == "chain" and not plan.fused
    least = _least_exponent(a) + _least_exponent(b) if separate else UNKNOWN.least
    return Sizes(bound, product, least)


def _filled(x: torch.Tensor, dim: int, width: int) -> torch.Tensor:
    """The last slice repeated up to a multiple of a width: zeros would be out of the ordinary."""
    more = -x.shape[dim] % width
    if not more:
        return x
    last = x.narrow(dim, x.shape[dim] - 1, 1)
    shape = [more if i == dim else -1 for i in range(x.dim())]
    return torch.cat([x, last.expand(shape)], dim)


def _packed(x: torch.Tensor, width: int, padded_k: int) -> torch.Tensor:
    """(batch, n, K) as (batch, n / width, K, width); -0 behind the end of K.

    Products with zeros of the other operand are -0 there, which changes no sum that it is added to.
    """
    x = _filled(x, 1, width)
    if padded_k > x.shape[2]:
        x = functional.pad(x, (0, padded_k - x.shape[2]), value=-0.0)
    return x.reshape(len(x), -1, width, padded_k).transpose(2, 3).contiguous()


def _packed_panels(x: torch.Tensor, width: int, padded_k: int) -> torch.Tensor:
    """(batch, K, n) as (batch, n / width, K, width); zeros behind the end of K."""
    x = _filled(x, 2, width)
    if padded_k > x.shape[1]:
        x = functional.pad(x, (0, 0, 0, padded_k - x.shape[1]))
    return x.reshape(len(x), padded_k, -1, width).transpose(1, 2).contiguous()


@functools.cache
def _function(name: str, addresses: int, counts: int = 4) -> Any:
    """A compiled function of some addresses and counts."""
    kinds = [ctypes.c_uint64] * addresses + [ctypes.c_int64] * counts
    return ctypes.CFUNCTYPE(None, *kinds)(address_of(name))


def _exponents_of(x: torch.Tensor, plan: ProductPlan, *, rows: bool) -> torch.Tensor:
    """The exponents of packed operands."""
    out = torch.empty(x.shape, dtype=torch.int32 if rows else torch.int16, device="cpu")
    emin = -126 if plan.inputs is None else plan.inputs.emin
    bias = blocks.BIAS if rows else 0
    exponents = _function("exponents32", 2)
    exponents(x.data_ptr(), out.data_ptr(), x.numel(), emin, bias, int(rows))
    return out


def _words_of(x: torch.Tensor, plan: ProductPlan) -> list[torch.Tensor]:
    """The exponents as steady blocks read them, and their bounds in each tile."""
    batch, n_tiles, padded, width = x.shape
    out = torch.empty(x.shape, dtype=torch.int32 if width == ROWS else torch.int16, device="cpu")
    bounds = torch.empty(batch * n_tiles, 2, dtype=torch.int32, device="cpu")
    emin = -126 if plan.inputs is None else plan.inputs.emin
    addresses = x.data_ptr(), out.data_ptr(), bounds.data_ptr()
    _function("words32", 3, 5)(*addresses, len(bounds), padded, width, emin, blocks.BIAS)
    return [out, bounds]


def _seen(
    plan: ProductPlan,
    way: Way,
    rows: torch.Tensor,
    columns: torch.Tensor,
    start: torch.Tensor | None,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The exponents of packed operands, for all blocks and for steady ones, as far as needed."""
    if way.loop != parts.BLOCKS or way.exact:
        return [], []
    words = [*_words_of(rows, plan), *_words_of(columns, plan)] if way.steady else []
    if words and way.always_fits and start is None:
        both = words[1][:, 0].min() + words[3][:, 0].min()
        lowest, highest = int(both), int(words[1][:, 1].max() + words[3][:, 1].max())
        if lowest >= way.table[steady.T_LOWEST] and highest <= way.table[steady.T_HIGHEST]:
            return [], words
    if not way.function:
        return [], words
    return [_exponents_of(rows, plan, rows=True), _exponents_of(columns, plan, rows=False)], words


def _bounds_of(x: torch.Tensor, emin: int, depth: int) -> torch.Tensor:
    """The smallest and the largest exponents of pieces of packed numbers, none below emin."""
    batch, n_tiles, padded, width = x.shape
    pieces = -(-padded // depth)
    out = torch.empty(batch * n_tiles * pieces, 2, dtype=torch.int32, device="cpu")
    addresses = x.data_ptr(), out.data_ptr()
    _function("bounds32", 2)(*addresses, batch * n_tiles, padded, width, depth)
    return out.clamp_(min=emin)


def _exactly(
    plan: ProductPlan, way: Way, bounds: list[torch.Tensor], k: int, start: torch.Tensor | None
) -> Way:
    """How exact sums of operands with such exponents are formed."""
    products = sum(int(x[:, 0].min()) for x in bounds), sum(int(x[:, 1].max()) for x in bounds)
    if start is None:
        return exact_way(plan, way, k, products, None)
    extent = _bounds_of(start.reshape(1, 1, -1, 1), BINARY32.emin, start.numel())[0].tolist()
    has_negative_zero = bool(((start == 0) & start.signbit()).any())
    return exact_way(plan, way, k, products, extent, has_negative_zero=has_negative_zero)


def _run(
    plan: ProductPlan,
    way: Way,
    a: torch.Tensor,
    b: torch.Tensor,
    start: torch.Tensor | None,
    out: torch.Tensor,
) -> None:
    batch, m, k = a.shape
    n, block = b.shape[2], plan.block or 1
    multiple = block if way.loop == parts.BLOCKS else way.joins or 1
    padded = -(-k // multiple) * multiple
    starts = np.array([0, k] if way.joins else plan.chunk_starts(k), np.int64)
    starts[-1] = padded
    rows, columns = _packed(a, ROWS, padded), _packed_panels(b, COLUMNS, padded)
    if way.scale != 1.0:
        columns *= way.scale
    exponents, words = _seen(plan, way, rows, columns, start)
    bounds = words[1::2]
    if way.exact:
        depth = block * max(1, parts.PIECE // block)
        emin = (plan.inputs or BINARY32).emin
        bounds = [_bounds_of(x, emin, depth) for x in (rows, columns)]
        way = _exactly(plan, way, bounds, k, start)
        words = [rows.double(), bounds[0], columns.double(), bounds[1]]
    row_tiles, panels = rows.shape[1], columns.shape[1]
    groups = -(-row_tiles // parts.GROUP)
    tasks = batch * groups * panels
    small = batch * m * n * max(k, 1) < _SMALL
    n_slots = 1 if small else min(torch.get_num_threads(), tasks)
    size = scratch_bytes(max(padded, 1))
    scratch = _workspace.prepare(n_slots * size)
    table = scalar_table(plan)
    outer = None if plan.outer is None or way.joins else outer_table(plan)
    control = _workspace.control
    control[:] = (
        *(0, 0, tasks, way.loop),
        address_of(way.function) if way.function else 0,
        0 if way.table is None else way.table.ctypes.data,
        *(rows.data_ptr(), exponents[0].data_ptr() if exponents else 0),
        *(columns.data_ptr(), exponents[1].data_ptr() if exponents else 0),
        *(0 if start is None else start.data_ptr(), out.data_ptr()),
        *(m, n, k, padded, row_tiles, groups, panels),
        *(starts.ctypes.data, len(starts) - 1, block),
        *(table.ctypes.data, 0 if outer is None else outer.ctypes.data),
        int(plan.dtype == torch.float64),
        *np.array([way.scale, 1 / way.scale]).view(np.uint64).tolist(),
        *(scratch, size, *environment()),
        address_of(way.steady) if way.steady else 0,
        *((each.data_ptr() for each in words[::2]) if words else (0, 0)),
        *((each.data_ptr() for each in bounds) if bounds else (0, 0)),
        address_of(way.exact) if way.exact else 0,
        address_of(way.sure) if way.sure else 0,
        int(plan.rounding is Rounding.TOWARD_ZERO),
        *((0, 0) if way.joint is None else (address_of("join_narrow"), way.joint.ctypes.data)),
    )
    run_everywhere(address_of("work"), control.ctypes.data, n_slots)
