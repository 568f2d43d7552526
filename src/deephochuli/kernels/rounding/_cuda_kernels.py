"""The rounding kernel for GPUs: the loops of the CPU back end, element by element.

One program rounds one group of elements: each of its counters gives four words of random bits, of
two halves each, and so each of its lanes has eight elements. The lower halves of random bits are
always made here.
"""

# Triton compiles these functions; they carry no types.
# pyright: basic

from __future__ import annotations

import triton
import triton.language as tl

from deephochuli.kernels.rounding import _constants as c
from deephochuli.kernels.rounding._contract import GROUP, HALF, LANES, LOWER_SERIES

BINARY32, BINARY64 = tl.constexpr(0), tl.constexpr(1)
BFLOAT16, BINARY16 = tl.constexpr(2), tl.constexpr(3)
N_LANES, N_GROUP = tl.constexpr(LANES), tl.constexpr(GROUP)
N_HALF, TO_LOWER = tl.constexpr(HALF), tl.constexpr(LOWER_SERIES // LANES)
NEAREST, DIRECTED = tl.constexpr(int(c.Mode.NEAREST)), tl.constexpr(int(c.Mode.DIRECTED))
STOCHASTIC = tl.constexpr(int(c.Mode.STOCHASTIC))
(CUT, BELOW, PARITY, TIE, LOW_PARITY, LOW_TIE) = map(tl.constexpr, range(6))
(GROWS_POSITIVE, GROWS_NEGATIVE, LOW_LIMIT, LOW_FIELD, LOW_CUT) = map(tl.constexpr, range(6, 11))
(LOW_STEP, LOW_SCALE, LOW_NORMAL, LOW_SHIFT, FLOOR) = map(tl.constexpr, range(11, 16))
(MAX, BEYOND_POSITIVE, BEYOND_NEGATIVE, INFINITE) = map(tl.constexpr, range(16, 20))
(CAP_NEGATIVE, SIGN_MASK, LEAST_SIGNED, N_SIGNED) = map(tl.constexpr, range(20, 24))
# Facts of the carrier, behind the words of the plan.
(SIGN, INFINITY, NAN, LIFT, EDGE, TO_SUBNORMAL, BASE) = map(tl.constexpr, range(27, 34))


@triton.jit
def word(table, place, WIDE: tl.constexpr):
    """One word of the table, in the width of the carrier."""
    found = tl.load(table + place).to(tl.uint64, bitcast=True)
    return found if WIDE else found.to(tl.uint32)


@triton.jit
def whole(n, base, WIDE: tl.constexpr):
    """Pattern of a whole number; neither operand nor result is ever subnormal."""
    if WIDE:
        number = (n + base).to(tl.float64, bitcast=True) - 4503599627370496.0
        pattern = number.to(tl.uint64, bitcast=True)
    else:
        number = (n + base).to(tl.float32, bitcast=True) - 8388608.0
        pattern = number.to(tl.uint32, bitcast=True)
    return pattern


@triton.jit
def lifted(magnitude, table, STORED: tl.constexpr, WIDE: tl.constexpr):
    """The pattern with its exponent field lifted, subnormal numbers normalised."""
    one = tl.full(magnitude.shape, 1, magnitude.dtype)
    hidden = one << STORED
    number = whole(magnitude & (hidden - one), word(table, BASE, WIDE), WIDE)
    number = tl.where(magnitude != 0, number - word(table, TO_SUBNORMAL, WIDE), one - one)
    return tl.where(magnitude < hidden, number, magnitude + word(table, LIFT, WIDE))


@triton.jit
def lowered(r, table, STORED: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr):
    """What `lifted` was made from."""
    one = tl.full(r.shape, 1, r.dtype)
    hidden = one << STORED
    shift = one * (STORED + 2) - (r >> STORED)
    tiny = ((r & (hidden - one)) | hidden) >> tl.minimum(shift, one * (WIDTH - 1))
    return tl.where(r >= word(table, EDGE, WIDE), r - word(table, LIFT, WIDE), tiny)


@triton.jit
def normal_range(b, grows, noise, table, MODE: tl.constexpr, WIDTH: tl.constexpr):
    """Round as in the normal range of the format: at the same bit for all."""
    WIDE: tl.constexpr = WIDTH == 64
    one = tl.full(b.shape, 1, b.dtype)
    zero = one - one
    cut, below = word(table, CUT, WIDE) + zero, word(table, BELOW, WIDE)
    if MODE == NEAREST:
        odd = ((b >> cut) & word(table, PARITY, WIDE)) | word(table, TIE, WIDE)
        r = b + (below >> one) + odd
    elif MODE == DIRECTED:
        r = b + tl.where(grows, below, zero)
    elif MODE == STOCHASTIC:
        r = b + ((noise >> one) >> (one * (WIDTH - 1) - cut))
    else:
        r = b | (tl.where((b & below) != 0, word(table, PARITY, WIDE), zero) << cut)
    return (r >> cut) << cut


@triton.jit
def low_range(
    b, grows, noise, table, MODE: tl.constexpr, STORED: tl.constexpr, WIDTH: tl.constexpr
):
    """Round as below the normal range: at another bit in each binade."""
    WIDE: tl.constexpr = WIDTH == 64
    one = tl.full(b.shape, 1, b.dtype)
    zero, last, hidden = one - one, one * (WIDTH - 1), one << STORED
    s = (b & (hidden - one)) | tl.where(b >= hidden, hidden, zero)
    first = word(table, LOW_FIELD, WIDE) + word(table, LOW_CUT, WIDE)
    place = first - tl.maximum(b >> STORED, one)
    near = tl.minimum(place, last)
    steps, rest = s >> near, s << ((one * WIDTH - near) & last)
    if MODE == NEAREST:
        tie = (steps & word(table, LOW_PARITY, WIDE)) | word(table, LOW_TIE, WIDE)
        up = (rest + tie) > word(table, SIGN, WIDE)
    elif MODE == DIRECTED:
        up = (rest != 0) & grows
    elif MODE == STOCHASTIC:
        far = s >> tl.minimum(place - one * WIDTH, last)
        rest = tl.where(place < WIDTH, rest, far)
        if WIDE:
            rest = (rest >> 32) << 32
        up = (rest + noise) < rest
    else:
        up = (rest != 0) & ((steps & one) == 0)
    steps += tl.where(up, word(table, LOW_STEP, WIDE), zero)
    number = whole(steps, word(table, BASE, WIDE), WIDE) + word(table, LOW_SCALE, WIDE)
    tiny = steps << (word(table, LOW_SHIFT, WIDE) + zero)
    return tl.where(steps >= word(table, LOW_NORMAL, WIDE), number, tiny)


@triton.jit
def round_patterns(
    bits,
    noise,
    table,
    MODE: tl.constexpr,
    LOW: tl.constexpr,
    DEEP: tl.constexpr,
    STORED: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Round patterns of the carrier."""
    WIDE: tl.constexpr = WIDTH == 64
    sign, infinity = word(table, SIGN, WIDE), word(table, INFINITY, WIDE)
    magnitude = bits & (sign - 1)
    negative = bits != magnitude
    grows = tl.where(negative, word(table, GROWS_NEGATIVE, WIDE), word(table, GROWS_POSITIVE, WIDE))
    grows = grows != 0
    b = magnitude
    if DEEP:
        b = lifted(magnitude, table, STORED, WIDE)
    b = tl.maximum(b, word(table, FLOOR, WIDE))
    r = normal_range(b, grows, noise, table, MODE, WIDTH)
    if LOW:
        low = low_range(b, grows, noise, table, MODE, STORED, WIDTH)
        r = tl.where(b < word(table, LOW_LIMIT, WIDE), low, r)
    if DEEP:
        r = lowered(r, table, STORED, WIDTH, WIDE)
    beyond = tl.where(
        negative, word(table, BEYOND_NEGATIVE, WIDE), word(table, BEYOND_POSITIVE, WIDE)
    )
    r = tl.where(r > word(table, MAX, WIDE), beyond, r)
    r = tl.where(magnitude == infinity, word(table, INFINITE, WIDE), r)
    cap = tl.where(negative, word(table, CAP_NEGATIVE, WIDE), infinity)
    r = tl.where(magnitude > cap, word(table, NAN, WIDE), r)
    keeps_sign = (r - word(table, LEAST_SIGNED, WIDE)) < word(table, N_SIGNED, WIDE)
    return r | tl.where(keeps_sign, bits & word(table, SIGN_MASK, WIDE), r - r)


@triton.jit
def widened(pattern, KIND: tl.constexpr):
    """Binary32 patterns of narrow ones, given as their unsigned integers."""
    narrow = pattern.to(tl.uint32)
    if KIND == BFLOAT16:
        wide = narrow << 16
    else:
        magnitude = (narrow & 0x7FFF) << 13
        unit = (magnitude & 0) + 0x38800000  # the exponent of subnormal numbers
        tiny = (magnitude + unit).to(tl.float32, bitcast=True) - unit.to(tl.float32, bitcast=True)
        tiny = tiny.to(tl.uint32, bitcast=True)
        finite = tl.where(magnitude < 0x800000, tiny, magnitude + 0x38000000)
        wide = tl.where(magnitude >= 0x0F800000, magnitude + 0x70000000, finite)
        wide = wide | ((narrow & 0x8000) << 16)
    return wide


@triton.jit
def narrowed(pattern, KIND: tl.constexpr):
    """The integers of narrow patterns whose values the narrow type has."""
    if KIND == BFLOAT16:
        half = pattern >> 16
    else:
        magnitude = pattern & 0x7FFFFFFF
        field = tl.minimum(magnitude >> 23, (magnitude & 0) + 126)
        shift = tl.minimum((magnitude & 0) + 126 - field, (magnitude & 0) + 31)
        tiny = ((magnitude & 0x7FFFFF) | 0x800000) >> shift
        half = tl.where(magnitude < 0x38800000, tiny, (magnitude - 0x38000000) >> 13)
        half = tl.where(magnitude >= 0x7F800000, (magnitude >> 13) - 0x38000, half)
        half = half | ((pattern >> 16) & 0x8000)
    return half


@triton.jit
def philox(counter, k0, k1, stream, step):
    """Philox4x32-10: the four words of each counter, in 64 bits of which the lower half counts."""
    low = (counter & 0) + 0xFFFFFFFF
    a, b, c_, d = counter & low, counter >> 32, stream + (counter & 0), step + (counter & 0)
    for _ in tl.static_range(10):
        p, q = a * 0xD2511F53, c_ * 0xCD9E8D57
        a, b, c_, d = ((q >> 32) ^ b ^ k0) & low, q & low, ((p >> 32) ^ d ^ k1) & low, p & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c_, d


@triton.jit
def round_some(
    source,
    target,
    index,
    n,
    noise,
    table,
    KIND: tl.constexpr,
    MODE: tl.constexpr,
    LOW: tl.constexpr,
    DEEP: tl.constexpr,
):
    """Round the elements with some indices."""
    mask = index < n
    found = tl.load(source + index, mask=mask, other=0)
    if KIND == BINARY64:
        bits = found.to(tl.uint64, bitcast=True)
        r = round_patterns(bits, noise << 32, table, MODE, LOW, DEEP, 52, 64)
        result = r.to(tl.int64, bitcast=True)
    elif KIND == BINARY32:
        bits = found.to(tl.uint32, bitcast=True)
        r = round_patterns(bits, noise.to(tl.uint32), table, MODE, LOW, DEEP, 23, 32)
        result = r.to(tl.int32, bitcast=True)
    else:
        bits = widened(found.to(tl.uint16, bitcast=True), KIND)
        r = round_patterns(bits, noise.to(tl.uint32), table, MODE, LOW, DEEP, 23, 32)
        result = narrowed(r, KIND).to(tl.uint16).to(tl.int16, bitcast=True)
    tl.store(target + index, result, mask=mask)


@triton.jit
def round_pair(
    source,
    target,
    index,
    n,
    upper,
    lower,
    table,
    KIND: tl.constexpr,
    MODE: tl.constexpr,
    LOW: tl.constexpr,
    DEEP: tl.constexpr,
):
    """Round the elements whose random bits are lower halves of two words, and upper halves."""
    first = ((upper << N_HALF) & 0xFFFFFFFF) | (lower & 0xFFFF)
    second = ((upper >> N_HALF) << N_HALF) | (lower >> N_HALF)
    round_some(source, target, index, n, first, table, KIND, MODE, LOW, DEEP)
    round_some(source, target, index + N_LANES, n, second, table, KIND, MODE, LOW, DEEP)


@triton.jit
def words_of(group, key):
    """The words of the counters of a group."""
    lane = tl.arange(0, N_LANES).to(tl.uint64)
    counter = group.to(tl.uint64) * N_LANES + lane
    k0 = tl.load(key).to(tl.uint64, bitcast=True)
    k1 = tl.load(key + 1).to(tl.uint64, bitcast=True)
    stream = tl.load(key + 2).to(tl.uint64, bitcast=True)
    step = tl.load(key + 3).to(tl.uint64, bitcast=True)
    return philox(counter, k0, k1, stream, step)


@triton.jit
def round_group(
    source,
    target,
    n,
    table,
    key,
    KIND: tl.constexpr,
    MODE: tl.constexpr,
    LOW: tl.constexpr,
    DEEP: tl.constexpr,
):
    """Round one group of elements."""
    group = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, N_LANES)
    index = group * N_GROUP + lane
    a = (lane * 0).to(tl.uint64)
    b, c_, d = a, a, a
    e, f, g, h = a, a, a, a
    if MODE == STOCHASTIC:
        a, b, c_, d = words_of(group, key)
        e, f, g, h = words_of(group + TO_LOWER, key)
    round_pair(source, target, index, n, a, e, table, KIND, MODE, LOW, DEEP)
    round_pair(source, target, index + 2 * N_LANES, n, b, f, table, KIND, MODE, LOW, DEEP)
    round_pair(source, target, index + 4 * N_LANES, n, c_, g, table, KIND, MODE, LOW, DEEP)
    round_pair(source, target, index + 6 * N_LANES, n, d, h, table, KIND, MODE, LOW, DEEP)
