"""Rows times a wide matrix, without the entries that are zero in four rows at a time.

Behind a ReLU half of the entries are zero, mostly the same ones in neighbouring rows; a jump of one
unit has one entry. The sums of four rows and a panel of columns stay in registers (see `_sparse`),
and the panel stays in the cache while many rows pass by. That takes half of the time of a library's
product.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces import _sparse as sparse
from deephochuli.pieces._loops import OPTIONS
from deephochuli.pieces._memory import aligned, fresh

COLUMNS = sparse.LANES * sparse.MOST_VECTORS
"""Columns of a panel."""
_ROWS = 4
_TILE = 32
"""Groups of four rows that pass by together."""
_FEW = 8
"""Rows with fewer entries than one in so many are kept among themselves."""


def cut(weight: Any, bias: Any) -> tuple[Any, Any]:
    """A matrix (outputs, inputs) as panels of transposed columns, and offsets, filled with zeros.

    Returns:
        (Shape (panels, inputs, COLUMNS), shape (panels, COLUMNS)).
    """
    m, n = weight.shape
    n_panels = -(-m // COLUMNS)
    whole, offset = np.zeros((n_panels * COLUMNS, n)), np.zeros(n_panels * COLUMNS)
    whole[:m], offset[:m] = weight, bias
    panels = aligned(whole.size).reshape(n_panels, n, COLUMNS)
    panels[:] = whole.reshape(n_panels, COLUMNS, n).transpose(0, 2, 1)
    return panels, offset.reshape(n_panels, COLUMNS)


def product(x: Any, panels: Any, offset: Any, size: int) -> Any:
    """X W^T + offset for all rows of x.

    Args:
        x: Shape (rows, inputs), contiguous.
        panels: What `cut` returns.
        offset: Likewise, or zeros.
        size: Number of outputs.

    Numerics:
        Each entry is a sum from left to right, offset first; a product is rounded together with its
        addition.
    """
    out, n = fresh(len(x), size), x.shape[1]
    order = _by_terms(x, n // _FEW)
    lists = np.empty((_TILE, n + 1), np.int64), fresh(_TILE * _ROWS, n + 1)
    _multiply(x, order, panels, offset, out, *lists, np.empty((_ROWS, COLUMNS)))
    return out


@nb.njit(**OPTIONS)
def _by_terms(x: Any, few: Any) -> Any:
    """Numbers of the rows, those first that have few entries."""
    is_short = np.zeros(len(x), np.bool_)
    for r in range(len(x)):
        n = 0
        for k in range(x.shape[1]):
            n += x[r, k] != 0.0
        is_short[r] = n < few
    return np.concatenate((np.flatnonzero(is_short), np.flatnonzero(~is_short)))


@nb.njit(**OPTIONS)
def _multiply(
    x: Any, order: Any, panels: Any, offset: Any, out: Any, live: Any, packed: Any, apart: Any
) -> None:
    """Fill `out`; the last three arrays are room to work in."""
    n_live = np.empty(len(live), np.int64)
    for begin in range(0, len(x), _ROWS * len(live)):
        rows = order[begin : begin + _ROWS * len(live)]
        n_groups = (len(rows) + _ROWS - 1) // _ROWS
        for group in range(n_groups):
            n_live[group] = _pack(x, rows, live, packed, group)
        for i in range(len(panels)):
            for group in range(n_groups):
                lists = live, n_live[group], packed
                _multiply_group(panels, i, offset, out, rows, lists, group, apart)


@nb.njit(**OPTIONS)
def _pack(x: Any, rows: Any, live: Any, packed: Any, group: Any) -> Any:
    """Write the entries of four rows that are not zero in all of them; return how many."""
    n, first, last = 0, _ROWS * group, len(rows) - 1
    a, b = rows[first], rows[min(first + 1, last)]
    c, d = rows[min(first + 2, last)], rows[min(first + 3, last)]
    for k in range(x.shape[1]):
        live[group, n] = k  # overwritten by the next one that is not zero: nothing branches
        at, bt, ct, dt = x[a, k], x[b, k], x[c, k], x[d, k]
        packed[first, n], packed[first + 1, n] = at, bt
        packed[first + 2, n], packed[first + 3, n] = ct, dt
        n += (at != 0.0) | (bt != 0.0) | (ct != 0.0) | (dt != 0.0)
    return n


@nb.njit(**OPTIONS)
def _multiply_group(
    panels: Any, i: Any, offset: Any, out: Any, rows: Any, lists: Any, group: Any, apart: Any
) -> None:
    """Four rows times one panel."""
    live, n_live, packed = lists
    first, length = _ROWS * group, 8 * packed.shape[1]
    n = min(_ROWS, len(rows) - first)
    n_columns = min(COLUMNS, out.shape[1] - i * COLUMNS)
    x, start = packed.ctypes.data + first * length, offset.ctypes.data + 8 * COLUMNS * i
    weight = panels.ctypes.data + 8 * COLUMNS * panels.shape[1] * i, start, start
    numbers = live.ctypes.data + 8 * live.shape[1] * group, n_live
    packed_rows = x, x + length, x + 2 * length, x + 3 * length
    to, line = apart.ctypes.data, 8 * COLUMNS
    if n == _ROWS and n_columns == COLUMNS:
        to, line = out.ctypes.data + line * i, 8 * out.shape[1]
        a, b, c, d = rows[first], rows[first + 1], rows[first + 2], rows[first + 3]
        made = to + a * line, to + b * line, to + c * line, to + d * line
        sparse.panel(*numbers, packed_rows, weight, made)
        return
    sparse.panel(*numbers, packed_rows, weight, (to, to + line, to + 2 * line, to + 3 * line))
    for r in range(n):  # fewer rows, or fewer columns: not all is to be kept
        for j in range(n_columns):
            out[rows[first + r], i * COLUMNS + j] = apart[r, j]
