"""An independent judge: walk from cell to cell in exact rationals.

A network is a list of layers, each a tuple: ("affine", W, b), ("knots", knots, slopes, start),
("max", groups), ("residual", layers), ("fork", layers, layers) whose outputs are joined. At a place
t every number is carried with its derivative to the right; the sides of all units just right of t
follow from both, and so does the next place where one of them changes. Nothing is interpolated and
nothing is inserted; the only thing shared with the package is the definition of what is counted.
"""

from fractions import Fraction

import numpy as np
import torch
from torch import nn


class Beyond:
    """The nearest place behind t at which a unit changes its side."""

    def __init__(self, t):
        self.t = t
        self.next = None

    def offer(self, distance):
        if distance > 0 and (self.next is None or self.t + distance < self.next):
            self.next = self.t + distance


def forward(layers, x, beyond):
    """Numbers with their right derivatives behind all layers: a list of (value, slope)."""
    for kind, *rest in layers:
        if kind == "affine":
            x = affine(*rest, x)
        elif kind == "knots":
            x = [bend(*rest, v, s, beyond) for v, s in x]
        elif kind == "max":
            x = [largest([x[i] for i in group], beyond) for group in rest[0]]
        elif kind == "residual":
            x = [
                (a + c, b + d)
                for (a, b), (c, d) in zip(x, forward(rest[0], x, beyond), strict=True)
            ]
        elif kind == "fork":
            x = [*forward(rest[0], x, beyond), *forward(rest[1], x, beyond)]
    return x


def affine(weight, bias, x):
    rows = []
    for row, b in zip(weight, bias, strict=True):
        value = sum((w * v for w, (v, _) in zip(row, x, strict=True) if w), b)
        rows.append(
            (value, sum((w * s for w, (_, s) in zip(row, x, strict=True) if w), Fraction()))
        )
    return rows


def bend(knots, slopes, start, v, s, beyond):
    if s:
        for knot in knots:
            beyond.offer((knot - v) / s)
    side = sum(v > knot or (v == knot and s > 0) for knot in knots)
    value = start + slopes[0] * min(v - knots[0], 0)
    for k, knot in enumerate(knots):
        top = knots[k + 1] if k + 1 < len(knots) else None
        inside = max(v - knot, 0) if top is None else max(min(v, top) - knot, 0)
        value += slopes[k + 1] * inside
    return value, slopes[side] * s


def largest(lines, beyond):
    v, s = max(lines)
    for value, slope in lines:
        if slope > s:
            beyond.offer((v - value) / (slope - s))
    return v, s


def walk(layers, x0, x1):
    """Breakpoints and bends of the function on x0 + t (x1 - x0), t in (0, 1), as rationals."""
    x0, x1 = [Fraction(v) for v in x0], [Fraction(v) for v in x1]
    t, before = Fraction(), None
    places, bends = [], []
    while True:
        beyond = Beyond(t)
        out = forward(
            layers, [(a + t * (b - a), b - a) for a, b in zip(x0, x1, strict=True)], beyond
        )
        slopes = [s for _, s in out]
        if before is not None:
            places.append(t)
            if slopes != before:
                bends.append(t)
        if beyond.next is None or beyond.next >= 1:
            return places, bends
        t, before = beyond.next, slopes


class Net(nn.Module):
    """The same layers as a torch module."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        self.inner = nn.ModuleList()
        for kind, *rest in layers:
            if kind == "affine":
                weight, bias = (torch.tensor(np.array(x, dtype=float)) for x in rest)
                linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
                linear.weight.data, linear.bias.data = weight, bias
                self.inner.append(linear)
            elif kind in ("residual", "fork"):
                self.inner.append(nn.ModuleList([Net(part) for part in rest]))
            else:
                self.inner.append(nn.Identity())

    def forward(self, x):
        for (kind, *rest), inner in zip(self.layers, self.inner, strict=True):
            if kind == "affine":
                x = inner(x)
            elif kind == "knots":
                x = knots(*rest, x)
            elif kind == "max":
                x = torch.cat([x[:, list(g)].amax(dim=1, keepdim=True) for g in rest[0]], dim=1)
            elif kind == "residual":
                x = x + inner[0](x)
            elif kind == "fork":
                x = torch.cat([part(x) for part in inner], dim=1)
        return x


def knots(where, slopes, start, x):
    """The torch function with these knots."""
    if len(where) == 2:
        return nn.functional.hardtanh(x, float(where[0]), float(where[1]))
    if slopes == (-1, 1):
        return x.abs()
    return nn.functional.leaky_relu(x, float(slopes[0])) if slopes[0] else torch.relu(x)
