"""The gradient of a small network in rational arithmetic: what binary64 is measured against."""

# torch's types for lists of numbers are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor, nn

_Numbers = list[Fraction]


def bias_gradients(model: nn.Sequential, x: Tensor, y: Tensor) -> list[_Numbers]:
    """Gradients of the mean squared error with respect to the biases, without any rounding.

    Args:
        model: Linear layers with ReLU between them, of one output.
        x: Inputs [points, 1].
        y: Values [points, 1].

    Returns:
        A list for each layer, a number for each unit.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(1, 1))
        >>> _ = nn.init.ones_(model[0].weight), nn.init.zeros_(model[0].bias)
        >>> bias_gradients(model, torch.tensor([[0.5], [0.25]]), torch.zeros(2, 1))
        [[Fraction(3, 4)]]
    """
    linears = [module for module in model if isinstance(module, nn.Linear)]
    weights = [_matrix(linear.weight) for linear in linears]
    biases = [_row(linear.bias) for linear in linears]
    sums = [[Fraction(0)] * len(b) for b in biases]
    for inputs, (target,) in zip(_matrix(x), _matrix(y), strict=True):
        h, zs = inputs, list[_Numbers]()
        for w, b in zip(weights, biases, strict=True):
            zs.append([_dot(row, h) + c for row, c in zip(w, b, strict=True)])
            h = [max(z, Fraction(0)) for z in zs[-1]]
        back = [2 * (zs[-1][0] - target) / len(x)]
        for layer in reversed(range(len(weights))):
            if layer < len(weights) - 1:
                back = [d if z > 0 else Fraction(0) for d, z in zip(back, zs[layer], strict=True)]
            sums[layer] = [a + d for a, d in zip(sums[layer], back, strict=True)]
            back = [_dot(column, back) for column in zip(*weights[layer], strict=True)]
    return sums


def _row(numbers: Tensor) -> _Numbers:
    return [Fraction(value) for value in numbers.detach().double().tolist()]


def _matrix(numbers: Tensor) -> list[_Numbers]:
    return [_row(row) for row in numbers]


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
