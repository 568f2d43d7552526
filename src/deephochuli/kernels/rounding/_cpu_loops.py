"""The inner loop of rounding, over patterns of either carrier.

All loops are made from one text. Source and target are different memory: the vectoriser asks
whether they overlap, and takes the slow way where they do. There is no branch in a loop, so that it
becomes vector code. A calm loop gives back the largest magnitude that it met, which tells whether
it was the right one; and a magnitude above all others where random bits left a doubt. Where that is
for want of the lower halves of these, it gives back `IN_DOUBT`, and is to be called with them.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import p32, p64
from deephochuli.kernels.rounding import _constants as c
from deephochuli.kernels.rounding import _cpu_steps as steps
from deephochuli.kernels.rounding._contract import Carrier
from deephochuli.kernels.rounding._cpu_steps import OPTIONS
from deephochuli.kernels.rounding._cpu_words import add, both, choose, shl, use_widest_vectors


@nb.njit(**OPTIONS)
def words_of(t):
    """The words of a table, so that no store can be taken to change them."""
    first = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12]
    second = t[13], t[14], t[15], t[16], t[17], t[18], t[19], t[20], t[21], t[22], t[23], t[24]
    return first + second + (t[25], t[26])


def _facts(carrier: Carrier) -> tuple[Any, ...]:
    """What the steps have to know of a carrier, in the order of their names there."""
    stored, width, lift = carrier.stored, carrier.width, c.lift_of(carrier)
    # What makes the pattern of a whole number that of the number times the smallest subnormal.
    to_subnormal = (1 - carrier.fmt.emin + stored - lift - 1) << stored
    high = (1 << width) - (1 << (width - 32))
    facts = [0, 1, width - 1, width, stored, carrier.hidden, carrier.hidden - 1, carrier.sign - 1]
    facts += [carrier.infinity, carrier.nan, lift << stored, (lift + 1) << stored, lift + 1]
    facts += [to_subnormal, (carrier.bias + stored) << stored, high, width - 32]
    facts += [(carrier.bias + 32) << stored, (carrier.bias - 1) << stored, 2]
    return tuple(map(np.uint64 if width == 64 else np.uint32, facts))


IN_DOUBT = np.int64(-1)
"""What a loop gives back that wants the lower halves of random bits."""


@nb.njit(**OPTIONS)
def answer(largest, most, left_out, w, k):
    """What a loop gives back that could do without them, from the most that it cut off."""
    more = steps.below_the_cut(left_out, w, k)
    if more != k[steps.ZERO] and add(most, more) > w[steps.BELOW]:
        return IN_DOUBT
    return np.int64(largest if most <= w[steps.BELOW] else k[steps.POSITIVE])


def make_loop(carrier: Carrier, mode: int, variant: c.Variant) -> Callable[..., int]:
    """The loop for a carrier, a mode and a variant; all three are constants to the compiler."""
    k, wide, parts = _facts(carrier), carrier.width == 64, int(variant)
    u = np.uint64 if wide else np.uint32
    stochastic, calm = mode == c.Mode.STOCHASTIC, bool(variant & c.Variant.CALM)
    # A lazy loop can tell when upper halves of random bits are enough; another one asks for all.
    lazy = stochastic and calm and not variant & c.Variant.LOW
    asks = stochastic and calm and not lazy

    def round_block(source_at, target_at, n, table_at, random_at, left_out):
        # Not a free variable that stands for one of the two: it would have another name in each
        # process, and nothing would be found in the cache.
        if wide:
            w, source, target = words_of(p64(table_at)), p64(source_at), p64(target_at)
        else:
            w, source, target = words_of(p32(table_at)), p32(source_at), p32(target_at)
        if asks and left_out != np.uint64(0):
            return IN_DOUBT
        random, largest, most = p32(random_at), k[steps.ZERO], steps.least_rest(w, k, parts)
        use_widest_vectors()
        for i in range(n):
            pattern = source[i]
            magnitude = both(pattern, k[steps.POSITIVE])
            if calm:
                largest = steps.larger(largest, magnitude)
            negative = pattern > k[steps.POSITIVE]
            grows = choose(negative, w[steps.GROWS_NEGATIVE], w[steps.GROWS_POSITIVE])
            noise = k[steps.ZERO]
            if stochastic:
                noise = shl(u(random[i]), k[steps.SPARE])
            if lazy:
                r, rest = steps.rounded_lazily(pattern, noise, w, k, parts)
                most = steps.larger(most, rest)
            else:
                r = steps.rounded(magnitude, grows, noise, w, k, mode, parts)
            if calm:
                target[i] = steps.ended_calmly(r, pattern, w, k, parts)
            else:
                target[i] = steps.ended(r, pattern, w, k)
        if lazy:
            return answer(largest, most, shl(u(left_out), k[steps.SPARE]), w, k)
        return np.int64(largest)

    return round_block
