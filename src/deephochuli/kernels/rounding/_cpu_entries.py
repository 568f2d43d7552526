"""The compiled functions of the rounding, one for each kind of plan."""

# Compiled functions carry no types.
# pyright: basic

from __future__ import annotations

import functools
from pathlib import Path

from numba import types

from deephochuli.kernels import _cpu_emit as emit
from deephochuli.kernels import _cpu_loops as statistics_loops
from deephochuli.kernels import _cpu_memory as memory
from deephochuli.kernels._cpu_machine_code import MachineCode
from deephochuli.kernels.rounding import _constants, _contract
from deephochuli.kernels.rounding._constants import Mode, Variant
from deephochuli.kernels.rounding._contract import CARRIER32, CARRIER64
from deephochuli.kernels.rounding._cpu_block_loops import Way, make_block_loop
from deephochuli.kernels.rounding._cpu_loops import make_loop
from deephochuli.kernels.rounding._cpu_philox import make_fill
from deephochuli.kernels.rounding._cpu_work import work

_u64, _i64 = types.uint64, types.int64
_OTHERS = (_constants, _contract, memory, emit, statistics_loops)
_code = MachineCode(Path(__file__).parent, *_OTHERS, error_model="numpy")


@functools.cache
def work_address() -> int:
    """Address of ``void work(control)``."""
    return _code.address(work, types.void(_u64))


@functools.cache
def fill_address(*, are_lower: bool) -> int:
    """Address of ``void fill(random, first_group, n, keys, source, target)``.

    It makes halves of the random bits of `n` elements from the beginning of a group on, as words of
    32 bits. Upper halves are written, with lower ones that are zero, and lower halves are put to
    them. Up to the end of the group more may be written; the memory must have room for it.
    `keys` is the address of what `expand` has written, `source` that of the elements and `target`
    that of what they will be rounded to: these are brought near, with the upper halves.
    """
    fill = make_fill(are_lower=are_lower)
    return _code.address(fill, types.void(_u64, _u64, _i64, _u64, _u64, _u64))


@functools.cache
def loop_address(width: int, mode: Mode, variant: Variant) -> int:
    """Address of the loop ``int64 (source, target, n, table, random, left_out)`` for some plans."""
    carrier = CARRIER64 if width == CARRIER64.width else CARRIER32
    loop = make_loop(carrier, int(mode), variant)
    return _code.address(loop, _i64(_u64, _u64, _i64, _u64, _u64, _u64))


@functools.cache
def block_loop_address(way: Way) -> int:
    """Address of a loop for some blocks.

    It is ``int64 (source, target, n, block, scratch, words, random, left_out)``.
    """
    return _code.address(make_block_loop(way), _i64(_u64, _u64, _i64, _i64, *[_u64] * 4))
