"""The oracle for many sums at once: the same integers, two words each, in arrays of numpy.

It serves chains in formats of up to 24 bits and aligned sums, as long as they are rounded to
nearest or toward zero; `oracle` does the rest, and judges this one. Nothing here is computed in
floating point but powers of two. A number is a significand, an int64 with a sign, and the exponent
of its last bit.
"""

import numpy as np

from deephochuli.formats import BINARY32, BINARY64
from tests.reference.products import oracle

BITS, WORD = 24, 62
LEFT = WORD - 2 * BITS


def serves(arithmetic):
    """Whether this oracle knows how the sums of an arithmetic are formed."""
    sums = arithmetic.sums
    known = str(sums.rounding) in ("nearest-even", "toward-zero")
    wide = BINARY64 in (sums.format, sums.outer, arithmetic.inputs) or arithmetic.inputs is None
    return known and not wide and sums.kind != "exact"


def matrix(arithmetic, a, b, start=None):
    """All sums of a matrix product, as floats."""
    if not serves(arithmetic):
        return oracle.matrix(arithmetic, a, b, start)
    c = np.zeros((len(a), np.shape(b)[1])) if start is None else start
    return Dots(arithmetic)(a, b, c)


def parts_of(x):
    """Significands of up to 24 bits and the exponents of their last bits."""
    m, e = np.frexp(x)
    return np.ldexp(m, BITS).astype(np.int64), e.astype(np.int64) - BITS


def length(s):
    """How many bits integers from 0 to 2^62 have."""
    high = s >> 31
    return np.where(high > 0, 31 + np.frexp(high * 1.0)[1], np.frexp((s & 0x7FFFFFFF) * 1.0)[1])


def cut(s, shift, floors=False):
    """s 2^-shift, without the bits below 1."""
    right, left = np.clip(shift, 0, 63), np.clip(-shift, 0, 40)
    down = s >> right if floors else np.sign(s) * (np.abs(s) >> right)
    return down << left


def rounded(negative, s, e, more, fmt, mode, *, leaves=False):
    """s 2^e, and something below the last bit where there is more, in a format."""
    drop = np.maximum(length(s) - 1 + e, fmt.emin) - fmt.precision + 1 - e
    right = np.clip(drop, 0, 63)
    q = s >> right
    rest = s - (q << right)
    half = np.int64(1) << np.clip(right - 1, 0, 62)
    up = (rest > half) | ((rest == half) & (more | ((q & 1) == 1)))
    if mode == "toward-zero":
        up[...] = False
    q = q + (up & (right > 0) & (right < 63))
    value = np.ldexp(q * 1.0, e + right)
    stays = mode == "toward-zero" and not leaves
    value = np.where(value > fmt.max_finite, fmt.max_finite if stays else np.inf, value)
    return np.where(negative, -value, value)


def exact_sum(x, y):
    """Sign, size, exponent of a sum, and whether there is something below its last bit."""
    (s, e), (t, f) = x, y
    s, e = lifted(s, e)
    t, f = lifted(t, f)
    swap = (f > e) | ((f == e) & (np.abs(t) > np.abs(s)))
    s, e, t, f = (np.where(swap, u, v) for u, v in ((t, s), (f, e), (s, t), (e, f)))
    far = np.clip(e - f, 0, 63)
    size = np.abs(t)
    near = size >> far
    more = (near << far) != size
    negative = s < 0
    apart = negative != (t < 0)
    total = np.abs(s) + np.where(apart, -near, near) - (apart & more)
    return negative, total, e, more


def lifted(s, e):
    """The same number with its leading bit next to the top; zeros far below all others."""
    more = WORD - 1 - length(np.abs(s))
    return np.where(s == 0, 0, s << np.clip(more, 0, WORD)), np.where(s == 0, -5000, e - more)


class Dots:
    """Sums of products under an arithmetic."""

    def __init__(self, arithmetic):
        sums = arithmetic.sums
        self.sums, self.fmt, self.mode = sums, sums.format, str(sums.rounding)
        self.inputs = arithmetic.inputs

    def flushed(self, x, fmt):
        return np.where(np.abs(x) < 2.0**fmt.emin, 0.0, x) if self.sums.flush_subnormals else x

    def add(self, x, y, fmt=None, mode=None):
        """x a float, y a float or a significand and its exponent."""
        wide = y if isinstance(y, tuple) else parts_of(np.where(np.isfinite(y), y, 0.0))
        own = parts_of(np.where(np.isfinite(x), x, 0.0))
        value = rounded(*exact_sum(own, wide), fmt or self.fmt, mode or self.mode)
        value = np.where(np.isfinite(x), value, x)
        if not isinstance(y, tuple):
            value = np.where(np.isfinite(y), value, x + y)
        return self.flushed(value, BINARY32)

    def __call__(self, a, b, c):
        sums = self.sums
        with np.errstate(invalid="ignore"):
            a, b = self.flushed(a, self.inputs), self.flushed(b, self.inputs)
            c = self.flushed(c, BINARY32)
            if sums.order == "swapped":
                k = a.shape[1]
                order = [i ^ 1 if i < k - k % 2 else i for i in range(k)]
                a, b = a[:, order], b[order]
            if sums.order == "paired":
                a, b = oracle.paired(a.T, sums.chunk), oracle.paired(b, sums.chunk)
                a, b = (np.stack([v + np.zeros(x[0].shape) for v in x]) for x in (a, b))
                a = a.T
            if sums.order == "blocked":
                return self.chunked(a, b, c, sums.block, self.fmt)
            if sums.chunk is not None:
                return self.chunked(a, b, c, sums.chunk, sums.outer)
            return self.partial(a, b, c, sums.order)

    def chunked(self, a, b, total, size, outer):
        first, k = 0, a.shape[1]
        within = self.sums.within if self.sums.order == "blocked" else "sequential"
        while first < k:
            take = size
            if self.sums.halved_tail and size < k - first < 2 * size:
                take = (k - first + 1) // 2
            part = a[:, first : first + take], b[first : first + take]
            own = self.partial(*part, np.zeros_like(total), within)
            total = self.add(total, own, outer, "nearest-even")
            first += take
        return total

    def partial(self, a, b, total, order):
        (s, e), (t, f) = parts_of(a), parts_of(b)
        if self.sums.kind == "aligned":
            return self.blocks(a, b, total)
        products = [(s[:, k, None] * t[k], np.add.outer(e[:, k], f[k])) for k in range(a.shape[1])]
        if not self.sums.fused or order == "pairwise":
            nothing = np.zeros_like(total)
            products = [self.add(nothing, each) for each in products]
        if order == "pairwise":
            return self.add(total, self.tree(products)) if products else total
        if order == "interleaved":
            both = [self.chain(products[i::2], np.zeros_like(total)) for i in (0, 1)]
            return self.add(total, self.add(*both))
        return self.chain(products, total)

    def chain(self, products, total):
        for each in products:
            total = self.add(total, each)
        return total

    def tree(self, level):
        while len(level) > 1:
            pairs = [self.add(x, y) for x, y in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(level) - len(level) % 2 :]
        return level[0]

    def blocks(self, a, b, total):
        size = self.sums.block or max(1, a.shape[1])
        join = self.aligned if self.sums.late_bits is None else self.late
        for first in range(0, a.shape[1], size):
            part = a[:, first : first + size], b[first : first + size]
            value = join(*part, np.where(np.isfinite(total), total, 0.0))
            total = np.where(np.isfinite(total), value, total)
        return total

    def terms(self, a, b):
        """Significands of products, exponents of their last bits, and what they count as."""
        (s, e), (t, f) = parts_of(a), parts_of(b)
        emin = self.inputs.emin
        of_a = np.where(a == 0, -2500, np.maximum(e + BITS - 1, emin))
        of_b = np.where(b == 0, -2500, np.maximum(f + BITS - 1, emin))
        for k in range(a.shape[1]):
            exponent = np.add.outer(of_a[:, k], of_b[k])
            yield s[:, k, None] * t[k], np.add.outer(e[:, k], f[k]), exponent

    def aligned(self, a, b, total):
        sums, terms = self.sums, list(self.terms(a, b))
        s, e = parts_of(total)
        own = np.where(total == 0, -5000, np.maximum(e + BITS - 1, self.fmt.emin))
        top = np.maximum.reduce([own, *(exponent for _, _, exponent in terms)])
        top = np.maximum(top, -900 if sums.zero_exponent is None else sums.zero_exponent)
        last = top - sums.fraction_bits
        value = cut(s, last - e) + sum(cut(p, last - place) for p, place, _ in terms)
        none = np.zeros(value.shape, bool)
        return rounded(value < 0, np.abs(value), last, none, self.fmt, self.mode, leaves=True)

    def late(self, a, b, total):
        sums, f, late = self.sums, self.sums.fraction_bits, self.sums.late_bits + 1
        terms = list(self.terms(a, b))
        if not sums.split and (np.abs(a[:, :, None] * b[None]) >= 2.0**128).any():
            raise OverflowError
        groups = [terms[::2], terms[1::2]] if sums.split else [terms]
        none = np.full(total.shape, -999)
        tops = [np.maximum.reduce([none, *(x for _, _, x in group)]) for group in groups]
        top = np.maximum.reduce(tops)
        products = np.zeros(total.shape, np.int64)
        for group, own in zip(groups, tops, strict=True):
            part = products * 0
            for p, place, _ in group:
                part = part + cut(p, own - f - place)
            products = products + cut(part, top - own, floors=True)
        s, e = parts_of(total)
        of_total = np.where(total == 0, self.fmt.emin, np.maximum(e + BITS - 1, self.fmt.emin))
        largest = np.maximum(top, of_total)
        products = cut(products, largest - late - (top - f), floors=True)
        rest = cut(s, largest - f - e, floors=True)
        if sums.split:
            rest = np.where(of_total < largest - f - 1, 0, rest)
        value = products + (rest << (late - f))
        size, last = np.abs(value), largest - late
        place = np.maximum(length(size) - 1 + last, self.fmt.emin) - sums.late_bits
        shift = np.maximum(place - last, 0)
        value, last = cut(value, shift, floors=True), last + shift
        none = np.zeros(value.shape, bool)
        return rounded(value < 0, np.abs(value), last, none, self.fmt, self.mode, leaves=True)
