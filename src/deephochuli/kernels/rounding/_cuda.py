"""The CUDA back end: one launch for each tensor, nothing waited for.

Tables of plans lie on the device; a key is copied there without waiting, once for each stream.
"""

# Triton's kernels carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import functools

import numpy as np
import torch

from deephochuli.kernels.rounding import _cuda_kernels as device_code
from deephochuli.kernels.rounding._constants import (
    LOW_RANGE,
    Variant,
    lift_of,
    mode_of,
    table_of,
    variant_of,
)
from deephochuli.kernels.rounding._contract import GROUP, Carrier, RoundingPlan, StochasticKey

_KINDS: dict[torch.dtype, tuple[int, torch.dtype]] = {
    torch.float32: (device_code.BINARY32.value, torch.int32),
    torch.float64: (device_code.BINARY64.value, torch.int64),
    torch.bfloat16: (device_code.BFLOAT16.value, torch.int16),
    torch.float16: (device_code.BINARY16.value, torch.int16),
}
_NO_KEY = (0, 0, 0, 0)


def _carrier_words(carrier: Carrier) -> list[int]:
    """What the kernel has to know of the carrier."""
    lift, stored = lift_of(carrier), carrier.stored
    to_subnormal = 1 - carrier.fmt.emin + stored - lift - 1
    facts = carrier.sign, carrier.infinity, carrier.nan, lift << stored, (lift + 1) << stored
    return [*facts, to_subnormal << stored, (carrier.bias + stored) << stored]


@functools.lru_cache(maxsize=512)
def _table(plan: RoundingPlan, device: torch.device) -> torch.Tensor:
    """The table of a plan on a device, int64."""
    words = [*table_of(plan).tolist(), *_carrier_words(plan.carrier)]
    return torch.from_numpy(np.array(words, np.uint64).view(np.int64)).to(device)


@functools.lru_cache(maxsize=512)
def _key(words: tuple[int, ...], device: torch.device, stream: int) -> torch.Tensor:
    """A key on a device, for one stream: others could read it before it has arrived."""
    return torch.tensor(words, dtype=torch.int64, device="cpu").to(device, non_blocking=True)


def _stream_on(device: torch.device) -> int:
    """The number of the current stream of a device."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


class CudaRounder:
    """Rounding by Triton; also on a CPU, where Triton interprets its kernel."""

    name = "triton"

    def round(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        key: StochasticKey | None,
    ) -> None:
        """Launch the rounding of all elements; see `Rounder`."""
        kind, integer = _KINDS[source.dtype]
        device, n, variant = source.device, source.numel(), variant_of(plan)
        flat, result = (t.as_strided((n,), (1,)).view(integer) for t in (source, target))
        is_low = bool(variant & LOW_RANGE)
        words = _key(_NO_KEY if key is None else key.words, device, _stream_on(device))
        args = flat, result, n, _table(plan, device), words, kind, int(mode_of(plan.rounding))
        args += is_low, bool(variant & Variant.DEEP)
        if device.type == "cuda":
            with torch.cuda.device(device):
                _launch(device_code.round_group, -(-n // GROUP), args)
        else:
            _launch(device_code.round_group, -(-n // GROUP), args)


def _launch(kernel: object, n_programs: int, args: tuple[object, ...]) -> None:
    kernel[(n_programs,)](*args)  # pyright: ignore[reportIndexIssue]
