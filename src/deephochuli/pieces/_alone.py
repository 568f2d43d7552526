"""Compiled: bends that are far from each other, one for each event; so it is on most segments.

Then there is nothing to decide: what `_certificate` and `_assembly` find out for all cases, is
known after one look at each event.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces._loops import INNER, OPTIONS


@nb.njit(**OPTIONS)
def matched(t: Any, low: Any, high: Any, left: Any, right: Any, weight: Any) -> Any:
    """Give each bend the event that it lies in.

    Returns:
        (Whether each event is a clear change of side, touches no other one, and holds one bend; and
        no bend is without; begin and end of the event of each bend).
    """
    n = len(t)
    begin, end = np.full(n, np.nan), np.full(n, np.nan)
    if len(low) != n:
        return False, begin, end
    for i in range(n):
        k = _last_before(t, high[i])
        is_clear = left[i] * right[i] == -1 and weight[i] == 1
        # A bend that has its event already would have two of them.
        if k < 0 or not is_clear or t[k] < low[i] or begin[k] == begin[k]:
            return False, begin, end
        begin[k], end[k] = low[i], high[i]
    for k in range(1, n):
        if not begin[k] > end[k - 1]:
            return False, begin, end
    return True, begin, end


@nb.njit(**INNER)
def _last_before(t: Any, place: Any) -> Any:
    """Number of the last bend that is not behind a place; -1 where there is none."""
    k, n = -1, len(t)
    while n > 0:  # a number is chosen, nothing branches: which way it goes cannot be foreseen
        half = (n + 1) // 2
        k = k + half if t[k + half] <= place else k
        n -= half
    return k


@nb.njit(**INNER)
def judge(jump: Any, bound: Any) -> Any:
    """Whether a bend that is alone reaches the output, and whether it may or may not."""
    is_bend = jump > bound
    return is_bend, not (is_bend or (jump == 0.0 and bound == 0.0))


@nb.njit(**OPTIONS)
def judged(jump: Any, bound: Any, begin: Any, end: Any, reached: Any, wide: Any) -> Any:
    """What bends that are alone do to the output, as `_assembly.assembled` says it.

    Args:
        jump: Jump of the slope at each.
        bound: Bound on its error.
        begin: Where the event of each begins.
        end: Where it ends.
        reached: Where the last event before all of these ends.
        wide: Gaps that are wider than this have a clear place in the middle.

    Returns:
        (Which bends reach the output, which may or may not, clear places).
    """
    n, k = len(jump), 0
    is_bend, is_open = np.empty(n, np.bool_), np.empty(n, np.bool_)
    clear = np.empty(n)
    for i in range(n):
        is_bend[i], is_open[i] = judge(jump[i], bound[i])
        before = end[i - 1] if i else reached
        if begin[i] - before > wide:
            clear[k] = 0.5 * (before + begin[i])
            k += 1
    return is_bend, is_open, clear[:k].copy()
