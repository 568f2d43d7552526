"""Networks whose pieces are known, or easily made."""

from itertools import pairwise

import torch
from torch import nn


def linear(weight, bias):
    """A linear layer with these numbers, in double precision."""
    weight, bias = (torch.as_tensor(x, dtype=torch.float64) for x in (weight, bias))
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def sawtooth(n):
    """The tent map composed n times (Telgarsky): 2^n pieces on [0, 1]."""
    layers = [linear([[1.0], [1.0]], [0.0, -0.5]), nn.ReLU()]
    for _ in range(n - 1):
        layers += [linear([[2.0, -4.0], [2.0, -4.0]], [0.0, -0.5]), nn.ReLU()]
    return nn.Sequential(*layers, linear([[2.0, -4.0]], [0.0]))


def he(widths, seed, bias=0.3, activation=nn.ReLU):
    """A random net with He's variance."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n, m in pairwise(widths):
        weight = torch.randn(m, n, generator=generator, dtype=torch.float64) * (2 / n) ** 0.5
        offset = torch.randn(m, generator=generator, dtype=torch.float64) * bias
        layers += [linear(weight, offset), activation()]
    return nn.Sequential(*layers[:-1])


def unit_segment(n=1):
    """From -1 to 1 in every coordinate."""
    return -torch.ones(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
