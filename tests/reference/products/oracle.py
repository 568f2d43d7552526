"""Sums of products in Python's integers: an oracle that shares no code with what it judges.

A number is a whole number of 2^-UNIT. Arrays of such integers have dtype object. Infinities are
floats among them; NaN does not occur.
"""

import functools
import math
from fractions import Fraction

import numpy as np

UNIT = 640
INPUT_UNIT = UNIT // 2


def whole(x, unit=UNIT):
    """Finite floats as whole numbers of 2^-unit."""
    pairs = (v.as_integer_ratio() for v in np.asarray(x, np.float64).reshape(-1).tolist())
    flat = [(n << unit) // d for n, d in pairs]
    out = np.empty(len(flat), dtype=object)
    out[:] = flat
    return out.reshape(np.shape(x))


def exponent(value, unit, emin):
    return max(value.bit_length() - 1 - unit, emin)


@functools.cache
def largest(fmt):
    return int(Fraction(fmt.max_finite) * (1 << UNIT))


def rounds_up(mode, rest, half, odd, negative):
    if mode == "nearest-even":
        return rest > half or (rest == half and odd)
    if mode == "nearest-away":
        return rest >= half
    return rest != 0 and mode == ("down" if negative else "up")


def round_int(value, fmt, mode="nearest-even", *, leaves=False):
    """Round a whole number of 2^-UNIT to a format; `leaves`: too large is inf in every mode."""
    if isinstance(value, float) or value == 0:
        return value
    negative, size = value < 0, abs(value)
    drop = max(size.bit_length() - 1 - UNIT, fmt.emin) - fmt.precision + 1 + UNIT
    if drop > 0:
        quotient = size >> drop
        rest = size - (quotient << drop)
        if rest:
            quotient += rounds_up(mode, rest, 1 << (drop - 1), quotient & 1, negative)
            size = quotient << drop
    if size > largest(fmt):
        stays = mode == "toward-zero" or mode == ("up" if negative else "down")
        if leaves or not stays:
            return -math.inf if negative else math.inf
        size = largest(fmt)
    return -size if negative else size


def plus(x, y):
    if isinstance(x, float) or isinstance(y, float):
        return (x if isinstance(x, float) else 0.0) + (y if isinstance(y, float) else 0.0)
    return x + y


def cut(value, shift, floors=False):
    """value 2^-shift, the bits below 1 cut off."""
    if shift <= 0:
        return value << -shift
    return value >> shift if floors else (value >> shift if value >= 0 else -(-value >> shift))


def paired(values, chunk):
    """Of each chunk, filled up with zeros, those at k mod 4 < 2 first."""
    found = []
    for first in range(0, len(values), chunk):
        part = [*values[first : first + chunk], *[0] * (first + chunk - len(values))]
        found += [v for k, v in enumerate(part) if k % 4 < 2]
        found += [v for k, v in enumerate(part) if k % 4 >= 2]
    return found


class Dot:
    """One sum of products under an arithmetic."""

    def __init__(self, arithmetic):
        sums = arithmetic.sums
        self.sums, self.fmt, self.mode = sums, sums.format, str(sums.rounding)
        self.inputs = arithmetic.inputs

    def rounded(self, value, fmt=None, mode=None):
        value = round_int(value, fmt or self.fmt, mode or self.mode)
        if self.sums.flush_subnormals and not isinstance(value, float):
            return 0 if abs(value) < 1 << (UNIT - 126) else value
        return value

    def add(self, x, y, fmt=None, mode=None):
        return self.rounded(plus(x, y), fmt, mode)

    def __call__(self, a, b, start=0):
        """a, b: whole numbers of 2^-INPUT_UNIT."""
        sums = self.sums
        if sums.flush_subnormals:
            least = 1 << (INPUT_UNIT + self.inputs.emin)
            a, b = ([0 if abs(v) < least else v for v in each] for each in (a, b))
            start = 0 if abs(start) < 1 << (UNIT - 126) else start
        if sums.order == "swapped":
            order = [k ^ 1 if k < len(a) - len(a) % 2 else k for k in range(len(a))]
            a, b = [a[k] for k in order], [b[k] for k in order]
        if sums.order == "paired":
            a, b = paired(a, sums.chunk), paired(b, sums.chunk)
        if sums.order == "blocked":
            return self.chunked(a, b, start, sums.block, self.fmt)
        if sums.chunk is not None:
            return self.chunked(a, b, start, sums.chunk, sums.outer)
        return self.partial(a, b, start, sums.order)

    def chunked(self, a, b, total, size, outer):
        first = 0
        while first < len(a):
            rest = len(a) - first
            take = size
            if self.sums.halved_tail and size < rest < 2 * size:
                take = (rest + 1) // 2
            order = self.sums.within if self.sums.order == "blocked" else "sequential"
            part = self.partial(a[first : first + take], b[first : first + take], 0, order)
            total = self.add(total, part, outer, "nearest-even")
            first += take
        return total

    def partial(self, a, b, total, order):
        if self.sums.kind == "aligned":
            return self.blocks(a, b, total, self.aligned)
        if self.sums.kind == "exact":
            return self.blocks(a, b, total, self.exact)
        products = [x * y for x, y in zip(a, b, strict=True)]
        if not self.sums.fused or order == "pairwise":
            products = [self.rounded(p) for p in products]
        if order == "pairwise":
            return self.add(total, self.tree(products)) if products else total
        if order == "interleaved":
            both = [self.chain(products[i::2], 0) for i in (0, 1)]
            return self.add(total, self.add(*both))
        return self.chain(products, total)

    def chain(self, products, total):
        for p in products:
            total = self.add(total, p)
        return total

    def tree(self, level):
        while len(level) > 1:
            pairs = [self.add(x, y) for x, y in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(level) - len(level) % 2 :]
        return level[0]

    def blocks(self, a, b, total, join):
        size = self.sums.block or max(1, len(a))
        for first in range(0, len(a), size):
            part = slice(first, first + size)
            terms = [(x, y) for x, y in zip(a[part], b[part], strict=True)]
            if isinstance(total, float):
                return total
            total = join(terms, total)
        return total

    def exact(self, terms, total):
        return round_int(total + sum(x * y for x, y in terms), self.fmt, self.mode)

    def exponents(self, terms):
        emin = self.inputs.emin
        return [
            exponent(abs(x), INPUT_UNIT, emin) + exponent(abs(y), INPUT_UNIT, emin)
            for x, y in terms
            if x and y
        ]

    def aligned(self, terms, total):
        sums, f = self.sums, self.sums.fraction_bits
        if sums.late_bits is not None:
            return self.late(terms, total)
        largest = self.exponents(terms)
        if total:
            largest.append(exponent(abs(total), UNIT, self.fmt.emin))
        if sums.zero_exponent is not None:
            largest.append(sums.zero_exponent)
        if not largest:
            return 0
        last = max(largest) - f + UNIT
        value = sum(cut(x * y, last) for x, y in terms) + cut(total, last)
        return round_int(value << last, self.fmt, self.mode, leaves=True)

    def late(self, terms, total):
        sums, f, late = self.sums, self.sums.fraction_bits, self.sums.late_bits + 1
        if any(abs(x * y) >= 1 << (UNIT + 128) for x, y in terms) and not sums.split:
            raise OverflowError
        groups = [terms[::2], terms[1::2]] if sums.split else [terms]
        tops = [max(self.exponents(group), default=-999) for group in groups]
        top = max(tops)
        products = 0  # a whole number of 2^(top - f)
        for group, own in zip(groups, tops, strict=True):
            part = sum(cut(x * y, own - f + UNIT) for x, y in group if x and y)
            products += cut(part, top - own, floors=True)
        of_total = exponent(abs(total), UNIT, self.fmt.emin) if total else self.fmt.emin
        largest = max(top, of_total)
        products = cut(products, largest - late - (top - f), floors=True)
        rest = cut(total, largest - f + UNIT, floors=True)
        if sums.split and of_total < largest - f - 1:
            rest = 0
        value = cut(products + (rest << (late - f)), -(largest - late + UNIT), floors=True)
        if not value:
            return 0
        last = exponent(abs(value), UNIT, self.fmt.emin) - sums.late_bits + UNIT
        value = cut(value, last, floors=True) << max(last, 0)
        return round_int(value, self.fmt, self.mode, leaves=True)


def matrix(arithmetic, a, b, start=None):
    """All sums of a matrix product, as floats."""
    dot = Dot(arithmetic)
    rows, columns = whole(a, INPUT_UNIT), whole(b, INPUT_UNIT)
    c = np.zeros((len(a), np.shape(b)[1]), dtype=object) if start is None else whole(start)
    out = np.empty(c.shape)
    for i in range(c.shape[0]):
        row = list(rows[i])
        for j in range(c.shape[1]):
            out[i, j] = to_float(dot(row, list(columns[:, j]), c[i, j]))
    return out


def to_float(value):
    return value if isinstance(value, float) else value / (1 << UNIT)
