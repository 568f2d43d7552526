"""The kernels in plain torch: slow, readable, and the definition of every result.

Serves where Numba is missing, on every device that torch knows, and as the oracle of the others.
Everything that is counted or compared is the integer pattern of the binary64 number that equals
the element, so that flags that flush subnormal numbers to zero cannot reach it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels._contract import (
    ChannelCounts,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._key import INFINITY, MAGNITUDE, N_KEYS, NAN
from deephochuli.kernels._layout import dense, update_tensors
from deephochuli.kernels._merge import EagerRows, largest, smallest

_CHUNK = 1 << 22
_STICKY_MASK = (1 << 49) - 1
_MAGNITUDE_64 = (1 << 63) - 1
_INFINITY_64 = 0x7FF << 52
_RATIO_ZERO = 2304
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def stored_bits(x: torch.Tensor) -> torch.Tensor:
    """The elements' patterns as integers of their size."""
    return x.view(_INTEGERS[x.element_size()])


def exact_double(x: torch.Tensor) -> torch.Tensor:
    """Widen to binary64 exactly, also where flush-to-zero would lose binary32 subnormals."""
    if x.dtype == torch.float64:
        return x
    wide = x.to(torch.float32)
    if x.dtype == torch.bfloat16:
        pattern = stored_bits(x).to(torch.int32) << 16
    elif x.dtype == torch.float32:
        pattern = stored_bits(x)
    else:
        return wide.to(torch.float64)  # all values of the other types are normal in binary32
    subnormal = (pattern & 0x7F800000) == 0
    tiny = (pattern & 0x7FFFFF).to(torch.float64) * 2.0**-149
    tiny = torch.where(pattern < 0, -tiny, tiny)
    return torch.where(subnormal, tiny, wide.to(torch.float64))


def keys_of(wide: torch.Tensor) -> torch.Tensor:
    """Leading-bit keys of a binary64 tensor, as int64 of the same shape; see ``_key.py``."""
    bits = stored_bits(wide)
    keys = ((bits >> 49) << 1 & 0xFFFE) | ((bits & _STICKY_MASK) != 0).to(torch.int64)
    return torch.where((keys & MAGNITUDE) > INFINITY, torch.full_like(keys, NAN), keys)


def _is_finite(wide: torch.Tensor) -> torch.Tensor:
    return (stored_bits(wide) & _MAGNITUDE_64) < _INFINITY_64


def _channel_counts(tensor: torch.Tensor, channel_dim: int) -> ChannelCounts:
    x = tensor.movedim(channel_dim, 0)
    x = x.reshape(len(x), x[0].numel() if len(x) else 0)
    bits = stored_bits(exact_double(x))
    finite = (bits & _MAGNITUDE_64) < _INFINITY_64

    def count(mask: torch.Tensor) -> NDArray[np.int64]:
        return mask.sum(1).cpu().numpy().astype(np.int64)

    zero = (bits & _MAGNITUDE_64) == 0
    return ChannelCounts(x.shape[1], count(finite & (bits > 0)), count(zero), count(~finite))


def _magnitude_range(wide: torch.Tensor) -> tuple[float, float]:
    """Smallest nonzero and largest finite magnitude; NaN where there is none."""
    patterns = stored_bits(wide)[_is_finite(wide)] & _MAGNITUDE_64
    nonzero = patterns[patterns > 0]
    low = _double_of(int(nonzero.min())) if len(nonzero) else math.nan
    return low, _double_of(int(patterns.max())) if len(patterns) else math.nan


def _double_of(pattern: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", pattern))[0]


def _summarise(tensor: torch.Tensor) -> Summary:
    counts = np.zeros(N_KEYS, np.int64)
    sums, squares, lows, highs = [0.0], [0.0], [math.nan], [math.nan]
    flat = tensor.flatten()
    for start in range(0, len(flat), _CHUNK):
        wide = exact_double(flat[start : start + _CHUNK])
        counts += torch.bincount(keys_of(wide), minlength=N_KEYS).cpu().numpy()
        finite = wide[_is_finite(wide)]
        sums.append(finite.sum().item())
        squares.append((finite * finite).sum().item())
        low, high = _magnitude_range(wide)
        lows.append(low)
        highs.append(high)
    keys = np.flatnonzero(counts)
    return Summary(
        keys.astype(np.uint16),
        counts[keys],
        _total(sums),
        _total(squares),
        smallest(lows),
        largest(highs),
    )


def _total(parts: list[float]) -> float:
    return math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts)


def _summarise_job(job: TensorJob) -> Summary:
    tensor = dense(job.tensor, job.channel_dim)
    summary = _summarise(tensor)
    if job.channel_dim is None:
        return summary
    channels = _channel_counts(tensor, job.channel_dim)
    return replace(summary, channels=channels)


def _difference(after: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The update, rounded once to binary32 (kept as binary64), or to binary64 for binary64.

    The difference of two binary32 numbers, rounded to binary64 and then to binary32, is the
    correctly rounded one (53 >= 2 * 24 + 2); where it is subnormal in binary32 it is exact.
    """
    update = exact_double(after) - exact_double(before)
    if after.dtype == torch.float64:
        return update
    tiny = (update > -(2.0**-126)) & (update < 2.0**-126)
    return torch.where(tiny, update, update.to(torch.float32).to(torch.float64))


def summarise_update(job: UpdateJob) -> UpdateSummary:
    """Summarise one optimizer step; the tensors' types may differ."""
    after, before, *gradients = update_tensors(job)
    updatable = unmoved = 0
    gradient = None
    if gradients:
        gradient = _summarise(gradients[0])
        bits = stored_bits(exact_double(gradients[0])) & _MAGNITUDE_64
        should_move = (bits > 0) & (bits < _INFINITY_64)
        stayed = should_move & (stored_bits(before) == stored_bits(after))
        updatable, unmoved = int(should_move.sum()), int(stayed.sum())
    update = _difference(after, before)
    ratios, ratio_counts = _ratios(keys_of(update), keys_of(exact_double(before)))
    return UpdateSummary(
        _summarise(after), gradient, _summarise(update), updatable, unmoved, ratios, ratio_counts
    )


def _ratios(
    update: torch.Tensor, weight: torch.Tensor
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Differences of the exponents where both keys are those of nonzero finite numbers."""
    update, weight = (update & MAGNITUDE).flatten(), (weight & MAGNITUDE).flatten()
    both = (update > 0) & (update < INFINITY) & (weight > 0) & (weight < INFINITY)
    ratio = ((update >> 4) - (weight >> 4))[both] + _RATIO_ZERO
    counts = torch.bincount(ratio, minlength=2 * _RATIO_ZERO).cpu().numpy()
    present = np.flatnonzero(counts)
    return (present - _RATIO_ZERO).astype(np.int16), counts[present]


class ReferenceBackend:
    """Summaries in plain torch operations."""

    name = "torch"

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        return EagerRows(self.summarise)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one result per job, in order."""
        with torch.no_grad():
            return [_summarise_job(job) for job in jobs]

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one result per job, in order."""
        with torch.no_grad():
            return [summarise_update(job) for job in jobs]
