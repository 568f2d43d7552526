"""What a linear layer or a convolution computed one of its outputs from."""

# Attributes of modules are not typed in torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deephochuli.analysis.barrier._bits import lowest_bits

Floats = NDArray[np.float64]
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_SEED = 0x5EED


@dataclass(frozen=True, slots=True)
class Sources:
    """Operands of some outputs.

    Attributes:
        inputs: (n, K) float64.
        weights: (n, K) float64.
        bias: (n,) float64; zeros without one.
    """

    inputs: Floats
    weights: Floats
    bias: Floats

    @property
    def origin(self) -> NDArray[np.uint64]:
        """(n,) hash of the inputs: sum of their bits times odd random numbers, mixed, mod 2^64."""
        bits = (self.inputs + 0.0).view(np.uint64)
        rng = np.random.default_rng(_SEED)
        odd = rng.integers(0, 2**64, self.inputs.shape[1], np.uint64) | np.uint64(1)
        total = (bits * odd).sum(1, dtype=np.uint64)
        total ^= total >> np.uint64(31)
        total *= np.uint64(0x9E3779B97F4A7C15)
        return total ^ (total >> np.uint64(29))

    @property
    def grid(self) -> Floats:
        """(n,) the largest power of two of which every product and the bias are multiples."""
        steps = lowest_bits(self.inputs) * lowest_bits(self.weights)
        return np.minimum(steps.min(1), lowest_bits(self.bias))

    @property
    def exact(self) -> Floats:
        """(n,) sum of products and bias in binary64, by numpy."""
        return (self.inputs * self.weights).sum(1) + self.bias


@dataclass(frozen=True, slots=True)
class Operands:
    """The operands of one call of a layer.

    Attributes:
        inputs: As the products see it: (rows, K) for a linear layer, (B, C_in, *S) padded for a
            convolution.
        weight: (C_out, ...) of the layer.
        bias: (C_out,) or None.
        places: Shape of the outputs of one channel and one example; () for a linear layer.
        stride: Of a convolution, by dimension.
        dilation: Of a convolution, by dimension.
        groups: Of a convolution.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    places: tuple[int, ...]
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def at(self, example: NDArray[Any], channel: NDArray[Any], place: NDArray[Any]) -> Sources:
        """Operands of the outputs with these indices, each (n,)."""
        rows, channels = torch.from_numpy(example), torch.from_numpy(channel)
        weights = self.weight.detach()[channels].flatten(1)
        if self.places:
            patches = self._patches(rows, channels, place)
        else:
            patches = self.inputs[rows]
        bias = np.zeros(len(channel)) if self.bias is None else _wide(self.bias)[channel]
        return Sources(_wide(patches), _wide(weights), bias)

    def _patches(self, rows: Tensor, channels: Tensor, place: NDArray[Any]) -> Tensor:
        """(n, K) inputs under the kernel."""
        c_in, *kernel = self.weight.shape[1:]
        group = channels // (self.weight.shape[0] // self.groups)
        first = np.unravel_index(place, self.places)
        grid = torch.meshgrid(
            *(torch.arange(n, device="cpu") for n in (c_in, *kernel)), indexing="ij"
        )
        depth, *offsets = (axis.reshape(1, -1) for axis in grid)
        where = [
            torch.from_numpy(start)[:, None] * stride + offset * dilation
            for start, offset, stride, dilation in zip(
                first, offsets, self.stride, self.dilation, strict=True
            )
        ]
        return self.inputs[(rows[:, None], group[:, None] * c_in + depth, *where)]

    def structural(self) -> Tensor | None:
        """Which outputs have no nonzero product, (B, 1 or C_out, places); None if there are none.

        Counted by the same layer of indicators. Where no weight is zero one channel tells for all.
        """
        nonzero, weights = self.inputs != 0, self.weight.detach() != 0
        if bool(nonzero.all()) and bool(weights.flatten(1).any(1).all()):
            return None
        alike = bool(weights.all()) and self.groups == 1
        products = self._counted(nonzero.float(), (weights[:1] if alike else weights).float())
        mask = products.reshape(len(products), products.shape[1], -1) == 0
        return mask if bool(mask.any()) else None

    def _counted(self, inputs: Tensor, weight: Tensor) -> Tensor:
        if not self.places:
            return inputs @ weight.T
        convolve: Any = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[
            len(self.places) - 1
        ]
        return convolve(
            inputs, weight, stride=self.stride, dilation=self.dilation, groups=self.groups
        )


def operands_of(layer: nn.Module, inputs: Tensor, output: Tensor) -> Operands:
    """The operands of a call of a layer of `LAYERS`.

    Args:
        layer: The layer.
        inputs: What it was called with, with or without a dimension of examples.
        output: What it returned.
    """
    if isinstance(layer, nn.Linear):
        rows = inputs.detach().reshape(-1, layer.in_features)
        return Operands(rows, layer.weight, layer.bias, ())
    module: Any = layer
    n_dims = len(module.kernel_size)
    x = inputs.detach() if inputs.dim() == n_dims + 2 else inputs.detach().unsqueeze(0)
    return Operands(
        _padded(module, x),
        module.weight,
        module.bias,
        tuple(output.shape[-n_dims:]),
        module.stride,
        module.dilation,
        module.groups,
    )


def _padded(module: Any, x: Tensor) -> Tensor:
    """Inputs with the border that the convolution adds."""
    pads: list[int] = []
    for i, size in reversed(list(enumerate(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[i] * (size - 1)
            pads += [total // 2, total - total // 2]
        else:
            each = 0 if module.padding == "valid" else module.padding[i]
            pads += [each, each]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return nn.functional.pad(x, pads, mode=mode) if any(pads) else x


def _wide(x: Tensor) -> Floats:
    return x.detach().double().cpu().numpy()
