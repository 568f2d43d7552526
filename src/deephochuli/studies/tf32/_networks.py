"""Errors of TF32 and FP32 inside networks, layer by layer, own and inherited, and sign flips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deephochuli.studies._reference_net import digits, trained_reference_net
from deephochuli.studies._study import Params
from deephochuli.studies.tf32._plan import DEPTH
from deephochuli.studies.tf32._products import OPERANDS, to_tf32

NEAR = 0.02
"""Pre-activations below this part of their rms count as near zero: cut errors grow with z."""


def measure_deep(params: Params) -> Mapping[str, Any]:
    """A plain network of 24 convolutions with He's initialisation, on images of digits."""
    model = plain_network(params["channels"], params["seed"])
    images = digits()[2][: params["images"]]
    return {"layers": list(layer_errors(model, images))}


def measure_trained(params: Params) -> Mapping[str, Any]:
    """The trained reference network on all test images."""
    model = trained_reference_net(params["epochs"], params["seed"])
    return {"layers": list(layer_errors(model, digits()[2]))}


def plain_network(channels: int, seed: int) -> nn.Sequential:
    """24 convolutions 3 x 3 without bias, each with a ReLU."""
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(seed)
    for depth in range(DEPTH):
        n_in = channels if depth else 1
        layer = nn.Conv2d(n_in, channels, 3, padding=1, bias=False, device="meta")
        layer.to_empty(device="cpu")
        with torch.no_grad():
            drawn = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(drawn * math.sqrt(2 / (9 * n_in)))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def layer_errors(model: nn.Sequential, images: Tensor) -> Iterator[dict[str, Any]]:
    """Errors of every convolution and linear layer against binary64.

    Args:
        model: Layers of which those with weights compute sums of products.
        images: (n, channels, height, width), float32.

    Yields:
        For each layer K, n, its own and its total errors in each way, and sign flips: own errors
        are those of the layer given the binary64 input rounded to FP32, total ones those of the
        network that computes in this way throughout.
    """
    exact = images.double()
    reached = dict.fromkeys(OPERANDS, images)
    with torch.no_grad():
        for layer in model:
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                exact = layer(exact)
                reached = {name: layer(h) for name, h in reached.items()}
                continue
            given, exact = exact.float(), _applied(layer, exact, "fp64")
            own = {name: _applied(layer, given, name) for name in OPERANDS}
            reached = {name: _applied(layer, h, name) for name, h in reached.items()}
            yield {
                "k": layer.weight[0].numel(),
                "n": exact.numel(),
                "own": {name: _sizes(z, exact) for name, z in own.items()},
                "total": {name: _sizes(z, exact) for name, z in reached.items()},
                "flips": {name: _flips(z, exact) for name, z in reached.items()},
            }


def _applied(layer: nn.Conv2d | nn.Linear, x: Tensor, name: str) -> Tensor:
    """A layer with its operands in TF32, FP32, or in binary64."""
    weight, bias = layer.weight, layer.bias
    if name == "fp64":
        weight, bias = weight.double(), None if bias is None else bias.double()
    else:
        x, weight = (to_tf32(each, OPERANDS[name]) for each in (x, weight))
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, padding=1)


def _sizes(z: Tensor, exact: Tensor) -> dict[str, float]:
    e = (z.double() - exact).abs()
    rms = float((e * e).mean().sqrt())
    return {
        "rms": rms,
        "max": float(e.max()),
        "mean": float(e.mean()),
        "rel_l2": rms / float((exact * exact).mean().sqrt()),
    }


def _flips(z: Tensor, exact: Tensor) -> dict[str, float]:
    """Sign flips, and how many are expected from the density at zero and the errors there."""
    e = (z.double() - exact).abs()
    width = NEAR * float((exact * exact).mean().sqrt())
    is_near = (exact.abs() < width) & (exact != 0)
    density = float(is_near.sum()) / (2 * width)
    return {
        "flips": int((z.double() * exact < 0).sum()),
        "expected": density * float(e[is_near].mean()) if bool(is_near.any()) else 0.0,
        "expected_from_all": density * float(e.mean()),
    }
