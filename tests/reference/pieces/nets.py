"""Random networks of many kinds, small enough for exact rationals."""

from fractions import Fraction

import numpy as np
import torch

RELU = ("knots", (Fraction(0),), (0, 1), Fraction(0))
ABS = ("knots", (Fraction(0),), (-1, 1), Fraction(0))
HARDTANH = ("knots", (Fraction(-1), Fraction(1)), (0, 1, 0), Fraction(-1))
KINDS = (
    *("plain", "zero bias", "duplicated", "permuted", "powers of two", "fp16", "bf16", "int8"),
    *("dead tail", "leaky", "hardtanh", "abs", "maxout", "residual", "fork", "tied"),
)


def leaky(slope):
    return ("knots", (Fraction(0),), (Fraction(slope), 1), Fraction(0))


def exact(array):
    return [[Fraction(float(v)) for v in row] for row in array]


def quantised(array, kind):
    """Numbers as a format or an integer grid keeps them."""
    if kind in ("fp16", "bf16"):
        dtype = torch.float16 if kind == "fp16" else torch.bfloat16
        return torch.from_numpy(array).to(dtype).double().numpy()
    if kind == "int8":
        step = 2.0**-5
        return np.clip(np.round(array / step), -127, 127) * step
    return array


def affine(n_in, n_out, rng, kind, bias=0.3):
    w = rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)
    b = np.zeros(n_out) if kind == "zero bias" else rng.standard_normal(n_out) * bias
    if kind == "duplicated" and n_out > 1:
        w[-1], b[-1] = w[0], b[0]
    if kind == "tied":
        w, b = np.round(w * 2) / 2, np.round(b * 2) / 2
    if kind == "powers of two":
        scale = 2.0 ** rng.integers(-12, 12, n_out)
        w, b = w * scale[:, None], b * scale
    w, b = quantised(w, kind), quantised(b, kind)
    return ("affine", exact(w), [Fraction(float(v)) for v in b])


def layers(kind, seed, widest=6, deepest=4):
    """One network of a kind: (layers, number of inputs)."""
    rng = np.random.default_rng(seed)
    n_in, depth = int(rng.integers(1, 4)), int(rng.integers(1, deepest + 1))
    act = {"leaky": leaky(float(rng.uniform(0, 1))), "hardtanh": HARDTANH, "abs": ABS}
    found, n = [], n_in
    for _ in range(depth):
        width = int(rng.integers(2, widest + 1))
        found.append(affine(n, width, rng, kind))
        if kind == "maxout":
            found.append(("max", [tuple(rng.choice(width, 2, replace=False)) for _ in range(3)]))
            width = 3
        else:
            found.append(act.get(kind, RELU))
        if kind == "residual":
            found.append(("residual", [affine(width, width, rng, kind), RELU]))
        if kind == "fork":
            parts = [[affine(width, 2, rng, kind), each] for each in (RELU, HARDTANH)]
            found.append(("fork", *parts))
            width = 4
        n = width
    if kind == "dead tail":
        weight = affine(n, 3, rng, kind)[1]
        found += [("affine", weight, [Fraction(-1000)] * 3), RELU]
        n = 3
    found.append(affine(n, int(rng.integers(1, 3)), rng, kind))
    return (permuted(found, rng) if kind == "permuted" else found), n_in


def permuted(found, rng):
    """Units of each hidden layer in another order."""
    changed, order = [], None
    for layer in found:
        if layer[0] == "affine":
            weight, bias = layer[1], layer[2]
            if order is not None:
                weight = [[row[i] for i in order] for row in weight]
            order = None if layer is found[-1] else rng.permutation(len(bias))
            if order is not None:
                weight, bias = [weight[i] for i in order], [bias[i] for i in order]
            layer = ("affine", weight, bias)
        changed.append(layer)
    return changed


def ends(n_in, seed, kind):
    """A segment: random, or through the origin where bends may meet there."""
    rng = np.random.default_rng(seed + 10_000)
    a, b = rng.uniform(-2, 2, n_in), rng.uniform(-2, 2, n_in)
    if kind in ("zero bias", "tied", "int8"):
        a, b = np.round(a * 4) / 4, np.round(b * 4) / 4
        a = np.where(np.all(a == b), a + 1, a)
    if kind == "zero bias":
        b = -a if seed % 2 else -0.375 * a
    return a, b
