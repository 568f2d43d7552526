"""The tile functions by name; each is compiled by itself when a plan first needs it."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_chains as chains
from deephochuli.kernels.products import _cpu_doubles as doubles
from deephochuli.kernels.products import _cpu_exact as exact
from deephochuli.kernels.products import _cpu_joints as joints
from deephochuli.kernels.products import _cpu_late as late
from deephochuli.kernels.products import _cpu_leaves as leaves
from deephochuli.kernels.products import _cpu_separate as separate
from deephochuli.kernels.products import _cpu_steady as steady


def fused32(a, b, c, n, params):
    """FMA chains in binary32."""
    chains.fused32(a, b, c, n, params)


def fused64(a, b, c, n, params):
    """FMA chains in binary64."""
    chains.fused64(a, b, c, n, params)


def separate32(a, b, c, n, params):
    """Chains of rounded products in binary32."""
    chains.separate32(a, b, c, n, params)


def separate64(a, b, c, n, params):
    """Chains of rounded products in binary64."""
    chains.separate64(a, b, c, n, params)


def flushing_fused32(a, b, c, n, params):
    """FMA chains in binary32 without subnormal numbers."""
    chains.flushing_fused32(a, b, c, n, params)


def flushing_separate32(a, b, c, n, params):
    """Chains of rounded products in binary32 without subnormal numbers."""
    chains.flushing_separate32(a, b, c, n, params)


def interleaved32(a, b, c, n, params):
    """FMA chains over even and odd k in binary32, added."""
    chains.interleaved32(a, b, c, n, params)


def flushing_interleaved32(a, b, c, n, params):
    """FMA chains over even and odd k in binary32 without subnormal numbers, added."""
    chains.flushing_interleaved32(a, b, c, n, params)


def quick_bounded(a, b, c, n, params):
    """FMA chains in a narrow format that cannot overflow."""
    chains.quick_bounded(a, b, c, n, params)


def quick_even(a, b, c, n, params):
    """FMA chains in a narrow format that cannot overflow, of operands with short products."""
    chains.quick_even(a, b, c, n, params)


def quick_checked(a, b, c, n, params):
    """FMA chains in a narrow format."""
    chains.quick_checked(a, b, c, n, params)


def quick_wide(a, b, c, n, params):
    """FMA chains in a narrow format, of operands whose products are wider than binary32."""
    chains.quick_wide(a, b, c, n, params)


def quick_separate(a, b, c, n, params):
    """Chains of rounded products in a narrow format, from sums that are not -0."""
    separate.quick(a, b, c, n, params)


def signed_separate(a, b, c, n, params):
    """The same from any sums."""
    separate.signed(a, b, c, n, params)


def careful_separate(a, b, c, n, params):
    """Chains of rounded products in a narrow format."""
    chains.careful_separate(a, b, c, n, params)


def truncated0(a, ea, b, eb, c, n, size, params):
    """Blocks cut to binary32; everything fits into 32 bits."""
    return blocks.truncated0(a, ea, b, eb, c, n, size, params)


def truncated1(a, ea, b, eb, c, n, size, params):
    """Blocks cut to binary32; the products fit into 32 bits."""
    return blocks.truncated1(a, ea, b, eb, c, n, size, params)


def truncated2(a, ea, b, eb, c, n, size, params):
    """Blocks cut to binary32; half of the products fit into 32 bits."""
    return blocks.truncated2(a, ea, b, eb, c, n, size, params)


def nearest0(a, ea, b, eb, c, n, size, params):
    """Blocks rounded to nearest; everything fits into 32 bits."""
    return blocks.nearest0(a, ea, b, eb, c, n, size, params)


def nearest1(a, ea, b, eb, c, n, size, params):
    """Blocks rounded to nearest; the products fit into 32 bits."""
    return blocks.nearest1(a, ea, b, eb, c, n, size, params)


def nearest2(a, ea, b, eb, c, n, size, params):
    """Blocks rounded to nearest; half of the products fit into 32 bits."""
    return blocks.nearest2(a, ea, b, eb, c, n, size, params)


def shortened(a, ea, b, eb, c, n, size, params):
    """Blocks cut to a narrow format; everything fits into 24 bits."""
    return blocks.shortened(a, ea, b, eb, c, n, size, params)


def steady_truncated0(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to binary32; everything fits into 32 bits."""
    return steady.truncated0(a, ea, b, eb, c, n, size, params)


def steady_truncated1(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to binary32; the products fit into 32 bits."""
    return steady.truncated1(a, ea, b, eb, c, n, size, params)


def steady_truncated2(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to binary32; half of the products fit into 32 bits."""
    return steady.truncated2(a, ea, b, eb, c, n, size, params)


def steady_nearest0(a, ea, b, eb, c, n, size, params):
    """Steady blocks rounded to nearest; everything fits into 32 bits."""
    return steady.nearest0(a, ea, b, eb, c, n, size, params)


def steady_nearest1(a, ea, b, eb, c, n, size, params):
    """Steady blocks rounded to nearest; the products fit into 32 bits."""
    return steady.nearest1(a, ea, b, eb, c, n, size, params)


def steady_nearest2(a, ea, b, eb, c, n, size, params):
    """Steady blocks rounded to nearest; half of the products fit into 32 bits."""
    return steady.nearest2(a, ea, b, eb, c, n, size, params)


def steady_bounded0(a, ea, b, eb, c, n, size, params):
    """The same inside the format; everything fits into 32 bits."""
    return steady.bounded0(a, ea, b, eb, c, n, size, params)


def steady_bounded1(a, ea, b, eb, c, n, size, params):
    """The same inside the format; the products fit into 32 bits."""
    return steady.bounded1(a, ea, b, eb, c, n, size, params)


def steady_bounded2(a, ea, b, eb, c, n, size, params):
    """The same inside the format; half of the products fit into 32 bits."""
    return steady.bounded2(a, ea, b, eb, c, n, size, params)


def steady_shortened0(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to a narrow format; everything fits into 32 bits."""
    return steady.shortened0(a, ea, b, eb, c, n, size, params)


def steady_shortened1(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to a narrow format; the products fit into 32 bits."""
    return steady.shortened1(a, ea, b, eb, c, n, size, params)


def steady_shortened2(a, ea, b, eb, c, n, size, params):
    """Steady blocks cut to a narrow format; half of the products fit into 32 bits."""
    return steady.shortened2(a, ea, b, eb, c, n, size, params)


def steady_late(a, ea, b, eb, c, n, size, params):
    """Steady blocks that the running sum joins in the end."""
    return late.late(a, ea, b, eb, c, n, size, params)


def steady_late4(a, ea, b, eb, c, n, size, params):
    """The same in blocks of four products."""
    return late.late4(a, ea, b, eb, c, n, size, params)


def steady_late_split(a, ea, b, eb, c, n, size, params):
    """Steady blocks that the running sum joins in the end, even and odd products apart."""
    return late.late_split(a, ea, b, eb, c, n, size, params)


def exact_blocks(a, b, c, marks, n, size, params):
    """Exact sums of blocks, each rounded once."""
    exact.exact(a, b, c, marks, n, size, params)


def join_narrow(totals, parts, n, params):
    """Partial sums added to totals in a narrow format."""
    joints.narrow(totals, parts, n, params)


def leaves2(a, b, c, n, params):
    """Trees of two products in binary32."""
    leaves.leaves2(a, b, c, n, params)


def leaves4(a, b, c, n, params):
    """Trees of four products in binary32."""
    leaves.leaves4(a, b, c, n, params)


def leaves8(a, b, c, n, params):
    """Trees of eight products in binary32."""
    leaves.leaves8(a, b, c, n, params)


def flushing_leaves2(a, b, c, n, params):
    """Trees of two products in binary32 without subnormal numbers."""
    leaves.flushing_leaves2(a, b, c, n, params)


def flushing_leaves4(a, b, c, n, params):
    """Trees of four products in binary32 without subnormal numbers."""
    leaves.flushing_leaves4(a, b, c, n, params)


def flushing_leaves8(a, b, c, n, params):
    """Trees of eight products in binary32 without subnormal numbers."""
    leaves.flushing_leaves8(a, b, c, n, params)


def exact_single(a, b, c, n, size, last, params):
    """Exact sums of blocks whose products one binary64 number holds."""
    doubles.single(a, b, c, n, size, last, params)


def exact_single2(a, b, c, n, size, last, params):
    """The same for blocks of two products."""
    doubles.single2(a, b, c, n, size, last, params)


def exact_single4(a, b, c, n, size, last, params):
    """The same for blocks of four products."""
    doubles.single4(a, b, c, n, size, last, params)


def exact_sure(a, b, c, n, size, last, params):
    """Exact sums of blocks that one binary64 number holds, running sums included."""
    doubles.sure(a, b, c, n, size, last, params)


def exact_sure2(a, b, c, n, size, last, params):
    """The same for blocks of two products."""
    doubles.sure2(a, b, c, n, size, last, params)


def exact_sure4(a, b, c, n, size, last, params):
    """The same for blocks of four products."""
    doubles.sure4(a, b, c, n, size, last, params)


def exact_double(a, b, c, n, size, last, params):
    """Exact sums of blocks that two binary64 numbers hold."""
    doubles.double(a, b, c, n, size, last, params)


def exact_double32(a, b, c, n, size, last, params):
    """The same in binary32, where sums have no place below its last one."""
    doubles.double32(a, b, c, n, size, last, params)
