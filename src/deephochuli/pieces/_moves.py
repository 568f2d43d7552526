"""Affine steps on values at rows, with the errors and the jumps that go along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _strides as strides
from deephochuli.pieces._affine import WIDE, Affine, Conv, Dense, Gather, Rows, Scale, Sum
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._memory import fresh
from deephochuli.pieces._norms import Norms, U, bend_rounding, norms_of, spectral_bounds
from deephochuli.pieces._program import Program, Step
from deephochuli.pieces._state import Column, Entries, Value, norm

_FEWEST = 64
"""With fewer rows than this all get their product."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What is found once for each step of a program.

    Attributes:
        step: The step.
        norms: Norms of an affine step; None for a piecewise linear one.
        grain: Which of its rows are exact.
    """

    step: Step
    norms: Norms | None
    grain: Grain


def prepare(program: Program) -> tuple[Prepared, ...]:
    """Norms and granularities of all steps."""
    ops = [step.op for step in program.steps]
    matrices = {i: op.weight for i, op in enumerate(ops) if isinstance(op, Dense)}
    bounds = dict(zip(matrices, spectral_bounds([*matrices.values()]), strict=True))
    return tuple(_prepared(step, bounds.get(i)) for i, step in enumerate(program.steps))


def _prepared(step: Step, spectral: float | None) -> Prepared:
    op = step.op
    norms = None if isinstance(op, Elementwise | Maximum) else norms_of(op, spectral)
    return Prepared(step, norms, Grain(op))


def moved(
    prepared: Prepared, op: Affine, inputs: Sequence[Value], t: Column | None = None
) -> Value:
    """The output of an affine step at all rows.

    Args:
        prepared: The step.
        op: What it does.
        inputs: What it reads.
        t: Places of the rows, with which a wide layer can leave out products.

    Numerics:
        float64 products and sums in torch's order. The bound on the 2-norm of the error is that of
        `Norms`; rows on which nothing is rounded keep an error of 0.
    """
    norms = prepared.norms
    assert norms is not None
    before = _joined([v.error for v in inputs])
    here = _seen(op, prepared, [v.rows for v in inputs], before == 0)
    jump, jump_error, there = _jump(op, prepared, inputs)
    strided = None
    if t is not None and isinstance(op, Dense) and jump is not None and there is not None:
        strided = _strided(t, op, inputs[0], jump, here, there)
    if strided is None:
        rows, lost = np.ascontiguousarray(op.apply([v.rows for v in inputs])), here.lost
        floor = norms.gamma
    else:
        rows, extra, lost = strided
        before, floor = before + extra, norms.gamma + strides.OFFSET_ROUNDING
    rounding = norms.frobenius * lost + floor * norms.offset_norm
    error = norms.spectral * before + np.where(here.is_exact, 0.0, rounding)
    if isinstance(op, Scale) and inputs[0].entries is not None:
        entries = _scaled(norms, inputs[0].entries)
    else:
        floors = floor * norms.offset
        entries = Entries(before + lost, norms.unit, floors, here.size, norms.offset)
    has_exact_zeros = isinstance(op, Gather) and all(v.has_exact_zeros for v in inputs)
    return Value(rows, error, entries, has_exact_zeros, jump, jump_error)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What the rounding of a step depends on, row by row.

    Attributes:
        size: 2-norm.
        lost: The same, times the rounding of a sum of as many products as are not zero.
        is_exact: Whether nothing is rounded.
    """

    size: Column
    lost: Column
    is_exact: NDArray[np.bool_]


def _seen(op: Affine, step: Prepared, rows: list[Rows], may_be: NDArray[np.bool_]) -> _Seen:
    norms = step.norms
    assert norms is not None
    if len(rows) > 1 or isinstance(op, Gather):
        size = _joined([norm(x) for x in rows])
        return _Seen(size, norms.gamma * size, _exact_rows(step.grain, rows, may_be))
    x = np.ascontiguousarray(rows[0])
    size, terms, is_exact = compiled.rounded(x, may_be, step.grain.fixed)
    if not isinstance(op, Dense | Conv):
        return _Seen(size, norms.gamma * size, is_exact)
    # What is multiplied with a zero is neither rounded nor changes a sum.
    rounding = (terms + 2) * U
    return _Seen(size, np.minimum(norms.gamma, rounding / (1 - rounding)) * size, is_exact)


def _strided(
    t: Column, op: Dense, value: Value, jump: Rows, here: _Seen, there: _Seen
) -> tuple[Rows, Column, Column] | None:
    """A product for some of the rows, the others by way of `_strides`.

    Returns:
        (Values at all rows; what is to be added to the errors before the step; what its rounding
        goes with); None where that is not worth while.
    """
    if op.lead != 1 or value.jump is None or min(op.weight.shape) < WIDE or len(t) < _FEWEST:
        return None
    x, jumps = np.ascontiguousarray(value.rows), np.ascontiguousarray(value.jump)
    sizes, losses = (here.size, there.size), (here.lost, there.lost)
    kind, extra, lost = strides.planned(t, x, value.error, jumps, sizes, losses)
    out = fresh(len(t), op.size)
    strides.filled(t, kind, op.apply([x[kind != strides.BETWEEN]]), jump, out)
    return out, extra, lost


def bend_error(op: Elementwise, z: Value) -> Column:
    """2-norm of the rounding error that a step with knots adds to each row.

    Numerics:
        Nothing for ReLU and for slopes 0, 1 and -1 with a knot at zero, nor for exact rows whose
        numbers are coarse enough (see `Grain`); `bend_rounding` otherwise. An exact row alone does
        not suffice: LeakyReLU(0.1) rounds the product of its slope with any number.
    """
    at_zero = len(op.knots) == 1 and op.knots[0] == 0 and op.start == 0
    if at_zero and bool(np.isin(op.slopes, (-1.0, 0.0, 1.0)).all()):
        return np.zeros(len(z.rows))
    is_exact = _exact_rows(Grain(op), [z.rows], z.error == 0)
    return np.where(is_exact, 0.0, bend_rounding(op, norm(z.rows)))


def _joined(columns: list[Column]) -> Column:
    """The 2-norm of several values laid one behind the other, from theirs."""
    return columns[0] if len(columns) == 1 else np.sqrt(np.square(columns).sum(axis=0))


def _exact_rows(grain: Grain, rows: list[Rows], may_be: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that are exact and stay so."""
    found = may_be.copy()
    if found.any():
        found[found] = grain.is_exact([x[found] for x in rows])
    return found


def _jump(
    op: Affine, step: Prepared, inputs: Sequence[Value]
) -> tuple[Rows | None, Column | None, _Seen | None]:
    """Jumps go through the linear part, and their errors as errors do."""
    norms = step.norms
    assert norms is not None
    jumps = [v.jump for v in inputs if v.jump is not None]
    errors = [v.jump_error for v in inputs if v.jump_error is not None]
    if len(jumps) != len(inputs):
        return None, None, None
    before = _joined(errors)
    is_sure = before == 0
    out = np.ascontiguousarray(op.linear(jumps))
    seen = _seen(op, step, jumps, is_sure)
    is_exact = seen.is_exact | (is_sure & (seen.size == 0))
    is_open = compiled.zero_rows(out, is_sure & ~is_exact)
    is_exact |= _meets_nothing(op, jumps, is_open)
    error = norms.spectral * before + np.where(is_exact, 0.0, norms.frobenius * seen.lost)
    return out, error, seen


def _meets_nothing(op: Affine, jumps: list[Rows], may: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows whose jump meets only weights that are zero: that the result is zero, is no rounding."""
    found = may.copy()
    if found.any():
        sums = absolute(op).linear([np.abs(jump[found]) for jump in jumps])
        found[found] = ~sums.any(axis=1)
    return found


def absolute(op: Affine) -> Affine:
    """The step with the magnitudes of its factors."""
    match op:
        case Dense() | Conv():
            return replace(op, weight=np.abs(op.weight))
        case Scale():
            return replace(op, factor=np.abs(op.factor))
        case Sum():
            return replace(op, signs=(1,) * len(op.signs))
        case _:
            return op


def _scaled(norms: Norms, first: Entries) -> Entries:
    """The bound on each entry of a scale behind a product: the product's."""
    factor, offset = norms.unit, norms.offset
    return Entries(
        row=first.row + norms.gamma * first.reach,
        unit=first.unit * factor,
        floor=first.floor * factor + norms.gamma * (first.offset * factor + offset),
        reach=first.reach,
        offset=first.offset * factor + offset,
    )
