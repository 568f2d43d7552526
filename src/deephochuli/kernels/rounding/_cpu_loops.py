"""The inner loop of rounding, over patterns of either carrier.

All loops are made from one text; `mode`, `variant` and the facts of the carrier are constants to
the compiler, which drops what they exclude. A loop works in place: with two addresses the
vectoriser would have to ask whether they overlap, and take the slow way where they are the same.
There is no branch in a loop, so that it becomes vector code.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deephochuli.kernels._cpu_memory import p32, p64
from deephochuli.kernels.rounding import _constants as c
from deephochuli.kernels.rounding._contract import Carrier
from deephochuli.kernels.rounding._cpu_words import shl, shr, use_widest_vectors

NEAREST, DIRECTED, STOCHASTIC = map(int, (c.Mode.NEAREST, c.Mode.DIRECTED, c.Mode.STOCHASTIC))
(CUT, BELOW, PARITY, TIE, LOW_PARITY, LOW_TIE) = map(int, list(c.Word)[:6])
(GROWS_POSITIVE, GROWS_NEGATIVE, LOW_LIMIT, LOW_FIELD, LOW_CUT) = map(int, list(c.Word)[6:11])
(LOW_STEP, LOW_SCALE, LOW_NORMAL, LOW_SHIFT, FLOOR) = map(int, list(c.Word)[11:16])
(MAX, BEYOND_POSITIVE, BEYOND_NEGATIVE, INFINITE) = map(int, list(c.Word)[16:20])
(CAP_NEGATIVE, SIGN_MASK, LEAST_SIGNED, N_SIGNED) = map(int, list(c.Word)[20:24])
SUMMAND, STEP, STEPS = map(int, list(c.Word)[24:])


def make_loop(  # noqa: C901 - most branches are decided before anything is compiled
    carrier: Carrier, mode: int, variant: c.Variant
) -> Callable[..., None]:
    """The loop for a carrier, a mode and a variant."""
    low, is_sum, scaled = (
        bool(variant & part) for part in (c.Variant.LOW, c.Variant.SUM, c.Variant.SCALED)
    )
    deep, calm = bool(variant & c.Variant.DEEP), bool(variant & c.Variant.CALM)
    wide = carrier.width == 64
    u, f = (np.uint64, np.float64) if wide else (np.uint32, np.float32)
    integer, two32 = (np.int64 if wide else np.int32), f(2.0**32)
    width, stored, spare = u(carrier.width), u(carrier.stored), u(carrier.width - 32)
    last, one, zero = u(carrier.width - 1), u(1), u(0)
    sign, infinity, nan = u(carrier.sign), u(carrier.infinity), u(carrier.nan)
    positive, hidden, fraction = u(carrier.sign - 1), u(carrier.hidden), u(carrier.hidden - 1)
    n_lift = c.lift_of(carrier)
    lift, edge = u(n_lift << carrier.stored), u((n_lift + 1) << carrier.stored)
    edge_field = u(n_lift + 1)
    # What makes the pattern of a whole number that of the number times the smallest subnormal.
    to_subnormal = u((1 - carrier.fmt.emin + carrier.stored - n_lift - 1) << carrier.stored)
    # Whole numbers added to the bits of 2^stored are added to the number: that makes the pattern of
    # a whole number from its bits, and neither operand nor result is ever subnormal.
    base = u((carrier.bias + carrier.stored) << carrier.stored)
    base_value = f(carrier.hidden)
    high32 = u((1 << carrier.width) - (1 << (carrier.width - 32)))

    def round_block(data, n, table_at, random_at):  # noqa: C901
        # Not a free variable that stands for one of the two: it would have another name in each
        # process, and nothing would be found in the cache.
        if wide:
            table, bits = p64(table_at), p64(data)
        else:
            table, bits = p32(table_at), p32(data)
        random = p32(random_at)
        cut, below = u(table[CUT]), u(table[BELOW])
        half, parity, tie = u(below >> one), u(table[PARITY]), u(table[TIE])
        low_parity, low_tie = u(table[LOW_PARITY]), u(table[LOW_TIE])
        grows_positive, grows_negative = u(table[GROWS_POSITIVE]), u(table[GROWS_NEGATIVE])
        low_limit, low_first = u(table[LOW_LIMIT]), u(table[LOW_FIELD] + table[LOW_CUT])
        step, scale = u(table[LOW_STEP]), u(table[LOW_SCALE])
        normal_from, shift = u(table[LOW_NORMAL]), u(table[LOW_SHIFT])
        floor, largest, infinite = u(table[FLOOR]), u(table[MAX]), u(table[INFINITE])
        beyond_positive, beyond_negative = u(table[BEYOND_POSITIVE]), u(table[BEYOND_NEGATIVE])
        cap_negative, sign_mask = u(table[CAP_NEGATIVE]), u(table[SIGN_MASK])
        least, n_signed = u(table[LEAST_SIGNED]), u(table[N_SIGNED])
        summand = u(table[SUMMAND]).view(f)
        quantum, per_quantum = u(table[STEP]).view(f), u(table[STEPS]).view(f)
        use_widest_vectors()
        for i in range(n):
            magnitude = u(bits[i] & positive)
            negative = bits[i] > positive
            b = magnitude
            if deep:
                b = f(u(u(magnitude & fraction) + base).view(f) - base_value).view(u)
                b = u(b - to_subnormal) if magnitude != zero else zero
                b = b if magnitude < hidden else u(magnitude + lift)
            b = max(b, floor)
            if mode == NEAREST:
                r = u(u(b + half + u(u(shr(b, cut) & parity) | tie)) & u(~below))
            elif mode == DIRECTED:
                grows = grows_negative if negative else grows_positive
                r = u(u(b + (below if grows != zero else zero)) & u(~below))
            elif mode == STOCHASTIC:
                noise = shl(u(random[i]), spare)
                r = u(u(b + shr(shr(noise, one), u(last - cut))) & u(~below))
            else:
                inexact = parity if u(b & below) != zero else zero
                r = u(u(b & u(~below)) | shl(inexact, cut))
            if low:
                s = u(u(b & fraction) | (hidden if b >= hidden else zero))
                place = u(low_first - max(shr(b, stored), one))
                near = min(place, last)
                steps, rest = shr(s, near), shl(s, u(width - near))
                if mode == NEAREST:
                    up = u(rest + u(u(steps & low_parity) | low_tie)) > sign
                elif mode == DIRECTED:
                    up = (rest != zero) & (grows != zero)
                elif mode == STOCHASTIC:
                    far = shr(s, min(u(place - width), last))
                    rest = u((rest if place < width else far) & high32)
                    up = u(rest + noise) < rest
                else:
                    up = (rest != zero) & (u(steps & one) == zero)
                steps = u(steps + (step if up else zero))
                number = f(u(steps + base).view(f) - base_value).view(u)
                number = u(number + scale) if steps >= normal_from else shl(steps, shift)
                r = number if b < low_limit else r
            if is_sum:
                number = f(f(u(b).view(f) + summand) - summand).view(u)
                r = number if b < low_limit else r
            if scaled:
                in_steps = f(u(b).view(f) * per_quantum)
                count = integer(in_steps)
                if mode == STOCHASTIC:
                    rest = shl(u(f(in_steps - f(count)) * two32), spare)
                    up = u(rest + noise) < rest
                else:
                    up = f(f(count) * quantum).view(u) != b
                    if mode == DIRECTED:
                        up = up & (grows != zero)
                    else:
                        up = up & ((count & integer(1)) == integer(0))
                number = f(f(integer(count + integer(up))) * quantum).view(u)
                r = number if b < low_limit else r
            if deep:
                tiny = shr(u(u(r & fraction) | hidden), min(u(edge_field - shr(r, stored)), last))
                r = u(r - lift) if r >= edge else tiny
            if calm:
                kept = u(bits[i] & sign_mask) if r >= least else zero
            else:
                r = (beyond_negative if negative else beyond_positive) if r > largest else r
                r = infinite if magnitude == infinity else r
                r = nan if magnitude > (cap_negative if negative else infinity) else r
                kept = u(bits[i] & sign_mask) if u(r - least) < n_signed else zero
            bits[i] = u(r | kept)

    return round_block
