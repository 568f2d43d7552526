"""When a weight moves: the closed forms against torch's own optimizer, in each dtype."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deephochuli.formats import format_of_dtype
from deephochuli.studies._study import Params

_RATE = 2.0**-5
_DECAY = 0.25
_TYPICAL = (0.1, 5e-4)
"""A learning rate and a weight decay as many trainings have them."""


def measure_law(params: Params) -> Mapping[str, Any]:
    """Count weights that move where the law says never, and that do not where it says always.

    Numerics:
        Weights are normal numbers of the dtype from 2^-6 to 2, gradients |g| = r |w| / lr with
        log2(r) uniform within two binades around the gap from 2^-(p+1) to 2^-p, both signs. The
        learning rate is a power of two, so that lr g is exact.
    """
    dtype = getattr(torch, params["dtype"])
    precision = format_of_dtype(params["dtype"]).precision
    generator = torch.Generator().manual_seed(params["seed"])
    n = params["n"]
    weights = _weights(n, dtype, generator)
    exponent = -precision - 0.5 + 4 * (torch.rand(n, generator=generator).double() - 0.5)
    sign = 1.0 - 2.0 * torch.randint(0, 2, (n,), generator=generator).double()
    gradient = (sign * weights.double() * torch.exp2(exponent) / _RATE).to(dtype)
    moved = _stepped(weights, gradient, _RATE, 0.0, 1) != weights
    size = (gradient.double() * _RATE).abs() / weights.double().abs()
    never, always = size < 2.0 ** -(precision + 1), size > 2.0**-precision
    return {
        "precision": precision,
        "n_never": int(never.sum()),
        "n_never_moved": int((never & moved).sum()),
        "n_always": int(always.sum()),
        "n_always_unmoved": int((always & ~moved).sum()),
        "n_between": int((~never & ~always).sum()),
        "n_between_moved": int((~never & ~always & moved).sum()),
        **_decay(weights, precision),
        **_subnormal(dtype),
    }


def _weights(n: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    size = torch.exp2(7 * torch.rand(n, generator=generator).double() - 6)
    sign = 1.0 - 2.0 * torch.randint(0, 2, (n,), generator=generator).double()
    return (size * sign).to(dtype)


def _stepped(weights: Tensor, gradient: Tensor, rate: float, decay: float, n_steps: int) -> Tensor:
    """Weights after some steps of torch's SGD on the same gradient."""
    parameter = torch.nn.Parameter(weights.clone())
    parameter.grad = gradient.clone()
    optimizer = torch.optim.SGD([parameter], lr=rate, weight_decay=decay)
    for _ in range(n_steps):
        optimizer.step()
    return parameter.detach()


def _decay(weights: Tensor, precision: int) -> dict[str, float]:
    """Share of the weights that weight decay alone moves, in 20 steps."""

    def share(rate: float, decay: float) -> float:
        after = _stepped(weights, torch.zeros_like(weights), rate, decay, 20)
        return float((after != weights).double().mean())

    return {
        "decayed_below": share(0.9 * 2.0 ** -(precision + 1) / _DECAY, _DECAY),
        "decayed_above": share(1.1 * 2.0**-precision / _DECAY, _DECAY),
        "decayed_typical": share(*_TYPICAL),
    }


def _subnormal(dtype: torch.dtype) -> dict[str, bool]:
    """Whether the smallest number of the dtype moves by a quarter of itself: 2^-2 > 2^-p."""
    smallest = torch.tensor([format_of_dtype(str(dtype)).smallest_subnormal], dtype=torch.float64)
    weight = smallest.to(dtype)
    after = _stepped(weight, weight, 0.25, 0.0, 1)
    return {"subnormal_moved": bool(after != weight)}
