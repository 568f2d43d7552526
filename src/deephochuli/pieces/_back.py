"""Compiled: how much the slope of the only output changes at each bend, from the output backwards.

A unit whose slope changes by c changes that of the output by c times the derivative of the output
with respect to the unit. That derivative depends only on which units of the layers behind are on:
between two bends of these layers, all bends of the layers before share one. So it takes a quarter
of the products that following each jump forward through all layers takes.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces import _links as links
from deephochuli.pieces import _passes as passes
from deephochuli.pieces import _sparse as sparse
from deephochuli.pieces._loops import INNER
from deephochuli.pieces._passes import U
from deephochuli.pieces._sparse import LANES

LEAST = 1e-140
"""Squares of derivatives that are smaller could be subnormal, and bounds too small."""


@nb.njit(error_model="numpy", **INNER)
def jumps(tables: Any, which: Any, origin: Any, size: Any, on: Any, room: Any) -> Any:
    """Jumps of the slope of the output.

    Args:
        tables: See `_links.run`; the last layer has one unit.
        which: Where the bends are stored, in the order of the segment.
        origin: Layer and unit of each, as they are stored.
        size: How much the slope of the unit changes, as they are stored.
        on: Which units of each layer were above zero at rows of earlier layers, shape (layers,
            rows, words).
        room: Two blocks, and `_passes.scratch`.

    Returns:
        (Jump at each bend; a bound on its error; whether the bounds hold: no number was too small).

    Numerics:
        With e a bound on the 2-norm of the error of the derivatives v with respect to the units of
        a layer, those with respect to its inputs err by at most |A| e + u' |A|_F |v|, where u' is
        the rounding of a sum of as many products as units are on (Higham 2002, section 3.1).
    """
    (now, then, scratch), last, n = room, len(tables[0]) - 1, len(which)
    jump, bound = np.empty(n), np.empty(n)
    kept, at = np.arange(n), np.zeros(n, np.int64)
    parents, seen, error = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(1)
    v, is_sure = _head(links.layer_of(tables, last), now), True
    for i in range(last - 1, -1, -1):
        known = v, error, origin, size
        kept, at, n_parts = _taken(i, which, known, kept, at, parents, seen, jump, bound)
        if i == 0 or not n_parts:
            break
        layer = links.layer_of(tables, i)
        found = links.shaped(then, layer.back.shape[1])[:n_parts]
        error = _multiply(layer, v, error, parents, seen, on[i], found, scratch)
        for k in range(n_parts):
            is_sure &= error[k] >= 0.0
        v, now, then = found, then, now
    return jump, bound, is_sure


@nb.njit(**INNER)
def _head(layer: Any, block: Any) -> Any:
    """Derivatives of the output with respect to the inputs of the last layer, shape (1, width)."""
    n = len(layer.weight)
    v = links.shaped(block, links.width_of(n))[:1]
    for k in range(v.shape[1]):
        v[0, k] = layer.weight[k, 0] if k < n else 0.0
    return v


@nb.njit(**INNER)
def _taken(
    i: Any, which: Any, known: Any, kept: Any, at: Any, parents: Any, seen: Any, jump: Any,
    bound: Any,
) -> Any:  # fmt: skip
    """Jumps of the bends of layer i, and the parts between them that hold others.

    Args:
        i: Number of the layer.
        which: See `jumps`.
        known: Derivatives, their errors, `origin` and `size`.
        kept: Numbers of the bends of this layer and those before, ascending.
        at: Which of the derivatives belongs to each.
        parents: Where to write which derivatives each part had.
        seen: Where to write a row in it.
        jump: Where to write the jumps.
        bound: Where to write the bounds on their errors.

    Returns:
        (Numbers of the bends of the layers before, the part of each; number of parts).
    """
    v, error, (layer, unit), size = known
    n = n_parts = 0
    last, is_new = -1, True
    for k in range(len(kept)):
        p, part = which[kept[k]], at[k]
        if layer[p] == i:
            derivative = v[part, unit[p]]
            jump[kept[k]] = abs(size[p] * derivative)
            bound[kept[k]] = size[p] * (error[part] + 4 * U * abs(derivative))
            if jump[kept[k]] == 0.0 and derivative != 0.0:  # not known: it is too small
                bound[kept[k]] = np.inf
            is_new = True
            continue
        if is_new or part != last:
            parents[n_parts], seen[n_parts] = part, p
            n_parts, is_new, last = n_parts + 1, False, part
        kept[n], at[n] = kept[k], n_parts - 1
        n += 1
    return kept[:n], at[:n], n_parts


@nb.njit(error_model="numpy", **INNER)
def _multiply(
    layer: Any, v: Any, error: Any, parents: Any, seen: Any, on: Any, out: Any, scratch: Any
) -> Any:
    """Derivatives before a layer from those behind its ReLU, four parts at a time.

    Returns:
        Bound on the error of each; -1 where a number was too small for one.
    """
    n, width, n_vectors = len(out), v.shape[1], out.shape[1] // LANES
    bounds, (live, facts, nothing, masked) = np.empty(n), scratch
    live_at, facts_at, zero = live.ctypes.data, facts.ctypes.data, nothing.ctypes.data
    numbers = layer.back.ctypes.data, zero, zero
    at, each, to, line = masked.ctypes.data, 8 * masked.shape[1], out.ctypes.data, 8 * out.shape[1]
    copies, step = (at, at + each, at + 2 * each, at + 3 * each), 8 * width
    source, bits, each = v.ctypes.data, on.ctypes.data, 8 * on.shape[1]
    for a in range(0, n, 4):
        b, c, d = min(a + 1, n - 1), min(a + 2, n - 1), min(a + 3, n - 1)
        rows = (
            source + step * parents[a], source + step * parents[b],
            source + step * parents[c], source + step * parents[d],
        )  # fmt: skip
        masks = (
            bits + each * seen[a], bits + each * seen[b],
            bits + each * seen[c], bits + each * seen[d],
        )  # fmt: skip
        n_live = sparse.read_masked(rows, masks, copies, width // LANES, live_at, facts_at)
        made = to + a * line, to + b * line, to + c * line, to + d * line
        sparse.multiplied(live_at, n_live, copies, numbers, made, n_vectors)
        for k in range(4):
            i = min(a + k, n - 1)
            size = np.sqrt(facts[k])
            bounds[i] = 0.0
            if on[seen[i]].any():  # otherwise all are zero, without an error
                bounds[i] = _bound(layer.norms, error[parents[i]], size, n_live)
            if size < LEAST and masked[k, :width].any():
                bounds[i] = -1.0
    return bounds


@nb.njit(error_model="numpy", **INNER)
def _bound(norms: Any, error: Any, size: Any, terms: Any) -> Any:
    """Bound on the error of derivatives before a layer."""
    spectral, frobenius, _, _ = norms
    return spectral * error + frobenius * (passes.rounding(terms, 1.0) * size)
