"""Outputs of layers computed again in binary64 from the operands that are in memory."""

# Modules of torch have partial types.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose output can be computed again."""


def exact_output(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of a layer for the first sample, and 0 for what had a part in it.

    Args:
        module: One of `LAYERS`.
        x: Its input, with samples along the first dimension.

    Returns:
        Two float64 tensors of the output's shape for one sample. The second is zero: an error of
        an output is measured in the output's own gap, however large its terms are.
    """
    layer: Any = module
    first = x.detach()[:1].double()
    weight = layer.weight.detach().double()
    bias = None if layer.bias is None else layer.bias.detach().double()
    with torch.autocast(x.device.type, enabled=False):
        if isinstance(module, nn.Linear):
            exact = functional.linear(first, weight, bias)
        else:
            exact = layer._conv_forward(first, weight, bias)
    return exact, torch.zeros_like(exact)
