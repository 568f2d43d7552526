"""A product for every few rows, and the rows between them from the jumps.

Behind a linear layer all is known from two products: one with the values at the rows, one with the
jumps of their slopes. But between two rows a and b with few others between them, the values follow
from those at a and b and from the jumps in between: with

    g(t) = y_a + s (t - t_a) + sum over rows k in (a, t) of J_k (t - t_k),   g(t_b) = y_b,

W g is what g becomes when y and J are replaced by W y and W J. So most rows need no product of
their own. That y is g up to rounding is not taken for granted: the difference is computed before
the product, row by row, and what W can make of it is added to the error; where it is more than the
rounding of a product, the row gets its product after all.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces._loops import OPTIONS

MOST = 8
"""Cells from one row with a product to the next, at most."""
_U = 2.0**-53
_SLACK = 1 + 2.0**-20
"""Covers products of two roundings, and those of the bounds themselves."""
OFFSET_ROUNDING = (MOST + 2) * _U
"""What a recursion behind the layer rounds, beside its offsets."""
BETWEEN, ANCHOR, LONE = 0, 1, 2
"""Rows that follow from others; that others follow from; with a product that none follows from."""


@nb.njit(**OPTIONS)
def planned(t: Any, y: Any, error: Any, jump: Any, sizes: Any, lost: Any) -> Any:
    """Choose the rows that get a product, and bound what becomes of the others.

    Args:
        t: Place of each row.
        y: Values before the layer.
        error: Bound on the error of each row; 0 in exact ones, which get a product.
        jump: Jump of the slope of `y` at each row.
        sizes: 2-norms of the rows of `y`, and of those of `jump`.
        lost: The same, times the rounding of a product of each.

    Returns:
        (Kind of each row; for rows between others a bound on their difference from `g`, with the
        roundings of both recursions, else 0; `lost` for the values behind the layer).
    """
    size, jump_size = sizes
    n = len(t)
    kind, extra, behind = np.full(n, ANCHOR, np.int8), np.zeros(n), lost[0].copy()
    g, slope = np.empty(y.shape[1]), np.empty(y.shape[1])
    a = 0
    while a < n - 1:
        b, bent, bent_lost = a + 1, 0.0, 0.0
        while b < n - 1 and b - a < MOST and error[a] > 0 and error[b] > 0 and error[b + 1] > 0:
            turn = (bent + jump_size[b]) * (t[b + 1] - t[a])
            if not turn <= min(size[a], size[b + 1]):
                break
            bent, bent_lost = bent + jump_size[b], bent_lost + lost[1][b]
            b += 1
        if b > a + 1:
            length, m = t[b] - t[a], b - a
            change = _start(t, y, jump, a, b, slope) + 2 * bent * length
            # Sums of m values, and of slopes that themselves were summed (see `docs/pieces.md`).
            rounding = _U * _SLACK * ((m + 2) * size[a] + (3 * m + 9) * change)
            g[:] = y[a]
            for r in range(a + 1, b):
                distance = np.sqrt(_advanced(t, y, jump, r, g, slope)) * _SLACK
                if distance <= lost[0][r]:
                    kind[r] = BETWEEN
                    extra[r] = distance + 2 * rounding
                    behind[r] = max(lost[0][a], lost[0][b]) + bent_lost * length / 4
                else:
                    kind[r] = LONE
        a = b
    return kind, extra, behind


@nb.njit(**OPTIONS)
def filled(t: Any, kind: Any, products: Any, jump: Any, out: Any) -> None:
    """Values at all rows behind the layer.

    `products` are those of the rows that have one, in their order; `jump` are the jumps there.
    """
    k = 0
    for r in range(len(t)):
        if kind[r] != BETWEEN:
            out[r] = products[k]
            k += 1
    g, slope = np.empty(out.shape[1]), np.empty(out.shape[1])
    a = 0
    while a < len(t) - 1:
        b = a + 1
        while kind[b] != ANCHOR:
            b += 1
        if b > a + 1:
            _start(t, out, jump, a, b, slope)
            g[:] = out[a]
            for r in range(a + 1, b):
                if kind[r] == BETWEEN:
                    _step(t, jump, r, g, slope, out[r])
                else:
                    _step(t, jump, r, g, slope, g)
        a = b


@nb.njit(**OPTIONS)
def _start(t: Any, y: Any, jump: Any, a: Any, b: Any, slope: Any) -> Any:
    """The slope behind row a with which the jumps lead to row b.

    Returns:
        2-norm of the change from row a to row b.
    """
    slope[:] = 0.0
    for r in range(a + 1, b):
        here, left = jump[r], t[b] - t[r]
        for j in range(len(slope)):
            slope[j] += here[j] * left
    begin, end, length = y[a], y[b], t[b] - t[a]
    change = 0.0
    for j in range(len(slope)):
        rise = end[j] - begin[j]
        change += rise * rise
        slope[j] = (rise - slope[j]) / length
    return np.sqrt(change)


@nb.njit(**OPTIONS)
def _step(t: Any, jump: Any, r: Any, g: Any, slope: Any, out: Any) -> None:
    """Go on to row r, and write down the values there."""
    here, length = jump[r], t[r] - t[r - 1]
    for j in range(len(g)):
        g[j] += slope[j] * length
        out[j] = g[j]
        slope[j] += here[j]


@nb.njit(fastmath={"reassoc"}, **OPTIONS)
def _advanced(t: Any, y: Any, jump: Any, r: Any, g: Any, slope: Any) -> Any:
    """Go on to row r; the square of the distance from the values there."""
    here, there, length = jump[r], y[r], t[r] - t[r - 1]
    total = 0.0
    for j in range(len(g)):
        g[j] += slope[j] * length
        total += (there[j] - g[j]) * (there[j] - g[j])
        slope[j] += here[j]
    return total
