"""How much a step can enlarge an error: norms of its matrix, and the rounding it adds."""

# torch.linalg comes without types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
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
_SMALL = 1 << 14
"""Matrices of fewer numbers take longer one by one than together."""


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


def norms_of(op: Affine, spectral: float | None = None) -> Norms:
    """Norms of an affine step; of a linear layer the spectral one can be given."""
    match op:
        case Dense():
            return _of_dense(op, spectral_bound(op.weight) if spectral is None else spectral)
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


def _of_dense(op: Dense, spectral: float) -> Norms:
    squares = np.square(op.weight).sum(axis=1)
    unit, offset = np.sqrt(squares) * SLACK, np.abs(op.bias)
    if op.lead > 1:
        unit, offset = np.tile(unit, op.lead), np.tile(offset, op.lead)
    return Norms(
        spectral=spectral,
        frobenius=math.sqrt(float(squares.sum())) * SLACK,
        unit=unit,
        offset=offset,
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
    return spectral_bounds([matrix])[0]


def spectral_bounds(matrices: Sequence[NDArray[np.float64]]) -> list[float]:
    """The same for several matrices; small ones of one shape are done together.

    Numerics:
        See `spectral_bound`. Of a single row or column it is the 2-norm.
    """
    found, groups = [0.0] * len(matrices), dict[tuple[int, ...], list[int]]()
    for i, matrix in enumerate(matrices):
        if min(matrix.shape) == 1:
            largest = float(np.abs(matrix).max(initial=0.0))
            found[i] = largest * _length(matrix / largest) * SLACK if largest else 0.0
        else:
            alone = () if matrix.size <= _SMALL else (i,)
            groups.setdefault((*matrix.shape, *alone), []).append(i)
    for which in groups.values():
        blocks = torch.as_tensor(np.stack([matrices[i] for i in which]))
        for i, bound in zip(which, _proved_bounds(blocks).tolist(), strict=True):
            found[i] = bound * SLACK
    return found


def _proved_bound(blocks: torch.Tensor) -> float:
    """A bound for the largest of several matrices, shape (blocks, m, n), real or complex."""
    return float(_proved_bounds(blocks, one_for_all=True).max()) if blocks.numel() else 0.0


def _proved_bounds(blocks: torch.Tensor, *, one_for_all: bool = False) -> torch.Tensor:
    """Bounds for several matrices, shape (blocks, m, n); one that holds for all, if asked for."""
    scale = blocks.abs().amax(dim=(1, 2))
    scale = scale.amax().expand(len(blocks)) if one_for_all else scale
    a = blocks / torch.where(scale > 0, scale, 1.0)[:, None, None]
    a = a.mH.resolve_conj() if a.shape[1] < a.shape[2] else a
    is_small = a[0].numel() <= _SMALL  # then a product takes numpy a quarter of the time
    gram = torch.as_tensor(a.mH.resolve_conj().numpy() @ a.numpy()) if is_small else a.mH @ a
    bound = _power_iteration(gram, is_small=is_small) * (1 + 2.0**-4)
    bound = bound.amax().expand(len(bound)) if one_for_all else bound
    bound = torch.where(scale > 0, bound, 1.0)  # of a matrix of zeros: any number is right
    eye = torch.eye(gram.shape[1], dtype=gram.dtype)
    for _ in range(64):
        has_failed = torch.linalg.cholesky_ex(bound[:, None, None] * eye - gram).info != 0
        if not bool(has_failed.any()):
            return scale * bound.sqrt()
        has_failed |= one_for_all
        bound[has_failed] *= 1 + 2.0**-3
    return scale * a.abs().square().sum(dim=(1, 2)).sqrt()  # Frobenius


def _power_iteration(gram: torch.Tensor, *, is_small: bool) -> torch.Tensor:
    """About the largest eigenvalue of each of several positive semidefinite matrices."""
    x = gram[:, :, :1] + gram.diagonal(dim1=1, dim2=2)[:, :, None]  # no random numbers
    # Far from overflow: no entry exceeds the number of rows that were summed.
    if is_small:
        factor, numbers = gram.numpy(), x.numpy()
        for _ in range(22):
            numbers = factor @ numbers
        x = torch.as_tensor(numbers)
    else:
        for _ in range(11):
            x = gram @ x
    x = gram @ (x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-300))
    return torch.linalg.vector_norm(x, dim=1)[:, 0]


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
