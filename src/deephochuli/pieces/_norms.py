"""How much a step can enlarge an error: norms of its matrix, and the rounding it adds."""

# torch.linalg comes without types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.pieces._affine import Affine, Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Bend, Elementwise, Maximum

U = 2.0**-53
"""Unit roundoff of float64."""
SLACK = 1.0 + 2.0**-20
"""Covers the roundings in the norms themselves."""
_MOST_FREQUENCY_WORK = 2e9


@dataclass(frozen=True, slots=True)
class Norms:
    """What bounds the error of y = A x + b, computed in float64.

    With e a bound on the 2-norm of the error of x, the error of y has a 2-norm of at most
    `spectral * e + gamma * (frobenius * |x| + offset_norm)`, and its entry j is at most
    `unit[j] * (e + gamma * |x|) + gamma * offset[j]`.

    Attributes:
        spectral: Upper bound on the spectral norm of A.
        frobenius: Upper bound on the spectral norm of |A|.
        unit: 2-norm of each row of A, shape (outputs,), or (1,) where all are bounded alike.
        offset: |b|, shape like `unit`.
        offset_norm: 2-norm of b.
        gamma: Relative rounding error of a sum of products of this length.
    """

    spectral: float
    frobenius: float
    unit: NDArray[np.float64]
    offset: NDArray[np.float64]
    offset_norm: float
    gamma: float


def gamma(n: int) -> float:
    """N u / (1 - n u): relative error of n roundings in any order (Higham 2002, lemma 3.1)."""
    return n * U / (1.0 - n * U)


def norms_of(op: Affine) -> Norms:
    """Norms of an affine step."""
    match op:
        case Dense():
            return _of_dense(op)
        case Conv():
            return _of_conv(op)
        case Scale():
            return _of_scale(op)
        case Mean():
            return _of_mean(op)
        case Gather():
            most = math.sqrt(np.bincount(op.index[op.index >= 0], minlength=1).max(initial=1))
            return _plain(most * SLACK, 0.0)
        case Sum():
            return _plain(math.sqrt(len(op.signs)) * SLACK, gamma(len(op.signs)))
        case _:
            raise TypeError(f"no norms are known for {type(op).__name__}")


def _plain(norm: float, rounding: float) -> Norms:
    one, zero = np.full(1, norm), np.zeros(1)
    return Norms(norm, norm, one, zero, 0.0, rounding)


def _length(x: NDArray[np.float64]) -> float:
    """2-norm of all numbers; numpy's own wakes the threads of its BLAS for a large array."""
    return math.sqrt(float(np.square(x).sum()))


def _of_dense(op: Dense) -> Norms:
    unit = np.sqrt((op.weight**2).sum(axis=1)) * SLACK
    return Norms(
        spectral=spectral_bound(op.weight),
        frobenius=_length(op.weight) * SLACK,
        unit=np.tile(unit, op.lead),
        offset=np.tile(np.abs(op.bias), op.lead),
        offset_norm=_length(op.bias) * math.sqrt(op.lead) * SLACK,
        gamma=gamma(op.weight.shape[1] + 2),
    )


def _of_conv(op: Conv) -> Norms:
    n_places = math.prod(op.spatial)
    flat = op.weight.reshape(len(op.weight), -1)
    unit = np.sqrt((flat**2).sum(axis=1)) * SLACK
    overlap = math.prod(-(-k // s) for k, s in zip(op.weight.shape[2:], op.stride, strict=True))
    return Norms(
        spectral=min(math.sqrt(overlap) * spectral_bound(flat), _frequency_bound(op)) * SLACK,
        frobenius=_length(flat) * math.sqrt(overlap) * SLACK,
        unit=np.repeat(unit, n_places),
        offset=np.repeat(np.abs(op.bias), n_places),
        offset_norm=_length(op.bias) * math.sqrt(n_places) * SLACK,
        gamma=gamma(flat.shape[1] + 2),
    )


def _frequency_bound(op: Conv) -> float:
    """Spectral norm of the circular convolution that this one is a part of.

    Padding with zeros to the sum of the sizes makes a convolution circular; stride and the border
    leave out some of its inputs and outputs, which cannot enlarge the norm. The circular one is
    block diagonal in the Fourier basis: one small matrix a frequency.
    """
    reach = [d * (k - 1) for k, d in zip(op.weight.shape[2:], op.dilation, strict=True)]
    sizes = [n + r for n, r in zip(op.shape[1:], reach, strict=True)]
    out, each = op.weight.shape[0] // op.groups, op.weight.shape[1]
    if math.prod(sizes) * op.groups * min(out, each) ** 2 * max(out, each) > _MOST_FREQUENCY_WORK:
        return math.inf
    spread = np.zeros((*op.weight.shape[:2], *(r + 1 for r in reach)))
    spread[(..., *(slice(None, None, d) for d in op.dilation))] = op.weight
    axes = tuple(range(2, 2 + len(sizes)))
    blocks = np.fft.fftn(spread, s=sizes, axes=axes).reshape(op.groups, out, each, -1)
    blocks = np.moveaxis(blocks, 3, 1).reshape(-1, out, each)
    return _proved_bound(torch.as_tensor(blocks)) * SLACK


def _of_scale(op: Scale) -> Norms:
    unit, offset = np.abs(op.factor) / op.divisor, np.abs(op.offset) / op.divisor
    most = float(unit.max(initial=0.0)) * SLACK
    norm = _length(offset) * SLACK
    return Norms(most, most, unit * SLACK, offset * SLACK, norm, gamma(3))


def _of_mean(op: Mean) -> Norms:
    is_there = op.index >= 0
    weight = 1.0 / op.divisor
    entries = op.index[is_there]
    column = np.bincount(entries, np.repeat(weight, is_there.sum(axis=1)), minlength=1)
    row = is_there.sum(axis=1) * weight
    norm = math.sqrt(column.max() * row.max()) * SLACK
    unit = np.sqrt(is_there.sum(axis=1)) * weight * SLACK
    return Norms(norm, norm, unit, np.zeros_like(unit), 0.0, gamma(op.index.shape[1] + 1))


def spectral_bound(matrix: NDArray[np.float64]) -> float:
    """An upper bound on the largest singular value, a few percent above it.

    Numerics:
        Found by power iteration, proved by a Cholesky factorisation of s^2 I - A^T A, which exists
        in floating point only if that matrix is positive definite up to a relative n^2 u of s^2
        (Higham 2002, theorem 10.3); `SLACK` covers that.

    Example:
        >>> import numpy as np
        >>> 2.0 <= spectral_bound(np.diag([2.0, 1.0])) < 2.1
        True
    """
    return _proved_bound(torch.as_tensor(matrix)[None]) * SLACK


def _proved_bound(blocks: torch.Tensor) -> float:
    """A bound for the largest of several matrices, shape (blocks, m, n), real or complex."""
    scale = float(blocks.abs().max()) if blocks.numel() else 0.0
    if scale == 0.0:
        return 0.0
    a = blocks / scale
    a = a.mH if a.shape[1] < a.shape[2] else a
    gram = a.mH @ a
    bound = _power_iteration(gram) * (1 + 2.0**-4)
    eye = torch.eye(gram.shape[1], dtype=gram.dtype)
    for _ in range(64):
        failed = torch.linalg.cholesky_ex(bound * eye - gram).info
        if not bool(failed.any()):
            return scale * math.sqrt(bound)
        bound *= 1 + 2.0**-3
    return scale * float(a.abs().square().sum(dim=(1, 2)).max()) ** 0.5  # Frobenius


def _power_iteration(gram: torch.Tensor) -> float:
    """About the largest eigenvalue of several positive semidefinite matrices."""
    x = gram[:, :, :1] + gram.diagonal(dim1=1, dim2=2)[:, :, None]  # no random numbers
    for _ in range(11):  # far from overflow: no entry exceeds the number of rows that were summed
        x = gram @ x
    x = gram @ (x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-300))
    return float(torch.linalg.vector_norm(x, dim=1).max())


def lipschitz(op: Bend) -> float:
    """How much a piecewise linear step can enlarge the 2-norm of a difference."""
    if isinstance(op, Elementwise):
        return float(np.abs(op.slopes).max())
    used = op.index[op.index >= 0]
    return math.sqrt(float(np.bincount(used, minlength=1).max())) * SLACK


def bend_rounding(op: Bend, size: NDArray[np.float64]) -> NDArray[np.float64]:
    """2-norm of the rounding error of a piecewise linear step, for inputs of 2-norm `size`."""
    if isinstance(op, Maximum) or op.is_relu:
        return np.zeros_like(size)
    n_roundings = gamma(4 * len(op.knots))
    root = math.sqrt(op.size)
    knot = float(np.abs(op.knots).max())
    return n_roundings * (lipschitz(op) * (size + knot * root) + abs(op.start) * root)
