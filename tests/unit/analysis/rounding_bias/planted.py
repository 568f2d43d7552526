"""Tensors whose rounding takes one side, and others whose rounding does not."""

import torch
from torch import nn

from deephochuli.arithmetic import StochasticKey, round_to

BF16_GAP = 2.0**-7
"""Gap of BF16 numbers in [1, 2), where all planted weights lie, of either sign."""


class Tensors(nn.Module):
    """Some tensors, and nothing else."""

    def __init__(self, n, size, dtype=torch.bfloat16, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sign = torch.randint(0, 2, (n, size), generator=generator) * 2 - 1.0
        values = (1.25 + torch.rand(n, size, generator=generator) / 2) * sign
        self.each = nn.ParameterList([nn.Parameter(row.to(dtype)) for row in values])


class Rounds(torch.optim.Optimizer):
    """Gradient descent in binary64 whose result is rounded to the weights' format in one way."""

    def __init__(self, params, lr=1.0, rounding="nearest-even"):
        super().__init__(params, {"lr": lr})
        self.rounding, self.n_steps = rounding, 0

    def step(self, closure=None):
        self.n_steps += 1
        for group in self.param_groups:
            for stream, p in enumerate(group["params"]):
                exact = p.detach().double() - group["lr"] * p.grad.double()
                if p.dtype is torch.float64:
                    p.data.copy_(exact)
                    continue
                key = StochasticKey(5, stream=stream, step=self.n_steps)
                options = {"key": key} if self.rounding == "stochastic" else {}
                made = round_to(exact, "bf16", rounding=self.rounding, **options)
                p.data.copy_(made)


def updates(kind, p, generator):
    """Gradients, lr 1: in gaps of BF16 for weights of magnitude 1 to 2."""
    noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    if kind == "large":  # many gaps, either sign
        made = noise * 3
    elif kind == "small":  # far below half a gap, either sign
        made = noise * 0.05
    elif kind == "one sign":  # far below half a gap, one sign for the tensor
        made = noise.abs() * 0.05
    else:  # "own sign": far below half a gap, one sign for each element
        made = noise.abs() * 0.05 * (torch.arange(p.numel()) % 2 * 2 - 1)
    return (made * BF16_GAP).to(p.dtype)


def train(model, optimizer, kind, n_steps, seed=1):
    """Steps with gradients that are given; weights that left [1, 2) go back into it."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        for p in model.parameters():
            p.grad = updates(kind, p, generator)
        optimizer.step()
        for p in model.parameters():
            low, high = p.data.abs() < 1.125, p.data.abs() > 1.875
            p.data = torch.where(low | high, (1.5 * p.data.sign()).to(p.dtype), p.data)
