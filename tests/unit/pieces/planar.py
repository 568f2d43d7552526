"""Networks of two inputs."""

import torch
from torch import nn


def net(width, depth, seed=0):
    """A random ReLU network with one output."""
    generator = torch.Generator().manual_seed(seed)
    modules, n = [], 2
    for size in [width] * depth + [1]:
        layer = nn.Linear(n, size, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.normal_(0, (2 / n) ** 0.5, generator=generator)
            layer.bias.normal_(0, 0.2, generator=generator)
        modules += [layer, nn.ReLU()]
        n = size
    return nn.Sequential(*modules[:-1])


def hat():
    """0, then up, then down, then 0 again: four strips of the square of side 2 around zero."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0]] * 3))
        model[0].bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
        model[2].weight.copy_(torch.tensor([[1.0, -2.0, 1.0]]))
        model[2].bias.zero_()
    return model
