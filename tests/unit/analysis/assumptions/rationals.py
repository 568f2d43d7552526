"""Dense ReLU networks of one input on a segment, in exact rational arithmetic: a slow judge."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from torch import nn


@dataclass
class Exact:
    """What a network does on [x0, x1].

    `regions` counts activation regions; the others hold, for each hidden layer, one number a unit.
    """

    breakpoints: list
    slopes: list
    variations: list
    crossings: list

    @property
    def n_regions(self):
        return len(self.breakpoints) - 1


def exact(model, x0, x1):
    """Carry the pre-activations at all breakpoints through the layers of an nn.Sequential."""
    layers = [module for module in model if isinstance(module, nn.Linear)]
    ts = [Fraction(0), Fraction(1)]
    x0, x1 = Fraction(x0), Fraction(x1)
    rows = [[x0 + t * (x1 - x0)] for t in ts]
    result = Exact([], [], [], [])
    for linear in layers[:-1]:
        w = [[Fraction(v) for v in row] for row in linear.weight.detach().double().tolist()]
        b = [Fraction(v) for v in linear.bias.detach().double().tolist()]
        z = [[_dot(row, h) + c for row, c in zip(w, b, strict=True)] for h in rows]
        _measure(result, ts, z)
        new_ts, new_z = [ts[0]], [z[0]]
        for (left, right), (a, c) in zip(pairwise(ts), pairwise(z), strict=True):
            cuts = {p / (p - q) for p, q in zip(a, c, strict=True) if p * q < 0}
            for cut in sorted(cuts):
                new_ts.append(left + cut * (right - left))
                new_z.append([p + cut * (q - p) for p, q in zip(a, c, strict=True)])
            new_ts.append(right)
            new_z.append(c)
        ts, rows = new_ts, [[max(v, Fraction(0)) for v in row] for row in new_z]
    result.breakpoints = ts
    return result


def _dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def _measure(result, ts, z):
    """Slopes, variations and sign changes of each unit; a zero is on the side of its left."""
    units = list(zip(*z, strict=True))
    gaps = [b - a for a, b in pairwise(ts)]
    steps = [[abs(b - a) for a, b in pairwise(u)] for u in units]
    result.slopes.append(
        [float(max(s / g for s, g in zip(each, gaps, strict=True))) for each in steps]
    )
    result.variations.append([float(sum(each)) for each in steps])
    signs = [[v > 0 for v in u if v != 0] for u in units]
    result.crossings.append([sum(a != b for a, b in pairwise(s)) for s in signs])
