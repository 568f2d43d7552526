"""Operands of sums of products that are hard to get right."""

import numpy as np

from deephochuli.formats import BINARY32, round_array

KINDS = ("normal", "wild", "cancelling", "ties", "subnormal", "large")


def operand(rng, kind, shape, fmt):
    """Values of a format, as float64."""
    x = rng.standard_normal(shape)
    wide = fmt.emax > 30
    if kind == "wild":
        x = np.ldexp(
            x, rng.integers(-30 if wide else fmt.emin, 30 if wide else fmt.emax // 2, shape)
        )
    elif kind == "ties":
        x = rng.integers(-9, 10, shape) * np.ldexp(1.0, rng.integers(-fmt.precision, 1, shape))
    elif kind == "subnormal":
        least = fmt.smallest_subnormal
        x = rng.integers(-7, 8, shape) * np.ldexp(least, rng.integers(0, fmt.precision + 2, shape))
    elif kind == "large":
        x = x * 2.0 ** (fmt.emax // 2 - 2)
    x = round_array(x, fmt, overflow="saturate")
    return np.where(rng.random(shape) < 0.1, 0.0, x)


def matrices(rng, kind, m, k, n, fmt):
    """A and B of a product; cancelling: neighbouring products nearly cancel."""
    a, b = operand(rng, kind, (m, k), fmt), operand(rng, kind, (k, n), fmt)
    if kind == "cancelling":
        a[:, 1::2] = -a[:, : k - k % 2 : 2]
        near = b[: k - k % 2 : 2] * (1 + rng.integers(-1, 2, b[1::2].shape) * 2.0**-fmt.precision)
        b[1::2] = round_array(near, fmt, overflow="saturate")
    if kind == "subnormal":  # products of two subnormal numbers are nothing at all
        b = operand(rng, "wild", (k, n), fmt)
    return a, b


def starts(rng, kind, shape, fmt):
    """Initial values in the format of the sums."""
    inner = BINARY32 if fmt.emax > 200 else fmt
    return round_array(operand(rng, "normal" if kind == "ties" else kind, shape, inner), fmt)
