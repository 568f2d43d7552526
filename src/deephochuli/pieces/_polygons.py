"""Compiled: convex polygons cut by the lines on which units bend.

A point (s, t) of the plane lies in a triangle with the corners (0, 0), (1, 0) and (0, 1). A
function that is affine there is given by its values at the corners, and is at the point their mean
with the weights 1 - s - t, s and t. Polygons lie one behind the other in `vertices`; polygon i has
those from `start[i]` to `start[i + 1]`.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True}


@nb.njit(**OPTIONS)
def _value(f: Any, c: Any, j: Any, s: Any, t: Any) -> Any:
    return f[c, 0, j] * (1.0 - s - t) + f[c, 1, j] * s + f[c, 2, j] * t


@nb.njit(**OPTIONS)
def _extremes(vertices: Any, begin: Any, end: Any, f: Any, c: Any, low: Any, high: Any) -> None:
    """The smallest and the largest value of each function at the vertices of a polygon."""
    n = f.shape[2]
    for i in range(begin, end):
        s, t = vertices[i, 0], vertices[i, 1]
        r = 1.0 - s - t
        first = i == begin
        for j in range(n):
            v = f[c, 0, j] * r + f[c, 1, j] * s + f[c, 2, j] * t
            low[j] = v if first else min(low[j], v)
            high[j] = v if first else max(high[j], v)


@nb.njit(**OPTIONS)
def _cut(poly: Any, k: Any, values: Any, tol: Any, above: Any, below: Any) -> Any:
    """Part a polygon where values at its vertices change sign; (0, 0) where they do not.

    Values within `tol` of zero count as zero: the line goes through that vertex.
    """
    has_above = has_below = False
    for i in range(k):
        has_above |= values[i] > tol
        has_below |= values[i] < -tol
    if not (has_above and has_below):
        return 0, 0
    a = b = 0
    for i in range(k):
        v = values[i]
        j = i + 1 if i + 1 < k else 0
        w = values[j]
        if v >= -tol:
            above[a] = poly[i]
            a += 1
        if v <= tol:
            below[b] = poly[i]
            b += 1
        if (v > tol and w < -tol) or (v < -tol and w > tol):
            lam = v / (v - w)
            for x in range(2):
                between = poly[i, x] + lam * (poly[j, x] - poly[i, x])
                above[a, x] = below[b, x] = between
            a += 1
            b += 1
    return a, b


@nb.njit(**OPTIONS)
def _grown(old: Any, size: Any) -> Any:
    new = np.empty((size, *old.shape[1:]), old.dtype)
    new[: len(old)] = old
    return new


@nb.njit(**OPTIONS)
def _room(vertices: Any, n_cells: Any) -> Any:
    """Arrays for new polygons: (vertices, start, parent)."""
    start = np.empty(2 * n_cells + 64, np.int64)
    start[0] = 0
    return np.empty((2 * len(vertices) + 64, 2)), start, np.empty(2 * n_cells + 64, np.int64)


@nb.njit(**OPTIONS)
def _put(out: Any, n: Any, poly: Any, k: Any, owner: Any) -> Any:
    """Write polygon n; returns the arrays, which are larger ones where there was no room."""
    vertices, start, parent = out
    if n + 2 > len(start):
        start, parent = _grown(start, 2 * len(start)), _grown(parent, 2 * len(parent))
    begin, end = start[n], start[n] + k
    if end > len(vertices):
        vertices = _grown(vertices, 2 * end)
    vertices[begin:end] = poly[:k]
    start[n + 1], parent[n] = end, owner
    return vertices, start, parent


@nb.njit(**OPTIONS)
def _is_close(nearest: Any, bound: Any) -> Any:
    """Whether a line is as near to the border of a polygon, on either side, as errors may be."""
    return bound > 0.0 and abs(nearest) <= bound


@nb.njit(**OPTIONS)
def _crossing(low: Any, high: Any, tol: Any, bound: Any, found: Any) -> Any:
    """Functions with both signs in a cell, and how many decisions their bounds leave open."""
    m = n_close = 0
    for j in range(len(low)):
        nearest = min(high[j], -low[j])
        if nearest > tol:
            found[m] = j
            m += 1
        else:
            n_close += _is_close(nearest, bound[j])
    return m, n_close


@nb.njit(**OPTIONS)
def _all_cut(poly: Any, k: Any, f: Any, c: Any, lines: Any, tol: Any, bound: Any) -> Any:
    """The parts into which some lines cut a polygon.

    Returns:
        (Their vertices, their sizes, how many, open decisions).
    """
    room = k + len(lines) + 2
    parts, size = np.empty((4, room, 2)), np.empty(4, np.int64)
    above, below, values = np.empty((room, 2)), np.empty((room, 2)), np.empty(room)
    parts[0, :k] = poly
    size[0] = k
    n_parts, n_close = 1, 0
    for j in lines:
        for p in range(n_parts):
            high = low = _value(f, c, j, parts[p, 0, 0], parts[p, 0, 1])
            for i in range(size[p]):
                values[i] = _value(f, c, j, parts[p, i, 0], parts[p, i, 1])
                high, low = max(high, values[i]), min(low, values[i])
            n_close += _is_close(min(high, -low), bound[j])
            a, b = _cut(parts[p], size[p], values, tol, above, below)
            if a == 0:
                continue
            if n_parts == len(parts):
                parts, size = _grown(parts, 2 * n_parts), _grown(size, 2 * n_parts)
            parts[p, :a], parts[n_parts, :b] = above[:a], below[:b]
            size[p], size[n_parts] = a, b
            n_parts += 1
    return parts, size, n_parts, n_close


@nb.njit(**OPTIONS)
def parted(vertices: Any, start: Any, f: Any, tol: Any, bound: Any) -> Any:
    """Cut each polygon along the zero lines of its functions.

    Args:
        vertices: Shape (V, 2), float64.
        start: Shape (C + 1,), int64.
        f: Values of the functions at the corners of the triangle, shape (C, 3, n).
        tol: Values up to it count as zero, shape (C,).
        bound: Bound on the errors of the functions, shape (C, n); decides what is counted as close.

    Returns:
        (vertices, start, parent of each new polygon, number of decisions that the bound leaves
        open).
    """
    n_cells, n = len(start) - 1, f.shape[2]
    out = _room(vertices, n_cells)
    n_out = n_close = 0
    low, high, crossing = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for c in range(n_cells):
        begin, end = start[c], start[c + 1]
        _extremes(vertices, begin, end, f, c, low, high)
        m, close = _crossing(low, high, tol[c], bound[c], crossing)
        n_close += close
        poly = vertices[begin:end]
        if m == 0:
            out = _put(out, n_out, poly, end - begin, c)
            n_out += 1
            continue
        made = _all_cut(poly, end - begin, f, c, crossing[:m], tol[c], bound[c])
        parts, size, n_parts, close = made
        n_close += close
        for p in range(n_parts):
            out = _put(out, n_out, parts[p], size[p], c)
            n_out += 1
    return out[0][: out[1][n_out]], out[1][: n_out + 1], out[2][:n_out], n_close


@nb.njit(**OPTIONS)
def _won(poly: Any, k: Any, z: Any, o: Any, x: Any, candidates: Any, tol: Any, bound: Any) -> Any:
    """Cut a polygon, in place, down to where candidate x is the largest.

    Of functions that are one, the first has the region.

    Returns:
        (Number of vertices, 0 where it is nowhere the largest; open decisions).
    """
    above, below = np.empty_like(poly), np.empty_like(poly)
    values = np.empty(len(poly))
    n_close = 0
    for y in range(len(candidates)):
        other = candidates[y]
        if other < 0 or y == x:
            continue
        best, worst = -np.inf, np.inf
        for i in range(k):
            s, t = poly[i, 0], poly[i, 1]
            values[i] = _value(z, o, candidates[x], s, t) - _value(z, o, other, s, t)
            best, worst = max(best, values[i]), min(worst, values[i])
        n_close += _is_close(min(best, -worst), bound[o, candidates[x]] + bound[o, other])
        if best <= tol and (worst < -tol or y < x):
            return 0, n_close
        a, _ = _cut(poly, k, values, tol, above, below)
        if a > 0:
            poly[:a] = above[:a]
            k = a
    return k, n_close


@nb.njit(**OPTIONS)
def parted_by_largest(
    vertices: Any, start: Any, z: Any, owner: Any, candidates: Any, tol: Any, bound: Any
) -> Any:
    """Part each polygon into the regions in which each of some functions is the largest.

    Args:
        vertices: Shape (V, 2).
        start: Shape (C + 1,).
        z: Values of all functions at the corners, shape (parents, 3, n).
        owner: Parent of each polygon, shape (C,): polygon i has the functions of `z[owner[i]]`.
        candidates: Functions to choose from, shape (K,); -1 for none.
        tol: Differences up to it count as ties, shape (parents,).
        bound: Bound on the errors of the functions, shape (parents, n).

    Returns:
        (vertices, start, polygon that each was cut from, open decisions).
    """
    n_cells = len(start) - 1
    out = _room(vertices, n_cells)
    n_out = n_close = 0
    for c in range(n_cells):
        k, o = start[c + 1] - start[c], owner[c]
        poly = np.empty((k + len(candidates) + 2, 2))
        for x in range(len(candidates)):
            if candidates[x] < 0:
                continue
            poly[:k] = vertices[start[c] : start[c + 1]]
            size, close = _won(poly, k, z, o, x, candidates, tol[o], bound)
            n_close += close
            if size >= 3:
                out = _put(out, n_out, poly, size, c)
                n_out += 1
    return out[0][: out[1][n_out]], out[1][: n_out + 1], out[2][:n_out], n_close


@nb.njit(**OPTIONS)
def measured(vertices: Any, start: Any) -> Any:
    """(Area, centroid) of each polygon; without area the centroid is the mean of the vertices."""
    n = len(start) - 1
    areas, centers = np.empty(n), np.empty((n, 2))
    for c in range(n):
        begin, end = start[c], start[c + 1]
        x0, y0 = vertices[begin, 0], vertices[begin, 1]
        twice = cx = cy = 0.0
        for i in range(begin + 1, end - 1):
            ax, ay = vertices[i, 0] - x0, vertices[i, 1] - y0
            bx, by = vertices[i + 1, 0] - x0, vertices[i + 1, 1] - y0
            cross = ax * by - ay * bx
            twice += cross
            cx += cross * (ax + bx)
            cy += cross * (ay + by)
        areas[c] = 0.5 * twice
        if twice != 0.0:
            centers[c, 0], centers[c, 1] = x0 + cx / (3.0 * twice), y0 + cy / (3.0 * twice)
        else:
            centers[c, 0] = vertices[begin:end, 0].mean()
            centers[c, 1] = vertices[begin:end, 1].mean()
    return areas, centers


@nb.njit(**OPTIONS)
def _shares_edge(vertices: Any, start: Any, a: Any, b: Any, tol: Any) -> bool:
    """Whether two convex polygons without common inner points share a stretch of their borders."""
    for i in range(start[a], start[a + 1]):
        j = i + 1 if i + 1 < start[a + 1] else start[a]
        px, py = vertices[i, 0], vertices[i, 1]
        dx, dy = vertices[j, 0] - px, vertices[j, 1] - py
        length = np.sqrt(dx * dx + dy * dy)
        if length <= tol:
            continue
        dx, dy = dx / length, dy / length
        for k in range(start[b], start[b + 1]):
            m = k + 1 if k + 1 < start[b + 1] else start[b]
            qx, qy = vertices[k, 0] - px, vertices[k, 1] - py
            rx, ry = vertices[m, 0] - px, vertices[m, 1] - py
            if abs(dx * qy - dy * qx) > tol or abs(dx * ry - dy * rx) > tol:
                continue
            one, two = dx * qx + dy * qy, dx * rx + dy * ry
            if min(max(one, two), length) - max(min(one, two), 0.0) > 4 * tol:
                return True
    return False


@nb.njit(**OPTIONS)
def _root(of: Any, i: Any) -> Any:
    while of[i] != i:
        of[i] = of[of[i]]
        i = of[i]
    return i


@nb.njit(**OPTIONS)
def _largest_difference(maps: Any, a: Any, b: Any) -> Any:
    largest = 0.0
    for k in range(maps.shape[1]):
        largest = max(largest, abs(maps[a, k] - maps[b, k]))
    return largest


@nb.njit(**OPTIONS)
def _boxes(vertices: Any, start: Any) -> Any:
    n = len(start) - 1
    low, high = np.empty((n, 2)), np.empty((n, 2))
    for c in range(n):
        for x in range(2):
            low[c, x] = vertices[start[c] : start[c + 1], x].min()
            high[c, x] = vertices[start[c] : start[c + 1], x].max()
    return low, high


@nb.njit(**OPTIONS)
def n_joined(vertices: Any, start: Any, maps: Any, errors: Any, tol: Any) -> Any:
    """Number of pieces when neighbours with one affine map are joined.

    Args:
        vertices: Shape (V, 2).
        start: Shape (C + 1,).
        maps: Shape (C, m): the numbers of each polygon's affine map.
        errors: Shape (C,): maps may be one when no numbers differ by more than the sum of both.
        tol: Distances up to it count as none.

    Returns:
        (Pieces when all maps that may be one are one, pieces when only equal maps are).
    """
    n = len(start) - 1
    low, high = _boxes(vertices, start)
    order = np.argsort(low[:, 0])
    may, equal = np.arange(n), np.arange(n)
    for x in range(n):
        a = order[x]
        for y in range(x + 1, n):
            b = order[y]
            if low[b, 0] > high[a, 0] + tol:
                break
            if low[b, 1] > high[a, 1] + tol or low[a, 1] > high[b, 1] + tol:
                continue
            apart = _largest_difference(maps, a, b)
            if apart > errors[a] + errors[b] or not _shares_edge(vertices, start, a, b, tol):
                continue
            may[_root(may, a)] = _root(may, b)
            if apart == 0.0:
                equal[_root(equal, a)] = _root(equal, b)
    numbers = np.arange(n)
    return (may == numbers).sum(), (equal == numbers).sum()
