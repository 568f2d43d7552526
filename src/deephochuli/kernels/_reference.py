"""The kernels in plain torch: slow, readable, and the definition of every result.

Serves where Numba is missing, on every device that torch knows, and as the oracle of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from deephochuli.kernels._contract import (
    ChannelCounts,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._key import INFINITY, N_KEYS, NAN
from deephochuli.kernels._layout import flatten
from deephochuli.kernels._merge import EagerRows, largest, smallest

_CHUNK = 1 << 22
_STICKY_MASK = (1 << 49) - 1
_RATIO_ZERO = 2304


def exact_double(x: torch.Tensor) -> torch.Tensor:
    """Widen to binary64 exactly, also where flush-to-zero would lose binary32 subnormals."""
    if x.dtype == torch.float64:
        return x
    wide = x.to(torch.float32)
    if x.dtype == torch.bfloat16:
        pattern = x.view(torch.int16).to(torch.int32) << 16
    elif x.dtype == torch.float32:
        pattern = x.view(torch.int32)
    else:
        return wide.to(torch.float64)  # all values of the other types are normal in binary32
    subnormal = (pattern & 0x7F800000) == 0
    tiny = (pattern & 0x7FFFFF).to(torch.float64) * 2.0**-149
    tiny = torch.where(pattern < 0, -tiny, tiny)
    return torch.where(subnormal, tiny, wide.to(torch.float64))


def keys_of(x: torch.Tensor) -> torch.Tensor:
    """Leading-bit keys of a tensor, as int64 of the same shape; see ``_key.py``."""
    bits = exact_double(x).view(torch.int64)
    leading = (bits >> 49) & 0x7FFF
    keys = (leading << 1) | ((bits & _STICKY_MASK) != 0).to(torch.int64)
    return torch.where((keys & 0x7FFF) > INFINITY, torch.full_like(keys, NAN), keys)


def _channel_counts(tensor: torch.Tensor, channel_dim: int) -> ChannelCounts:
    x = tensor.detach().movedim(channel_dim, 0).reshape(tensor.shape[channel_dim], -1)
    wide = exact_double(x)
    finite = torch.isfinite(wide)

    def count(mask: torch.Tensor) -> np.ndarray:
        return mask.sum(1).cpu().numpy().astype(np.int64)

    return ChannelCounts(x.shape[1], count(finite & (wide > 0)), count(wide == 0), count(~finite))


def _summarise(job: TensorJob) -> Summary:
    flat = flatten(job.tensor, job.channel_dim).tensor
    counts = np.zeros(N_KEYS, np.int64)
    sums, squares, lows, highs = [0.0], [0.0], [math.nan], [math.nan]
    for chunk in flat.split(_CHUNK):
        wide = exact_double(chunk)
        counts += torch.bincount(keys_of(chunk), minlength=N_KEYS).cpu().numpy()
        finite = wide[torch.isfinite(wide)]
        magnitude = finite.abs()
        nonzero = magnitude[magnitude > 0]
        sums.append(finite.sum().item())
        squares.append((finite * finite).sum().item())
        lows.append(nonzero.min().item() if len(nonzero) else math.nan)
        highs.append(magnitude.max().item() if len(magnitude) else math.nan)
    keys = np.flatnonzero(counts)
    channels = None
    if job.channel_dim is not None:
        channels = _channel_counts(job.tensor, job.channel_dim)
    return Summary(
        keys.astype(np.uint16),
        counts[keys],
        math.fsum(sums),
        math.fsum(squares),
        smallest(lows),
        largest(highs),
        channels,
    )


def _pattern(x: torch.Tensor) -> torch.Tensor:
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.view(integers[x.element_size()])


def _summarise_update(job: UpdateJob) -> UpdateSummary:
    before, after = job.before.detach(), job.after.detach()
    update = after - before if after.dtype == torch.float64 else after.float() - before.float()
    updatable = unmoved = 0
    gradient = None
    if job.gradient is not None:
        gradient = _summarise(TensorJob(job.gradient))
        wide = exact_double(job.gradient.detach())
        should_move = torch.isfinite(wide) & (wide != 0)
        stayed = should_move & (_pattern(before) == _pattern(after))
        updatable, unmoved = int(should_move.sum()), int(stayed.sum())
    update_keys, weight_keys = keys_of(update) & 0x7FFF, keys_of(before) & 0x7FFF
    both = (update_keys > 0) & (update_keys < INFINITY) & (weight_keys > 0)
    both &= weight_keys < INFINITY
    ratio = (update_keys >> 4) - (weight_keys >> 4)
    counts = torch.bincount(ratio[both].flatten() + _RATIO_ZERO, minlength=2 * _RATIO_ZERO)
    present = np.flatnonzero(counts.cpu().numpy())
    return UpdateSummary(
        _summarise(TensorJob(after)),
        gradient,
        _summarise(TensorJob(update)),
        updatable,
        unmoved,
        (present - _RATIO_ZERO).astype(np.int16),
        counts.cpu().numpy()[present],
    )


class ReferenceBackend:
    """Summaries in plain torch operations."""

    name = "torch"

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        return EagerRows(self.summarise)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one result per job, in order."""
        with torch.no_grad():
            return [_summarise(job) for job in jobs]

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one result per job, in order."""
        with torch.no_grad():
            return [_summarise_update(job) for job in jobs]
