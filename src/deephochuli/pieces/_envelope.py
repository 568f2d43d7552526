"""The largest of several values: where another candidate takes over, and where one may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bend import Bent
from deephochuli.pieces._bends import Maximum
from deephochuli.pieces._crossings import T_ERROR, TYPICAL, Crossings, ordered
from deephochuli.pieces._events import Events, joined
from deephochuli.pieces._insert import inserted, put
from deephochuli.pieces._norms import U, lipschitz
from deephochuli.pieces._state import Column, State, Value

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What every output chooses from, at all rows.

    Attributes:
        numbers: Shape (rows, outputs, candidates); -inf where there is none.
        error: Bound on each, shape like `numbers`.
    """

    numbers: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Takeovers:
    """Places inside of cells where another candidate becomes the largest.

    Attributes:
        cell: Cell of each.
        unit: Output.
        lam: Where in the cell.
        before: The candidate that was the largest, by its number in the output's list.
        behind: The one that is.
    """

    cell: Index
    unit: Index
    lam: Column
    before: Index
    behind: Index


def maximal(state: State, op: Maximum, step: int, source: int, most_rows: int) -> Bent | None:
    """Do one step that takes the largest; see `_bend.bent`."""
    value = state.values[source]
    among = _candidates(value, op)
    found = takeovers(among.numbers)
    known = _events(state, op, among, found, step)
    crossings, partner = _crossings(value, op, found)
    grown = inserted(state, crossings, step, most_rows)
    if grown is None:
        return None
    after, row = grown
    z = after.values[source]
    z = put(z, row, partner, z.rows[row, crossings.target.astype(np.int64)])
    after.values[source] = z
    jump, jump_error = _jump(after.t, z, op)
    rows = op.apply(z.rows)
    out = Value(rows, lipschitz(op) * z.error, None, z.has_exact_zeros, jump, jump_error)
    return after, out, known


def _candidates(value: Value, op: Maximum) -> Candidates:
    it = value.entry_bound()
    unit, floor = (x[op.index] if len(x) > 1 else x for x in (it.unit, it.floor))
    picked = it.row[:, None, None] * unit + floor
    picked = np.where(value.error[:, None, None] == 0, 0.0, picked)
    numbers = op.candidates(value.rows)
    if value.has_exact_zeros:
        picked = np.where(numbers == 0.0, 0.0, picked)
    return Candidates(numbers, np.where(np.isfinite(numbers), picked, 0.0))


def takeovers(numbers: NDArray[np.float64]) -> Takeovers:
    """Follow the largest of several lines through each cell.

    Args:
        numbers: Candidates at all rows, shape (rows, outputs, candidates).

    Numerics:
        Between two candidates p and q the place is gap_a / (gap_a + gap_b), with the gaps between
        them at both ends; ties at the left end go to the one that grows most.
    """
    left, right = numbers[:-1], numbers[1:]
    parts: list[Takeovers] = []
    best = left.max(axis=2, keepdims=True)
    at_left = np.where(left == best, right, -np.inf).argmax(axis=2)
    cell, unit = np.nonzero(
        np.take_along_axis(right, at_left[..., None], 2)[..., 0] < right.max(axis=2)
    )
    now = at_left[cell, unit]
    while len(cell):
        a, b = left[cell, unit], right[cell, unit]
        each = np.arange(len(cell))
        gap_a, gap_b = a[each, now, None] - a, b - b[each, now, None]
        # There are -inf where an output has fewer candidates, and parallel ones do not grow.
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = gap_a + gap_b
            lam = np.where(gap_b > 0, gap_a / growth, np.inf)
        first = lam.min(axis=1, keepdims=True)
        then = np.where(lam == first, growth, -np.inf).argmax(axis=1)
        parts.append(Takeovers(cell, unit, first[:, 0], now, then))
        goes_on = b[each, then] < b.max(axis=1)
        cell, unit, now = cell[goes_on], unit[goes_on], then[goes_on]
    none = np.zeros(0, np.int64)
    parts = parts or [Takeovers(none, none, np.zeros(0), none, none)]
    names = ("cell", "unit", "lam", "before", "behind")
    return Takeovers(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def _crossings(value: Value, op: Maximum, found: Takeovers) -> tuple[Crossings, Index]:
    """Takeovers as crossings; their target is the entry that the other one is set equal to."""
    inside = (found.lam > 0) & (found.lam < 1)
    cell, unit, lam = found.cell[inside], found.unit[inside], found.lam[inside]
    p, q = op.index[unit, found.before[inside]], op.index[unit, found.behind[inside]]
    scale = sum(value.scale_at(r, j) for r in (cell, cell + 1) for j in (p, q))
    change = np.abs(
        (value.rows[cell, p] - value.rows[cell, q])
        - (value.rows[cell + 1, p] - value.rows[cell + 1, q])
    )
    is_exact = (value.error[cell] == 0) & (value.error[cell + 1] == 0)
    tolerance = np.where(is_exact, 0.0, TYPICAL * scale / change)
    crossings = ordered(cell, lam, unit, p.astype(np.float64), tolerance)
    order = np.lexsort((lam, cell))
    return crossings, q[order]


def _events(state: State, op: Maximum, among: Candidates, found: Takeovers, step: int) -> Events:
    """What is known of the takeovers of all outputs.

    A takeover is clear if at its place, and at both ends of the cell, every other candidate is
    below the largest by more than the bounds of both. Whatever is not clear is an event that fills
    the cell, with as many possible bends as there are other candidates.
    """
    close = _close(among)
    n_close = (close[:-1] | close[1:]).sum(axis=2)
    crowded = _crowded(among, found)
    is_unclear = n_close > 0
    is_unclear[found.cell[crowded], found.unit[crowded]] = True
    own = state.is_own[:-1]
    clear = own[found.cell] & ~is_unclear[found.cell, found.unit]
    cell, unit = np.nonzero(is_unclear & own[:, None])
    n_candidates = among.numbers.shape[2]
    weight = np.full(len(cell), max(n_candidates - 1, 1))
    zeros = np.zeros(len(cell))
    low, high = state.t[cell] - T_ERROR, state.t[cell + 1] + T_ERROR
    unclear = _made(low, high, unit, zeros, zeros, step, weight)
    return joined([_clear(state, op, among, found, clear, step), unclear])


def _clear(
    state: State,
    op: Maximum,
    among: Candidates,
    found: Takeovers,
    which: NDArray[np.bool_],
    step: int,
) -> Events:
    """Takeovers that are alone at their place, those of one pair in several outputs made one."""
    pairs = np.sort([op.index[found.unit, each] for each in (found.before, found.behind)], axis=0)
    _, first = np.unique(np.stack([found.cell, *pairs])[:, which], axis=1, return_index=True)
    chosen = np.nonzero(which)[0][first]
    cell, unit, lam = found.cell[chosen], found.unit[chosen], found.lam[chosen]
    pair = found.before[chosen], found.behind[chosen]
    bound = _bound(among, cell, unit, pair)
    gap = [
        among.numbers[r, unit, pair[0]] - among.numbers[r, unit, pair[1]] for r in (cell, cell + 1)
    ]
    half = bound / np.abs(gap[0] - gap[1])
    begin, length = state.t[cell], state.t[cell + 1] - state.t[cell]
    low = begin + np.maximum(lam - half, 0.0) * length - T_ERROR
    high = begin + np.minimum(lam + half, 1.0) * length + T_ERROR
    one = np.ones(len(cell))
    return _made(low, high, unit, -one, one, step, one)


def _bound(among: Candidates, cell: Index, unit: Index, pair: tuple[Index, Index]) -> Column:
    """Bound on the difference of two candidates anywhere in a cell."""
    ends = [sum(among.error[r, unit, each] for each in pair) for r in (cell, cell + 1)]
    return np.maximum(ends[0], ends[1]) * (1 + 8 * U)


def _close(among: Candidates) -> NDArray[np.bool_]:
    """Candidates that are neither surely below the largest one nor surely equal to it."""
    numbers, error = among.numbers, among.error
    best = numbers.argmax(axis=2)[..., None]
    gap = np.take_along_axis(numbers, best, 2) - numbers
    both = (np.take_along_axis(error, best, 2) + error) * (1 + 8 * U)
    close = (gap <= both) & ~((gap == 0) & (both == 0))
    np.put_along_axis(close, best, np.array(False), 2)
    return close


def _crowded(among: Candidates, found: Takeovers) -> NDArray[np.bool_]:
    """Takeovers at which a third candidate is not surely below the two."""
    each = np.arange(len(found.cell))
    lam = found.lam[:, None]
    a, b = among.numbers[found.cell, found.unit], among.numbers[found.cell + 1, found.unit]
    is_there = np.isfinite(a)
    a, b = np.where(is_there, a, 0.0), np.where(is_there, b, 0.0)
    there = np.where(is_there, a * (1 - lam) + b * lam, -np.inf)
    error = np.maximum(among.error[found.cell, found.unit], among.error[found.cell + 1, found.unit])
    top = there[each, found.before]
    # The place itself is unsure: the third must stay below over all of the interval.
    gap = top[:, None] - there
    slack = error[each, found.before] + error[each, found.behind]
    pair_change = np.abs(
        (a[each, found.before] - b[each, found.before])
        - (a[each, found.behind] - b[each, found.behind])
    )
    steepest = np.abs(b - a).max(axis=1)
    reach = slack / pair_change * steepest * 2
    close = gap <= error + slack[:, None] + reach[:, None] + 8 * U * np.abs(top)[:, None]
    close[each, found.before] = close[each, found.behind] = False
    return close.any(axis=1)


def _made(
    low: Column,
    high: Column,
    unit: Index,
    left: Column,
    right: Column,
    step: int,
    weight: NDArray[np.generic],
) -> Events:
    return Events(
        low,
        high,
        np.full(len(low), step, np.int32),
        unit.astype(np.int64),
        left.astype(np.int8),
        right.astype(np.int8),
        weight.astype(np.int32),
    )


def _jump(t: Column, z: Value, op: Maximum) -> tuple[Rows | None, Column | None]:
    """Jumps behind the step: the jump of the largest, and what a change of it adds."""
    if z.jump is None or z.jump_error is None:
        return None, None
    numbers = op.candidates(z.rows)
    with np.errstate(invalid="ignore"):
        winner = (numbers[:-1] + numbers[1:]).argmax(axis=2)  # of each cell: at its middle
    left, right = winner[np.r_[0, : len(winner)]], winner[np.r_[: len(winner), -1]]
    units = np.arange(op.size)
    jump = np.take_along_axis(z.jump, op.index[units[None, :], right], axis=1)
    row, unit = np.nonzero(left != right)
    before = t[row] - t[row - 1]
    p, q = left[row, unit], right[row, unit]
    step = (numbers[row - 1, unit, p] - numbers[row - 1, unit, q]) / before
    is_fresh = (z.jump_error[row] == 0) & ~z.jump[row].any(axis=1)
    jump[row, unit] += step
    unsure = (z.error[row - 1] + z.error[row]) * 2 / before
    bound = np.abs(step) * (T_ERROR / before + 8 * U) + unsure
    error = lipschitz(op) * z.jump_error
    error += np.bincount(row, np.where(is_fresh, 0.0, bound), minlength=len(t))
    return jump, error
