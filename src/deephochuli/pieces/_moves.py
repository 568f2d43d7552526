"""Affine steps on values at rows, with the errors and the jumps that go along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces._affine import Affine, Conv, Dense, Gather, Rows, Scale, Sum
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._norms import Norms, norms_of
from deephochuli.pieces._program import Program, Step
from deephochuli.pieces._state import Column, Entries, Value, norm


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
    return tuple(_prepared(step) for step in program.steps)


def _prepared(step: Step) -> Prepared:
    op = step.op
    norms = None if isinstance(op, Elementwise | Maximum) else norms_of(op)
    return Prepared(step, norms, Grain(op))


def moved(prepared: Prepared, op: Affine, inputs: Sequence[Value]) -> Value:
    """The output of an affine step at all rows.

    Numerics:
        float64 products and sums in torch's order. The bound on the 2-norm of the error is that of
        `Norms`; rows on which nothing is rounded keep an error of 0.
    """
    norms = prepared.norms
    assert norms is not None
    rows = np.ascontiguousarray(op.apply([v.rows for v in inputs]))
    before = _joined([v.error for v in inputs])
    size, is_exact = _sizes(op, prepared.grain, [v.rows for v in inputs], before == 0)
    rounding = norms.gamma * (norms.frobenius * size + norms.offset_norm)
    error = norms.spectral * before + np.where(is_exact, 0.0, rounding)
    jump, jump_error = _jump(op, norms, prepared.grain, inputs)
    return Value(
        rows,
        error,
        _entries(op, norms, inputs, size, before),
        isinstance(op, Gather) and all(v.has_exact_zeros for v in inputs),
        jump,
        jump_error,
    )


def _joined(columns: list[Column]) -> Column:
    """The 2-norm of several values laid one behind the other, from theirs."""
    return columns[0] if len(columns) == 1 else np.sqrt(np.square(columns).sum(axis=0))


def _sizes(
    op: Affine, grain: Grain, rows: list[Rows], may_be: NDArray[np.bool_]
) -> tuple[Column, NDArray[np.bool_]]:
    """2-norms of all rows together, and which of those that may be are exact."""
    if len(rows) == 1 and not isinstance(op, Gather):
        return compiled.rounded(np.ascontiguousarray(rows[0]), may_be, grain.fixed)
    return _joined([norm(x) for x in rows]), _exact_rows(grain, rows, may_be)


def _exact_rows(grain: Grain, rows: list[Rows], may_be: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that are exact and stay so."""
    found = may_be.copy()
    if found.any():
        found[found] = grain.is_exact([x[found] for x in rows])
    return found


def _jump(
    op: Affine, norms: Norms, grain: Grain, inputs: Sequence[Value]
) -> tuple[Rows | None, Column | None]:
    """Jumps go through the linear part, and their errors as errors do."""
    jumps = [v.jump for v in inputs if v.jump is not None]
    errors = [v.jump_error for v in inputs if v.jump_error is not None]
    if len(jumps) != len(inputs):
        return None, None
    before = _joined(errors)
    is_sure = before == 0
    out = np.ascontiguousarray(op.linear(jumps))
    size, is_exact = _sizes(op, grain, jumps, is_sure)
    is_exact |= is_sure & (size == 0)
    is_open = compiled.zero_rows(out, is_sure & ~is_exact)
    is_exact |= _meets_nothing(op, jumps, is_open)
    error = norms.spectral * before + np.where(is_exact, 0.0, norms.gamma * norms.frobenius * size)
    return out, error


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


def _entries(
    op: Affine, norms: Norms, inputs: Sequence[Value], size: Column, before: Column
) -> Entries:
    """The bound on each entry; a scale behind a product keeps the product's."""
    first = inputs[0].entries
    if isinstance(op, Scale) and first is not None:
        factor, offset = norms.unit, norms.offset
        return Entries(
            row=first.row + norms.gamma * first.reach,
            unit=first.unit * factor,
            floor=first.floor * factor + norms.gamma * (first.offset * factor + offset),
            reach=first.reach,
            offset=first.offset * factor + offset,
        )
    return Entries(
        row=before + norms.gamma * size,
        unit=norms.unit,
        floor=norms.gamma * norms.offset,
        reach=size,
        offset=norms.offset,
    )
