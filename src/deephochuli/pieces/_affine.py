"""Affine maps of a program: they act on rows, one flattened float64 tensor a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from deephochuli.pieces import _panels as panels
from deephochuli.pieces._memory import fresh

Rows = NDArray[np.float64]
"""Values of one tensor at some points of the segment, shape (rows, numel)."""

WIDE = 128
"""A matrix this wide is worth taking apart."""
_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Affine(Protocol):
    """y = A x + b, row by row, of one or several inputs."""

    @property
    def size(self) -> int:
        """Number of outputs."""
        ...

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x: slopes and jumps of slopes go this way."""
        ...

    def apply(self, inputs: Sequence[Rows]) -> Rows:
        """A x + b."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear layer on the last dimension: (lead * n) inputs to (lead * m) outputs.

    Attributes:
        weight: Shape (m, n).
        bias: Shape (m,), zeros where the layer has none.
        lead: Number of vectors that each row holds.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    lead: int = 1

    @property
    def size(self) -> int:
        """Number of outputs."""
        return self.lead * len(self.bias)

    @cached_property
    def _transposed(self) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(self.weight.T))

    @cached_property
    def _panels(self) -> tuple[Rows, Rows, Rows]:
        """The matrix as panels, the offsets, and as many zeros."""
        matrix, offset = panels.cut(self.weight, self.bias)
        return matrix, offset, np.zeros_like(offset)

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        return self._product(inputs[0], has_offset=False)

    def apply(self, inputs: Sequence[Rows]) -> Rows:
        """A x + b."""
        return self._product(inputs[0], has_offset=True)

    def _product(self, rows: Rows, *, has_offset: bool) -> Rows:
        x = np.ascontiguousarray(rows).reshape(-1, self.weight.shape[1])
        if min(self.weight.shape) >= WIDE:
            matrix, offset, nothing = self._panels
            out = panels.product(x, matrix, offset if has_offset else nothing, len(self.bias))
            return out.reshape(len(rows), -1)
        out = fresh(len(x), len(self.bias))
        to, factors = torch.as_tensor(out), (torch.as_tensor(x), self._transposed)
        if has_offset:
            torch.addmm(torch.as_tensor(self.bias), *factors, out=to)
        else:
            torch.mm(*factors, out=to)
        return out.reshape(len(rows), -1)


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution in one to three dimensions.

    Attributes:
        weight: Shape (channels out, channels in / groups, *kernel).
        bias: Shape (channels out,).
        shape: (channels in, *spatial) of a row.
        stride: One a spatial dimension; likewise `padding` (zeros) and `dilation`.
        padding: See `stride`.
        dilation: See `stride`.
        groups: Number of groups of channels.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @cached_property
    def spatial(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        sizes = zip(
            self.shape[1:],
            self.weight.shape[2:],
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.bias) * math.prod(self.spatial)

    def _convolved(self, x: Rows, bias: torch.Tensor | None) -> Rows:
        function = _CONVOLUTIONS[len(self.stride)]
        rows = torch.as_tensor(x).reshape(-1, *self.shape)
        where = self.stride, self.padding, self.dilation, self.groups
        y = function(rows, torch.as_tensor(self.weight), bias, *where)
        return y.reshape(len(x), -1).numpy()

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        return self._convolved(inputs[0], None)

    def apply(self, inputs: Sequence[Rows]) -> Rows:
        """A x + b."""
        return self._convolved(inputs[0], torch.as_tensor(self.bias))


@dataclass(frozen=True, eq=False)
class Scale:
    """y = (factor * x + offset) / divisor, entry by entry.

    Attributes:
        factor: Shape (numel,).
        offset: Shape (numel,).
        divisor: A positive whole number, so that thirds and sixths are exact where it matters.
    """

    factor: NDArray[np.float64]
    offset: NDArray[np.float64]
    divisor: int = 1

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.factor)

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        y = inputs[0] * self.factor
        return y if self.divisor == 1 else y / self.divisor

    def apply(self, inputs: Sequence[Rows]) -> Rows:
        """A x + b."""
        y = inputs[0] * self.factor + self.offset
        return y if self.divisor == 1 else y / self.divisor


@dataclass(frozen=True, eq=False)
class Gather:
    """Entries picked from the inputs laid one behind the other; -1 picks a zero.

    Views, permutations, slices, padding and concatenations are of this kind.

    Attributes:
        index: Shape (outputs,): places in the joined inputs.
    """

    index: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.index)

    @cached_property
    def _has_zeros(self) -> bool:
        return bool((self.index < 0).any())

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        x = inputs[0] if len(inputs) == 1 else np.concatenate(list(inputs), axis=1)
        y = np.ascontiguousarray(x[:, self.index])
        if self._has_zeros:
            y[:, self.index < 0] = 0.0
        return y

    apply = linear


@dataclass(frozen=True, eq=False)
class Mean:
    """Sums of some entries over a whole number: average pooling, means, sums.

    Attributes:
        index: Shape (outputs, most entries): places in the input; -1 where there is none.
        divisor: Shape (outputs,): what the sum is divided by, whole numbers.
    """

    index: NDArray[np.int64]
    divisor: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.divisor)

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        x = inputs[0]
        y = np.zeros((len(x), self.size))
        for column in self.index.T:  # one pass an entry of the window: no array of all windows
            y += np.where(column >= 0, x[:, column], 0.0)
        return y / self.divisor

    apply = linear


@dataclass(frozen=True, eq=False)
class Sum:
    """Inputs of one size, added or subtracted.

    Attributes:
        signs: +1 or -1 for each input.
        size: Number of entries.
    """

    signs: tuple[int, ...]
    size: int

    def linear(self, inputs: Sequence[Rows]) -> Rows:
        """A x."""
        y = inputs[0] * self.signs[0]
        for sign, x in zip(self.signs[1:], inputs[1:], strict=True):
            y = y + x if sign > 0 else y - x
        return y

    apply = linear
