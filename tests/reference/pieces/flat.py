"""The obvious way to part a polygon: exact rationals, one region, one unit, one cut after another.

Nothing of the package is used. A layer is (matrix, offsets, kind), all numbers are fractions; kinds
are "relu", "leaky" (slope 1/8), "hardtanh", "maxout" (the larger one of two neighbours), "linear".
"""

from __future__ import annotations

from fractions import Fraction

Place = tuple[Fraction, Fraction]
Affine = tuple[Fraction, Fraction, Fraction]  # constant, and slopes along both axes


def value(f: Affine, at: Place) -> Fraction:
    return f[0] + f[1] * at[0] + f[2] * at[1]


def area(polygon: list[Place]) -> Fraction:
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return sum((a[0] * b[1] - a[1] * b[0] for a, b in pairs), Fraction(0)) / 2


def half(polygon: list[Place], f: Affine) -> list[Place]:
    """The part in which f is not negative; nothing where that has no area."""
    kept: list[Place] = []
    for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        va, vb = value(f, a), value(f, b)
        if va >= 0:
            kept.append(a)
        if va * vb < 0:
            lam = va / (va - vb)
            kept.append((a[0] + lam * (b[0] - a[0]), a[1] + lam * (b[1] - a[1])))
    return kept if len(kept) > 2 and area(kept) > 0 else []


def minus(f: Affine, g: Affine) -> Affine:
    return (f[0] - g[0], f[1] - g[1], f[2] - g[2])


def scaled(factor: Fraction, f: Affine, offset: Fraction = Fraction(0)) -> Affine:
    return (factor * f[0] + offset, factor * f[1], factor * f[2])


def choices(kind: str, z: list[Affine]) -> list[list[tuple[list[Affine], Affine]]]:
    """For each output the ways it can be formed: (functions that are not negative then, output)."""
    zero = (Fraction(0),) * 3
    one = (Fraction(1), Fraction(0), Fraction(0))
    if kind == "linear":
        return [[([], f)] for f in z]
    if kind == "maxout":
        pairs = [(z[i], z[i + 1]) for i in range(0, len(z), 2)]
        return [
            [([minus(f, g)], f)] if f == g else [([minus(f, g)], f), ([minus(g, f)], g)]
            for f, g in pairs
        ]
    if kind == "hardtanh":
        return [_clipped(f, one) for f in z]
    below = Fraction(1, 8) if kind == "leaky" else Fraction(0)
    return [[([f], f), ([minus(zero, f)], scaled(below, f))] if f != zero else [([], f)] for f in z]


def _clipped(f: Affine, one: Affine) -> list[tuple[list[Affine], Affine]]:
    """The ways of a hardtanh; a constant on a knot has one."""
    least = scaled(Fraction(-1), one)
    if f in (one, least):
        return [([], f)]
    inside = [minus(one, f), minus(f, least)]
    return [([minus(f, one)], one), (inside, f), ([minus(least, f)], least)]


def regions(layers, polygon: list[Place], inputs: list[Affine]):
    """All regions: (polygon, affine functions of the outputs)."""
    cells = [(polygon, inputs)]
    for matrix, offsets, kind in layers:
        cells = [found for cell in cells for found in _layer(cell, matrix, offsets, kind)]
    return cells


def _layer(cell, matrix, offsets, kind):
    polygon, x = cell
    z = []
    for row, offset in zip(matrix, offsets, strict=True):
        total = (offset, Fraction(0), Fraction(0))
        for w, f in zip(row, x, strict=True):
            total = minus(total, scaled(-w, f))
        z.append(total)
    parts = [(polygon, [])]
    for ways in choices(kind, z):
        grown = []
        for part, outputs in parts:
            for conditions, output in ways:
                rest = part
                for f in conditions:
                    rest = half(rest, f) if rest else rest
                if rest:
                    grown.append((rest, [*outputs, output]))
        parts = grown
    return parts


def borders(a: list[Place], b: list[Place]) -> bool:
    """Whether two regions share a stretch of their borders."""
    for p, q in zip(a, a[1:] + a[:1], strict=True):
        dx, dy = q[0] - p[0], q[1] - p[1]
        for r, s in zip(b, b[1:] + b[:1], strict=True):
            sides = [dx * (e[1] - p[1]) - dy * (e[0] - p[0]) for e in (r, s)]
            if any(sides):
                continue
            along = sorted(dx * (e[0] - p[0]) + dy * (e[1] - p[1]) for e in (r, s))
            if min(along[1], dx * dx + dy * dy) > max(along[0], 0):
                return True
    return False


def n_pieces(cells) -> int:
    """Connected unions of regions with one function."""
    of = list(range(len(cells)))

    def root(i):
        while of[i] != i:
            i = of[i]
        return i

    for i, (a, f) in enumerate(cells):
        for j in range(i):
            if f == cells[j][1] and root(i) != root(j) and borders(a, cells[j][0]):
                of[root(i)] = root(j)
    return sum(of[i] == i for i in range(len(cells)))
