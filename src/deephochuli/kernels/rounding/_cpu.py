"""The CPU back end: one call of the compiled parts for each tensor."""

# The compiled parts carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import ctypes
import functools
import struct
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from deephochuli.formats import Rounding
from deephochuli.kernels._pool import run_everywhere
from deephochuli.kernels.rounding import _cpu_work as parts
from deephochuli.kernels.rounding._constants import (
    Variant,
    calm_limit,
    lattice_of,
    mode_of,
    table_of,
    variant_of,
)
from deephochuli.kernels.rounding._contract import (
    BlockScale,
    RoundingPlan,
    StochasticKey,
    carrier_of,
)
from deephochuli.kernels.rounding._cpu_block_loops import way_of
from deephochuli.kernels.rounding._cpu_entries import (
    block_loop_address,
    fill_address,
    loop_address,
    work_address,
)

PART = 1 << 16
# Below this many elements waking other threads costs more than they help.
_SMALL = 1 << 15
_KINDS: dict[torch.dtype, int] = {
    torch.float32: parts.BINARY32,
    torch.float64: parts.BINARY64,
    torch.bfloat16: parts.BFLOAT16,
    torch.float16: parts.BINARY16,
}
_LINE = 64
_WORDS = struct.Struct(f"{parts.C_WORDS}Q")
_NO_KEY = (0, 0, 0, 0)
_NO_BLOCKS = (0,) * (parts.C_WORDS - parts.C_BLOCK)
_NO_FILLS = (0, 0)


class _Workspace(threading.local):
    """Scratch memory of the calling thread, grown when needed and kept."""

    def __init__(self) -> None:
        self.control = (ctypes.c_uint64 * parts.C_WORDS)()
        self.control_at = ctypes.addressof(self.control)
        self.n_slots = self.scratch_at = 0

    def prepare(self, n_slots: int) -> None:
        """Make room for some threads."""
        if n_slots > self.n_slots:
            self.scratch = np.zeros(n_slots * parts.SLOT_BYTES + _LINE, np.uint8)
            start = self.scratch.ctypes.data
            # A vector that lies in two lines of the cache takes twice as long.
            self.n_slots, self.scratch_at = n_slots, start + -start % _LINE


_workspace = _Workspace()


@functools.lru_cache(maxsize=512)
def _functions(plan: RoundingPlan) -> tuple[int, int, int, int]:
    """Addresses of the table of a plan and of its two loops, and when the first of them serves."""
    width, mode, variant = plan.carrier.width, mode_of(plan.rounding), variant_of(plan)
    calm = loop_address(width, mode, variant | Variant.CALM)
    table = _address(plan, table_of)
    return table, calm, loop_address(width, mode, variant), calm_limit(plan)


@functools.cache
def _fills() -> tuple[int, int]:
    """Addresses of what makes upper and lower halves of random bits."""
    return fill_address(are_lower=False), fill_address(are_lower=True)


_held: dict[object, np.ndarray] = {}


def _address(plan: RoundingPlan, make: Callable[[RoundingPlan], np.ndarray]) -> int:
    """Address of words made from a plan, which stay where they are."""
    return _held.setdefault((plan, make), make(plan)).ctypes.data


@functools.lru_cache(maxsize=64)
def _words_of_blocks(
    plan: RoundingPlan, block: int, scale: BlockScale | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What compiled code has to know of blocks, in the place of functions and behind them."""
    way = way_of(plan.rounding, has_power_of_two_scale=scale is None)
    words = _address(plan, table_of)
    functions = words, 0, 0, 0
    wide_loop = wide_table = 0
    if plan.rounding is Rounding.STOCHASTIC:
        wide_table, _, wide_loop, _ = _functions(replace(plan, carrier=carrier_of("float64")))
    of_blocks = block, 0, block_loop_address(way), words, wide_loop, wide_table
    if scale is None:
        return functions, (*of_blocks, *(0,) * 5)
    of_scales = _address(replace(scale.plan, carrier=carrier_of("float32")), table_of)
    unit, most = np.array([scale.unit, plan.fmt.max_finite]).view(np.uint64).tolist()
    far = _far_from(plan, scale)
    return functions, (*of_blocks, of_scales, unit, _address(plan, lattice_of), most, far)


def _far_from(plan: RoundingPlan, scale: BlockScale) -> int:
    """The pattern of the largest magnitude whose quotient has a place in a lattice, in its block.

    That of four times the largest one of the format has one; to nearest, all have.
    """
    if plan.rounding is not Rounding.STOCHASTIC:
        return plan.carrier.infinity
    most = 4 * plan.fmt.max_finite * scale.plan.fmt.max_finite * scale.unit
    return int(np.float32(most).view(np.uint32))


class CpuRounder:
    """Rounding by compiled code on torch's own threads."""

    name = "numba"

    def round(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        key: StochasticKey | None,
    ) -> None:
        """Round all elements; see `Rounder`."""
        self._run(source, target, key, _functions(plan), _NO_BLOCKS)

    def round_blocks(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        block: int,
        key: StochasticKey | None,
        scale: BlockScale | None = None,
    ) -> bool:
        """Round elements that share scales; see `round_blocks_into`."""
        # Products with rounded scales are rounded once, to binary32.
        kinds = (torch.float32, torch.bfloat16) if scale is None else (torch.float32,)
        if source.dtype not in kinds:
            return False
        self._run(source, target, key, *_words_of_blocks(plan, block, scale))
        return not _workspace.control[parts.C_HARD]

    def _run(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        key: StochasticKey | None,
        functions: tuple[int, ...],
        of_blocks: tuple[int, ...],
    ) -> None:
        n = source.numel()
        n_threads = 1 if n < _SMALL else min(torch.get_num_threads(), -(-n // PART))
        space = _workspace
        space.prepare(n_threads)
        fills = _NO_FILLS if key is None else _fills()
        _WORDS.pack_into(
            *(space.control, 0),
            *(0, 0, n, PART, source.data_ptr(), target.data_ptr(), _KINDS[source.dtype]),
            *(*functions, *fills, *(_NO_KEY if key is None else key.words), space.scratch_at),
            *of_blocks,
        )
        run_everywhere(work_address(), space.control_at, n_threads)
