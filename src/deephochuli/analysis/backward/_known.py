"""Which elements of a gradient binary64 knows: the others are its own rounding noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from deephochuli.analysis.compare import Executor, Trace

PERTURBATION = 2.0**-48
"""Largest relative change of a weight, 32 times the rounding of binary64."""

KNOWN = 2.0**-10
"""An element is known where the perturbation changes it by less than this part of itself."""


def shadow_of(truth: Executor, seed: int) -> Executor:
    """The exact execution with every weight perturbed by a little more than its rounding."""

    def perturb(model: nn.Module) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                noise = torch.rand(
                    weight.shape, generator=generator, dtype=torch.float64, device="cpu"
                )
                weight.mul_(1 + PERTURBATION * (2 * noise.to(weight.device) - 1))

    return replace(truth, name="shadow", prepare=perturb)


def silence(trace: Trace, shadow: Trace) -> None:
    """Set to zero, in place, what a perturbed run says is rounding noise.

    A bias in front of a normalisation has the gradient zero, of which binary64 computes 1e-17: no
    format loses anything there. Noise has few values, and two runs may agree on some by chance, so
    that a tensor of which half is noise counts as noise as a whole.

    Args:
        trace: The run in binary64.
        shadow: The same, perturbed.
    """
    for exact, other in _pairs(trace, shadow):
        is_noise = (exact - other).abs() > KNOWN * exact.abs()
        if 2 * int(is_noise.sum()) >= int((exact != 0).sum()):
            is_noise.fill_(True)
        exact[is_noise] = 0.0


def _pairs(trace: Trace, shadow: Trace) -> Iterator[tuple[Tensor, Tensor]]:
    for name, call in trace.calls.items():
        for exact, other in zip(call.grad_inputs, shadow.calls[name].grad_inputs, strict=True):
            if exact is not None and other is not None:
                yield exact, other
    for name, gradient in trace.gradients.items():
        yield gradient, shadow.gradients[name]
