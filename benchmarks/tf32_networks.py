"""The three networks of the tables about TF32, and what the tables ask of their layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.resnet import resnet18
from deephochuli.analysis.compare import Error


def products_in(model: nn.Module, path: str) -> int:
    """Products in one sum of a layer (K); 0 where it has none."""
    module = model.get_submodule(path)
    weight = getattr(module, "weight", None)
    if not isinstance(module, nn.Linear | nn.Conv2d) or not isinstance(weight, torch.Tensor):
        return 0
    return weight[0].numel()


def ratios(error: Error | None, plain: Error | None) -> list[str]:
    """Ratios of rms, mean and largest error, as cells of a table."""
    if error is None or plain is None:
        return [""] * 3
    pairs = (
        (error.rms, plain.rms),
        (error.mean_abs, plain.mean_abs),
        (error.max_abs, plain.max_abs),
    )
    return [f"{a / b:.0f}" if b else "" for a, b in pairs]


def loss(output: Any) -> torch.Tensor:
    """A scalar of what a network returns."""
    return (output if isinstance(output, torch.Tensor) else output[0]).sum()


def _digits() -> tuple[nn.Module, Any]:
    from tests.reference.digits_net import digits, trained_digits_net

    return trained_digits_net(), digits()[2]


def _residual() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return resnet18(16), torch.randn(4, 3, 32, 32)


def _transformer() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(2, 32, 256)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "plain CNN": _digits,
    "ResNet-18": _residual,
    "transformer": _transformer,
}
