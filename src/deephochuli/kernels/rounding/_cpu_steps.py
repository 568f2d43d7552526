"""The steps of rounding one pattern, for either carrier.

They are compiled into a loop, where `mode` and the choices are constants: what they exclude is
dropped, and no branch is left. `w` are the words of the plan, `k` the facts of the carrier.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from typing import Any

import numba as nb

from deephochuli.kernels.rounding import _constants as c
from deephochuli.kernels.rounding._cpu_words import (
    absolute,
    add,
    bits_of_number,
    both,
    choose,
    either,
    number_of,
    number_with_bits,
    shl,
    shr,
    sub,
    truncated,
    truncated_wide,
)

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "forceinline": True,
}
NEAREST, DIRECTED, STOCHASTIC = map(int, (c.Mode.NEAREST, c.Mode.DIRECTED, c.Mode.STOCHASTIC))
LOW, SUM, SCALED = map(int, (c.Variant.LOW, c.Variant.SUM, c.Variant.SCALED))
DEEP, DOUBLED, UNSIGNED = map(int, (c.Variant.DEEP, c.Variant.DOUBLED, c.Variant.UNSIGNED))
ONE_ZERO, LOW_RANGE = int(c.Variant.ONE_ZERO), int(c.LOW_RANGE)
(CUT, BELOW, PARITY, TIE, LOW_PARITY, LOW_TIE) = map(int, list(c.Word)[:6])
(GROWS_POSITIVE, GROWS_NEGATIVE, LOW_LIMIT, LOW_FIELD, LOW_CUT) = map(int, list(c.Word)[6:11])
(LOW_STEP, LOW_SCALE, LOW_NORMAL, LOW_SHIFT, FLOOR) = map(int, list(c.Word)[11:16])
(MAX, BEYOND_POSITIVE, BEYOND_NEGATIVE, INFINITE) = map(int, list(c.Word)[16:20])
(CAP_NEGATIVE, SIGN_MASK, LEAST_SIGNED, N_SIGNED) = map(int, list(c.Word)[20:24])
SUMMAND, STEP, STEPS = map(int, list(c.Word)[24:])
(ZERO, ONE, LAST, WIDTH, STORED, HIDDEN, FRACTION, POSITIVE, INFINITY, NAN) = range(10)
(LIFT, EDGE, EDGE_FIELD, TO_SUBNORMAL, BASE, HIGH, SPARE, TWO32, HALF, TWO) = range(10, 20)


@nb.njit(**OPTIONS)
def smaller(a, b):
    """The smaller one of two words."""
    return choose(a < b, a, b)


@nb.njit(**OPTIONS)
def larger(a, b):
    """The larger one of two words."""
    return choose(a > b, a, b)


@nb.njit(**OPTIONS)
def complement(a, k):
    """The other bits of a word: what can be added to it without a carry out of it."""
    return sub(sub(k[ZERO], a), k[ONE])


@nb.njit(**OPTIONS)
def whole(n, k):
    """Pattern of a whole number up to 2^stored.

    Added to the bits of 2^stored, it is added to the number: and neither operand nor result is
    ever subnormal.
    """
    base = number_with_bits(k[BASE])
    return bits_of_number(number_with_bits(add(n, k[BASE])) - base)


@nb.njit(**OPTIONS)
def lifted(magnitude, k):
    """The pattern with its exponent field lifted, subnormal numbers normalised."""
    tiny = sub(whole(both(magnitude, k[FRACTION]), k), k[TO_SUBNORMAL])
    tiny = choose(magnitude != k[ZERO], tiny, k[ZERO])
    return choose(magnitude < k[HIDDEN], tiny, add(magnitude, k[LIFT]))


@nb.njit(**OPTIONS)
def lowered(r, k):
    """What `lifted` was made from."""
    shift = smaller(sub(k[EDGE_FIELD], shr(r, k[STORED])), k[LAST])
    tiny = shr(either(both(r, k[FRACTION]), k[HIDDEN]), shift)
    return choose(r >= k[EDGE], sub(r, k[LIFT]), tiny)


@nb.njit(**OPTIONS)
def doubled(magnitude, k):
    """The pattern of twice a number."""
    return add(magnitude, smaller(magnitude, k[HIDDEN]))


@nb.njit(**OPTIONS)
def halved(r, k):
    """The pattern of half a number whose last bit is 0 where that matters."""
    return sub(r, smaller(shr(r, k[ONE]), k[HIDDEN]))


@nb.njit(**OPTIONS)
def below_the_cut(noise, w, k):
    """Noise where it is added in the normal range: what is cut off has place for its upper bits."""
    return shr(shr(noise, k[ONE]), sub(k[LAST], w[CUT]))


@nb.njit(**OPTIONS)
def in_normal_range(b, grows, noise, w, k, mode):
    """Round at the bit that is the last one in the normal range of the format."""
    kept = complement(w[BELOW], k)
    if mode == NEAREST:
        tie = either(both(shr(b, w[CUT]), w[PARITY]), w[TIE])
        b = add(add(b, shr(w[BELOW], k[ONE])), tie)
    elif mode == DIRECTED:
        b = add(b, choose(grows != k[ZERO], w[BELOW], k[ZERO]))
    elif mode == STOCHASTIC:
        b = add(b, below_the_cut(noise, w, k))
    else:
        inexact = choose(both(b, w[BELOW]) != k[ZERO], w[PARITY], k[ZERO])
        b = either(b, shl(inexact, w[CUT]))
    return both(b, kept)


@nb.njit(**OPTIONS)
def in_low_range(b, grows, noise, w, k, mode):
    """Round below the normal range, at another bit in each binade."""
    s = either(both(b, k[FRACTION]), choose(b >= k[HIDDEN], k[HIDDEN], k[ZERO]))
    place = sub(add(w[LOW_FIELD], w[LOW_CUT]), larger(shr(b, k[STORED]), k[ONE]))
    near = smaller(place, k[LAST])
    steps, rest = shr(s, near), shl(s, sub(k[WIDTH], near))
    if mode == NEAREST:
        tie = either(both(steps, w[LOW_PARITY]), w[LOW_TIE])
        up = add(rest, tie) > shl(k[ONE], k[LAST])
    elif mode == DIRECTED:
        up = (rest != k[ZERO]) & (grows != k[ZERO])
    elif mode == STOCHASTIC:
        far = shr(s, smaller(sub(place, k[WIDTH]), k[LAST]))
        rest = both(choose(place < k[WIDTH], rest, far), k[HIGH])
        up = rest > complement(noise, k)
    else:
        up = (rest != k[ZERO]) & (both(steps, k[ONE]) == k[ZERO])
    steps = add(steps, choose(up, w[LOW_STEP], k[ZERO]))
    number = add(whole(steps, k), w[LOW_SCALE])
    return choose(steps >= w[LOW_NORMAL], number, shl(steps, w[LOW_SHIFT]))


@nb.njit(**OPTIONS)
def in_low_range_by_a_sum(b, w):
    """The same for nearest-even, far inside the carrier: the sum has its last bit in place."""
    summand = number_with_bits(w[SUMMAND])
    return bits_of_number((number_with_bits(b) + summand) - summand)


@nb.njit(**OPTIONS)
def with_noise(pattern, noise, w, k):
    """Round stochastically, far inside the carrier; and the most that could have been cut off.

    In the low range the smallest normal number is added, so that numbers are cut at the same bit as
    in the normal range. In truth it is the number just below it: so the sum is not too large, and
    less than two units of its last place too small, three where it came out below the smallest
    normal number, with the noise that is left out. That decides nothing, unless what is cut off
    comes out as one of its two largest values. So two are added to it here: where it is too large
    then to be cut off, the number must be rounded in another way.
    """
    x, least = absolute(number_with_bits(pattern)), number_with_bits(w[LOW_LIMIT])
    is_low, below = x < least, number_with_bits(sub(w[LOW_LIMIT], k[ONE]))
    # Floats are chosen, and not patterns: so that becomes one instruction with the sum.
    lifted = bits_of_number(choose(is_low, x + below, x))
    sums = add(lifted, shr(noise, both(sub(k[WIDTH], w[CUT]), k[LAST])))
    number = number_with_bits(both(sums, complement(w[BELOW], k)))
    r = bits_of_number(choose(is_low, number - least, number))
    return r, add(both(sums, w[BELOW]), choose(is_low, k[TWO], k[ZERO]))


@nb.njit(**OPTIONS)
def in_low_range_by_scaling(b, grows, noise, w, k, mode):
    """The same for other modes, far inside the carrier: all products are with powers of two."""
    step = number_with_bits(w[STEP])
    in_steps = number_with_bits(b) * number_with_bits(w[STEPS])
    n = truncated(in_steps)
    if mode == NEAREST:  # away from zero in ties: for the other one there is the sum
        up = bits_of_number(in_steps - number_of(n)) >= k[HALF]
    elif mode == STOCHASTIC:
        part = (in_steps - number_of(n)) * number_with_bits(k[TWO32])
        rest = shl(truncated_wide(part), k[SPARE])
        up = rest > complement(noise, k)
    else:
        up = bits_of_number(number_of(n) * step) != b
        if mode == DIRECTED:
            up = up & (grows != k[ZERO])
        else:
            up = up & (both(n, k[ONE]) == k[ZERO])
    n = add(n, choose(up, k[ONE], k[ZERO]))
    return bits_of_number(number_of(n) * step)


@nb.njit(**OPTIONS)
def entered(magnitude, w, k, parts):
    """The pattern that is rounded in place of that of a magnitude."""
    b = magnitude
    if parts & DOUBLED:
        b = larger(doubled(b, k), k[HIDDEN])
    elif parts & DEEP:
        b = lifted(b, k)
    if not parts & (LOW_RANGE | DOUBLED):
        b = larger(b, w[FLOOR])
    return b


@nb.njit(**OPTIONS)
def rounded(magnitude, grows, noise, w, k, mode, parts):
    """Round a magnitude in the ranges that there are."""
    b = entered(magnitude, w, k, parts)
    r = in_normal_range(b, grows, noise, w, k, mode)
    if parts & LOW:
        r = choose(b < w[LOW_LIMIT], in_low_range(b, grows, noise, w, k, mode), r)
    if parts & SUM:
        r = choose(b < w[LOW_LIMIT], in_low_range_by_a_sum(b, w), r)
    if parts & SCALED:
        r = choose(b < w[LOW_LIMIT], in_low_range_by_scaling(b, grows, noise, w, k, mode), r)
    if parts & DOUBLED:
        r = halved(r, k)
    elif parts & DEEP:
        r = lowered(r, k)
    return r


@nb.njit(**OPTIONS)
def least_rest(w, k, parts):
    """The least that `rounded_lazily` may say; too much where nothing is cut off, in one case."""
    # A shift by the width of a word is none: `with_noise` does not serve there.
    return choose((parts & SCALED != 0) & (w[CUT] == k[ZERO]), k[ONE], k[ZERO])


@nb.njit(**OPTIONS)
def rounded_lazily(pattern, noise, w, k, parts):
    """Round stochastically, and the most that could have been cut off.

    For formats whose low range, if they have one, is far inside the carrier.
    """
    if parts & SCALED:
        return with_noise(pattern, noise, w, k)
    magnitude = both(pattern, k[POSITIVE])
    sums = add(entered(magnitude, w, k, parts), below_the_cut(noise, w, k))
    r = rounded(magnitude, k[ZERO], noise, w, k, STOCHASTIC, parts)
    return r, both(sums, w[BELOW])


@nb.njit(**OPTIONS)
def ended(r, pattern, w, k):
    """Put in what stands for overflow, infinity and NaN, and the sign."""
    magnitude = both(pattern, k[POSITIVE])
    negative = pattern > k[POSITIVE]
    r = choose(r > w[MAX], choose(negative, w[BEYOND_NEGATIVE], w[BEYOND_POSITIVE]), r)
    r = choose(magnitude == k[INFINITY], w[INFINITE], r)
    r = choose(magnitude > choose(negative, w[CAP_NEGATIVE], k[INFINITY]), k[NAN], r)
    keeps_sign = sub(r, w[LEAST_SIGNED]) < w[N_SIGNED]
    return either(r, choose(keeps_sign, both(pattern, w[SIGN_MASK]), k[ZERO]))


@nb.njit(**OPTIONS)
def ended_calmly(r, pattern, w, k, parts):
    """The same where nothing is beyond `max_finite`: put in the sign, or what stands for it."""
    sign = both(pattern, add(k[POSITIVE], k[ONE]))
    if parts & UNSIGNED:
        return choose(pattern > add(k[POSITIVE], k[ONE]), k[NAN], r)
    if parts & ONE_ZERO:
        sign = choose(r != k[ZERO], sign, k[ZERO])
    return either(r, sign)
