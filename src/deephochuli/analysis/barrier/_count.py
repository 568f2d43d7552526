"""Count the pre-activations of one call of a layer into a tally."""

# Results of torch's methods are partly unknown to pyright.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deephochuli.analysis.barrier._operands import Operands
from deephochuli.analysis.barrier._tally import (
    BLOCK,
    N_BINADES,
    Blocks,
    Small,
    Tally,
    binade_counts,
    capped,
    lowered,
)
from deephochuli.sketch import Sketch

SCALE_BINADES = 4
"""Near zero is below rms / 2^4: a Gaussian density is flat there within 0.1 %."""

_PIECE = 1 << 18
_MAX_ZEROS = 1 << 12


def near_threshold(z: Tensor) -> float:
    """The power of two below which values count as near zero: at most rms / 16.

    Raises nothing: without a nonzero finite value it is the smallest normal binary64 number.

    Example:
        >>> near_threshold(torch.tensor([1.0, -1.0, 1.0]))
        0.0625
    """
    rms = float(z.detach().double().square().mean().sqrt()) if z.numel() else 0.0
    if not (math.isfinite(rms) and rms > 0):
        return 2.0**-1022
    return 2.0 ** (math.floor(math.log2(rms)) - SCALE_BINADES)


def by_channel(z: Tensor, n_dims: int) -> Tensor:
    """A layer's output as (examples, channels, places); a linear layer has `n_dims` 0."""
    if not n_dims:
        return z.reshape(-1, z.shape[-1], 1)
    whole = z if z.dim() == n_dims + 2 else z.unsqueeze(0)
    return whole.reshape(whole.shape[0], whole.shape[1], -1)


def count(
    z: Tensor,
    near_below: float,
    capacity: int,
    *,
    kept_below: float = math.inf,
    operands: Operands | None = None,
) -> Tally:
    """Count pre-activations.

    Args:
        z: (examples, channels, places), any floating-point dtype.
        near_below: Power of two below which values are near zero.
        capacity: How many of the smallest values to keep.
        kept_below: Keep none from here on; what a tally of more values has been lowered to.
        operands: What they were computed from: structural values are left out, and equal origins
            known, if they are given.

    Returns:
        A tally of them.

    Example:
        >>> tally = count(torch.tensor([[[0.5]], [[0.0]], [[2.0**-9]]]), 2.0**-4, 8)
        >>> tally.n.tolist(), tally.n_zero.tolist(), tally.smallest
        ([3], [1], 0.001953125)
    """
    _, n_channels, n_places = z.shape
    flat = z.detach().reshape(-1)
    structural = operands.structural() if operands is not None else None
    index = _near(flat, near_below)
    if structural is not None:
        structural = structural.expand(z.shape).reshape(-1)
        index = index[~structural[torch.from_numpy(index)].cpu().numpy()]
    magnitude = flat[torch.from_numpy(index)].abs().double().cpu().numpy()
    channel = (index // n_places) % n_channels
    is_zero = magnitude == 0
    n_structural = _structural_counts(structural, z)
    tally = replace(
        Tally.empty(n_channels, near_below, capacity),
        n=np.full(n_channels, flat.numel() // max(1, n_channels)) - n_structural,
        n_structural=n_structural,
        n_zero=np.bincount(channel[is_zero], minlength=n_channels).astype(np.int64),
        binades=binade_counts(magnitude[~is_zero], channel[~is_zero], n_channels, near_below),
        above=_above(flat if structural is None else flat[~structural], near_below),
        blocks=_blocks(index, magnitude, flat.numel(), structural),
    )
    below = lowered(magnitude[~is_zero], min(near_below, kept_below), 4 * capacity)
    chosen = ~is_zero & (magnitude < below)
    small = _small(index[chosen], magnitude[chosen], channel[chosen], n_places, operands)
    n_shadow = _zeros_of_shadow(index[is_zero], channel[is_zero], tally, n_places, operands)
    return capped(replace(tally, kept_below=below, small=small, n_zero_shadow=n_shadow))


def _near(flat: Tensor, below: float) -> NDArray[np.int64]:
    """Indices of magnitudes below a threshold, piece by piece so that pieces stay in the cache."""
    found = [
        (piece.abs() < below).nonzero().reshape(-1).add_(i * _PIECE)
        for i, piece in enumerate(flat.split(_PIECE))
    ]
    return torch.cat(found).cpu().numpy()


def _structural_counts(mask: Tensor | None, z: Tensor) -> NDArray[np.int64]:
    if mask is None:
        return np.zeros(z.shape[1], np.int64)
    return mask.reshape(z.shape).sum((0, 2)).cpu().numpy().astype(np.int64)


def _above(values: Tensor, below: float) -> NDArray[np.int64]:
    """Counts by binade from the threshold up."""
    counts = np.zeros(N_BINADES, np.int64)
    top = math.frexp(below)[1] - 1
    for exponent, n in Sketch.of(values).binades().items():
        if exponent >= top:
            counts[min(exponent - top, N_BINADES - 1)] += n
    return counts


def _blocks(
    index: NDArray[np.int64], magnitude: NDArray[np.float64], n: int, structural: Tensor | None
) -> Blocks:
    n_blocks = -(-n // BLOCK)
    size = np.full(n_blocks, BLOCK, np.int64)
    if n_blocks:
        size[-1] = n - BLOCK * (n_blocks - 1)
    if structural is not None:
        size -= np.array([int(part.sum()) for part in structural.split(BLOCK)], np.int64)
    block = index // BLOCK
    minimum = np.full(n_blocks, np.inf)
    nonzero = magnitude > 0
    np.minimum.at(minimum, block[nonzero], magnitude[nonzero])
    near = np.bincount(block, minlength=n_blocks).astype(np.int64)
    kept = size > 0
    return Blocks(size[kept], near[kept], minimum[kept])


def _small(
    index: NDArray[np.int64],
    magnitude: NDArray[np.float64],
    channel: NDArray[np.int64],
    n_places: int,
    operands: Operands | None,
) -> Small:
    n = len(index)
    origin, grid = np.zeros(n, np.uint64), np.zeros(n)
    if operands is not None and n:
        example = index // n_places // operands.weight.shape[0]
        sources = operands.at(example, channel, index % n_places)
        origin, grid = sources.origin, sources.grid
    return Small(magnitude, channel.astype(np.int32), origin, grid, np.ones(n, np.int64))


def _zeros_of_shadow(
    index: NDArray[np.int64],
    channel: NDArray[np.int64],
    tally: Tally,
    n_places: int,
    operands: Operands | None,
) -> NDArray[np.int64]:
    """Exact zeros that are zero in binary64 too, of the first 4096 of the call, by channel."""
    if operands is None or not len(index):
        return np.zeros(len(tally.n), np.int64)
    index, channel = index[:_MAX_ZEROS], channel[:_MAX_ZEROS]
    example = index // n_places // operands.weight.shape[0]
    exact = operands.at(example, channel, index % n_places).exact
    counts = np.bincount(channel[exact == 0], minlength=len(tally.n))
    return counts.astype(np.int64)
