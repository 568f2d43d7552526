"""Steps in exact arithmetic: rows of whole numbers over one common denominator.

Weights and inputs are dyadic rationals, so a row is a vector of Python integers and one positive
integer below them. No rational is ever formed, only signs are asked for, and rows at bends are
combinations of their neighbours with whole-number factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Affine, Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._exactness import COARSEST, granularity
from deephochuli.pieces._windows import pool_windows

Integers = NDArray[Any]
"""An array of Python integers."""


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """A vector of rationals: `top / bottom`.

    Attributes:
        top: Python integers, shape (numel,).
        bottom: A positive integer.
    """

    top: Integers
    bottom: int

    def reduced(self) -> Ratio:
        """Without the common factors of all numbers."""
        factor = math.gcd(self.bottom, *self.top.tolist())
        return self if factor == 1 else Ratio(self.top // factor, self.bottom // factor)


def to_integers(*arrays: NDArray[np.float64]) -> tuple[list[Integers], int]:
    """Arrays of floats as integers over one power of two.

    Returns:
        (The integers, the denominator).

    Example:
        >>> import numpy as np
        >>> tops, bottom = to_integers(np.array([0.75, -2.0]), np.array([0.5]))
        >>> [top.tolist() for top in tops], bottom
        ([[3, -8], [2]], 4)
    """
    finest = min(int(granularity(each.reshape(1, -1))[0]) for each in arrays)
    shift = 0 if finest == COARSEST else max(-finest, 0)
    bottom = 1 << shift

    def whole(x: float) -> int:
        top, below = x.as_integer_ratio()
        return top * (bottom // below)

    return [_each(whole, a) for a in arrays], bottom


def _each(function: Any, array: NDArray[np.float64]) -> Integers:
    out = np.empty(array.shape, dtype=object)
    out.reshape(-1)[:] = [function(x) for x in array.reshape(-1).tolist()]
    return out


def start(row: NDArray[np.float64]) -> Ratio:
    """A row of floats."""
    (top,), bottom = to_integers(row)
    return Ratio(top, bottom)


def between(a: Ratio, b: Ratio, near_a: int, near_b: int) -> Ratio:
    """(near_a * a + near_b * b) / (near_a + near_b)."""
    top = a.top * (near_a * b.bottom) + b.top * (near_b * a.bottom)
    return Ratio(top, (near_a + near_b) * a.bottom * b.bottom).reduced()


class ExactAffine:
    """An affine step on rows of integers."""

    def __init__(self, op: Affine) -> None:
        """Write down the numbers of the step as integers."""
        self._op = op
        self._index: NDArray[np.int64] | None = None
        self._factor = self._offset = np.zeros(0, dtype=object)
        self._bottom = 1
        match op:
            case Dense() | Scale():
                factor = op.weight if isinstance(op, Dense) else op.factor
                offset = op.bias if isinstance(op, Dense) else op.offset
                (self._factor, self._offset), self._bottom = to_integers(factor, offset)
            case Conv():
                flat = op.weight.reshape(len(op.weight), -1)
                (self._factor, self._offset), self._bottom = to_integers(flat, op.bias)
                self._index = _patches(op)
            case _:
                pass

    def apply(self, inputs: Sequence[Ratio]) -> Ratio:
        """A x + b, exactly."""
        op, x = self._op, inputs[0]
        match op:
            case Dense():
                return self._dense(op, x).reduced()
            case Conv():
                return self._conv(op, x).reduced()
            case Scale():
                top = self._factor * x.top + self._offset * x.bottom
                return Ratio(top, x.bottom * self._bottom * op.divisor).reduced()
            case Gather():
                tops, bottom = _common(inputs)
                return Ratio(_picked(np.concatenate(tops), op.index), bottom)
            case Mean():
                common = math.lcm(*op.divisor.tolist())
                sums = _picked(x.top, op.index).sum(axis=1)
                return Ratio(
                    sums * (common // op.divisor).astype(object), x.bottom * common
                ).reduced()
            case Sum():
                tops, bottom = _common(inputs)
                signed = (top * sign for top, sign in zip(tops, op.signs, strict=True))
                return Ratio(sum(signed, np.zeros(op.size, dtype=object)), bottom).reduced()
            case _:
                raise TypeError(f"no exact arithmetic for {type(op).__name__}")

    def _dense(self, op: Dense, x: Ratio) -> Ratio:
        vectors = x.top.reshape(op.lead, -1)
        used = np.nonzero((vectors != 0).any(axis=0))[0]
        top = vectors[:, used] @ self._factor[:, used].T + self._offset * x.bottom
        return Ratio(top.reshape(-1), x.bottom * self._bottom)

    def _conv(self, op: Conv, x: Ratio) -> Ratio:
        assert self._index is not None
        patches = _picked(x.top, self._index)  # (channels in, places, kernel)
        each_in, each_out = op.shape[0] // op.groups, len(op.weight) // op.groups
        parts: list[Integers] = []
        for g in range(op.groups):
            own = patches[g * each_in : (g + 1) * each_in].transpose(1, 0, 2)
            factor = self._factor[g * each_out : (g + 1) * each_out]
            parts.append(factor @ own.reshape(own.shape[0], -1).T)
        top = np.concatenate(parts) + self._offset[:, None] * x.bottom
        return Ratio(top.reshape(-1), x.bottom * self._bottom)


def _patches(op: Conv) -> NDArray[np.int64]:
    kernel, n = op.weight.shape[2:], len(op.stride)
    windows = pool_windows(op.shape[1:], op.spatial, kernel, op.stride, op.padding, op.dilation, n)
    index, _ = windows.over(op.shape[0])
    return index.reshape(op.shape[0], -1, index.shape[1])


def _picked(top: Integers, index: NDArray[np.int64]) -> Integers:
    """Entries at some places, and 0 at place -1."""
    return np.append(top, [0])[index]


def _common(inputs: Sequence[Ratio]) -> tuple[list[Integers], int]:
    """Several vectors over one denominator."""
    bottom = math.lcm(*(x.bottom for x in inputs))
    return [x.top * (bottom // x.bottom) for x in inputs], bottom


class ExactKnots:
    """A piecewise linear step with knots on rows of integers."""

    def __init__(self, op: Elementwise) -> None:
        """Write down the numbers of the step as integers."""
        numbers, self._bottom = to_integers(op.knots, op.slopes, np.array([op.start]))
        self.knots, self._slopes, (self._start,) = numbers[0], numbers[1], numbers[2]
        self._is_relu = op.is_relu

    def beside(self, z: Ratio, knot: int) -> Integers:
        """Numbers with the signs of z - knot: over `z.bottom` and one positive constant."""
        return z.top * self._bottom - int(self.knots[knot]) * z.bottom

    def apply(self, z: Ratio) -> Ratio:
        """The function, exactly."""
        if self._is_relu:
            return Ratio(np.maximum(z.top, 0), z.bottom)
        square = self._bottom * self._bottom
        top = self._slopes[0] * np.minimum(self.beside(z, 0), 0)
        for k, slope in enumerate(self._slopes[1:]):
            beyond = np.maximum(self.beside(z, k), 0)
            if k + 1 < len(self.knots):
                beyond = np.minimum(beyond, int(self.knots[k + 1] - self.knots[k]) * z.bottom)
            top = top + slope * beyond
        top = top + int(self._start) * z.bottom * self._bottom
        return Ratio(top, z.bottom * square).reduced()

    def continued(self, z: Ratio, segment: NDArray[np.int64]) -> Ratio:
        """The affine part that each unit has behind so many knots, wherever `z` lies, exactly."""
        unit = np.arange(len(z.top)) if self._slopes.shape[1] > 1 else 0
        # The parts are slopes z + offsets, over the bottom, and over its square.
        offsets = [self._start * self._bottom - self._slopes[0] * self.knots[0]]
        for k, knot in enumerate(self.knots):
            offsets.append(offsets[-1] + (self._slopes[k] - self._slopes[k + 1]) * knot)
        slope, offset = self._slopes[segment, unit], np.stack(offsets)[segment, unit]
        top = slope * self._bottom * z.top + offset * z.bottom
        return Ratio(top, z.bottom * self._bottom**2).reduced()


def largest(op: Maximum, z: Ratio) -> Ratio:
    """The largest candidates, exactly."""
    least = min(z.top.tolist())
    picked = np.append(z.top, [least])[op.index]
    return Ratio(picked.max(axis=1), z.bottom)
