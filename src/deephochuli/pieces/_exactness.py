"""Which rows a step computes without any rounding.

Numbers that are whole multiples of one power of two, and small beside it, are added and multiplied
exactly by float64, in any order. Sawtooths and other dyadic networks are of this kind, and there
bends coincide with kinks all the time: without this knowledge none of it could be decided.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _loops as loops
from deephochuli.pieces._affine import Affine, Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Bend, Elementwise, Maximum

Rows = NDArray[np.float64]
COARSEST = loops.COARSEST
"""Stands for the granularity of zeros, which are multiples of everything."""


def granularity(x: Rows) -> NDArray[np.int64]:
    """The largest q for each row such that all its entries are whole multiples of 2^q.

    Args:
        x: Shape (rows, entries).

    Returns:
        Shape (rows,); `COARSEST` for a row of zeros.

    Example:
        >>> import numpy as np
        >>> granularity(np.array([[0.75, 8.0], [0.0, 48.0]])).tolist()
        [-2, 4]
    """
    return _grain(x)[0]


def _grain(x: Rows) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Granularity and largest magnitude of each row."""
    return loops.grain(np.ascontiguousarray(x))


def _of(x: NDArray[np.float64]) -> tuple[int, float]:
    """Granularity and largest magnitude of all numbers of an array."""
    return loops.grain_of(np.ascontiguousarray(x).reshape(-1))


def _fits(
    largest: NDArray[np.float64], finest: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether sums of this magnitude, of multiples of 2^finest, are exact in float64."""
    bounded = np.minimum(finest, 900)
    return (finest > compiled.FINEST) & (largest * (1 + 2.0**-20) < np.ldexp(1.0, bounded + 53))


class Grain:
    """The granularity of the numbers of one step, found once."""

    def __init__(self, op: Affine | Bend) -> None:
        """Look at the step's own numbers."""
        self._op = op
        self._factor, self._offset = COARSEST, COARSEST
        self._reach, self._shift = 1.0, 0.0
        match op:
            case Dense() | Conv():
                flat = op.weight.reshape(len(op.weight), -1)
                self._set(flat, op.bias, float(np.abs(flat).sum(axis=1).max()))
            case Scale():
                self._set(op.factor, op.offset, float(np.abs(op.factor).max()))
            case Mean():
                self._factor, self._reach = 0, float(op.index.shape[1])
            case Sum():
                self._factor, self._reach = 0, float(len(op.signs))
            case Elementwise() if not op.is_relu:
                most = float(np.abs(op.slopes).max()) * (1 + len(op.knots))
                self._set(op.slopes, np.append(op.knots, op.start), most)
                self._shift += most * self._shift
            case _:
                pass

    def _set(self, factor: Rows, offset: Rows, reach: float) -> None:
        self._factor, _ = _of(factor)
        self._offset, self._shift = _of(offset)
        self._reach = reach

    def is_exact(self, inputs: list[Rows]) -> NDArray[np.bool_]:
        """For each row whether the step rounds nothing.

        Numerics:
            Sufficient, not necessary: sums of whole multiples of 2^q that stay below 2^(q + 53)
            are exact in any order, fused or not.
        """
        op = self._op
        if isinstance(op, Gather | Maximum) or (isinstance(op, Elementwise) and op.is_relu):
            return np.ones(len(inputs[0]), dtype=bool)
        grains = [_grain(x) for x in inputs]
        finest, largest = grains[0]
        for other in grains[1:]:
            finest, largest = np.minimum(finest, other[0]), np.maximum(largest, other[1])
        if isinstance(op, Elementwise):
            finest = np.minimum(finest, self._offset) + self._factor
            return _fits(self._reach * largest + self._shift, np.minimum(finest, self._offset))
        whole = np.minimum(finest + self._factor, self._offset)
        is_exact = _fits(self._reach * largest + self._shift, whole) | (largest == 0)
        return is_exact & self._divides

    @cached_property
    def fixed(self) -> tuple[int, int, float, float, bool]:
        """What `_compiled.rounded` needs to know of an affine step."""
        return self._factor, self._offset, self._reach, self._shift, self._divides

    @cached_property
    def _divides(self) -> bool:
        """Whether the division of a step is by a power of two."""
        if not isinstance(self._op, Mean | Scale):
            return True
        powers = np.log2(np.asarray(self._op.divisor, dtype=np.float64))
        return bool((powers == np.round(powers)).all())


def is_exact_between(a: Rows, b: Rows, lam: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a + lam * (b - a) is computed without rounding, row by row."""
    (finest_a, largest_a), (finest_b, largest_b) = _grain(a), _grain(b)
    finest = np.minimum(finest_a, finest_b)
    return _fits(
        2 * np.maximum(largest_a, largest_b), finest + np.minimum(granularity(lam[:, None]), 0)
    )
