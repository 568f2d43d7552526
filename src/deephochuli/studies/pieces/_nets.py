"""Groups of small dense ReLU networks of one input, trained and perturbed side by side."""

# torch's types for block matrices are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weights [nets, outputs, inputs] and biases [nets, outputs] of each layer, the output's last."""


class Group(nn.Module):
    """As many networks of one shape as there are seeds, computed as batched products."""

    def __init__(self, layers: Layers) -> None:
        """Take copies of the layers as parameters."""
        super().__init__()
        self.weight = nn.ParameterList([w.clone() for w, _ in layers])
        self.bias = nn.ParameterList([b.clone() for _, b in layers])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [nets, points, 1] for inputs [nets, points, 1]."""
        return self.pre_activations(x)[-1]

    def pre_activations(self, x: Tensor) -> list[Tensor]:
        """Pre-activations [nets, points, units] of each layer; those of the last are outputs."""
        found: list[Tensor] = []
        for w, b in zip(self.weight, self.bias, strict=True):
            h = torch.relu(found[-1]) if found else x
            found.append(torch.baddbmm(b.unsqueeze(1), h, w.transpose(1, 2)))
        return found

    @property
    def n_nets(self) -> int:
        """How many networks there are."""
        return len(self.bias[0])

    def one(self, index: int) -> nn.Sequential:
        """One of the networks as an ordinary module, in float64."""
        parts: list[nn.Module] = []
        for w, b in zip(self.weight, self.bias, strict=True):
            # Without an initialisation, which would draw from torch's own generator.
            linear = nn.Linear(w.shape[2], w.shape[1], device="meta", dtype=torch.float64)
            linear = linear.to_empty(device="cpu")
            with torch.no_grad():
                linear.weight.copy_(w[index])
                linear.bias.copy_(b[index])
            parts += [linear, nn.ReLU()]
        return nn.Sequential(*parts[:-1])


def repeated(layers: Layers, n_nets: int) -> Layers:
    """The same network, given without the first dimension, as often as there are seeds."""
    return [(w.expand(n_nets, *w.shape), b.expand(n_nets, *b.shape)) for w, b in layers]


def he(width: int, depth: int, n_nets: int, seed: int, bias: float = 0.1) -> Layers:
    """Random networks: normal weights of variance 2 / inputs, normal biases.

    Args:
        width: Units of each hidden layer.
        depth: Hidden layers.
        n_nets: How many networks.
        seed: Decides the numbers.
        bias: Standard deviation of the biases.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = [1, *[width] * depth, 1]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return [
        (normal(n_nets, m, n) * (2 / n) ** 0.5, normal(n_nets, m) * bias)
        for n, m in pairwise(sizes)
    ]


def teeth(depth: int, n_chains: int = 1, readout: str = "last") -> Layers:
    """Scaled teeth: 2^depth pieces on [0, 1], and no pre-activation steeper than 2.

    G_0 = x and G_k = G_(k-1) - 2 relu(G_(k-1) - 2^-k): a zigzag of slopes 1 and -1 and height
    2^-k. A chain has two units in each layer, relu(G_(k-1)) and relu(G_(k-1) - 2^-k). With the
    readout "square" a third unit adds up x - sum of 2^-k G_k, which is x^2 interpolated at
    multiples of 2^-depth: Yarotsky's construction (2017), written so that slopes stay bounded.

    Args:
        depth: Hidden layers.
        n_chains: Chains side by side; the output is their mean.
        readout: "last": the output is G_depth. "square": see above.

    Returns:
        Layers without the dimension of nets.

    Example:
        >>> layers = teeth(3)
        >>> [tuple(w.shape) for w, _ in layers]
        [(2, 1), (2, 2), (2, 2), (1, 2)]
    """
    chain = _square_chain(depth) if readout == "square" else _tooth_chain(depth, height=0.5)
    return _side_by_side(chain, n_chains)


def tents(depth: int) -> Layers:
    """The tent map x -> 1 - |2 x - 1| composed `depth` times: slopes of 2^depth.

    Telgarsky's construction (2016).
    """
    return _tooth_chain(depth, height=1.0)


def _tooth_chain(depth: int, height: float) -> list[tuple[Tensor, Tensor]]:
    """Zigzags of which each is `height` times as high as the one before; the first is 1 high."""
    rise = 2 * height
    combine = torch.tensor([[rise, -2 * rise]], dtype=torch.float64)
    both = torch.ones(2, 1, dtype=torch.float64)
    layers: list[tuple[Tensor, Tensor]] = []
    for k in range(depth):
        offset = torch.tensor([0.0, -(height**k) / 2], dtype=torch.float64)
        layers.append((both if k == 0 else both @ combine, offset))
    layers.append((combine, torch.zeros(1, dtype=torch.float64)))
    return layers


def _square_chain(depth: int) -> list[tuple[Tensor, Tensor]]:
    """A chain of scaled teeth with a unit that adds them up to an interpolant of x^2."""
    layers: list[tuple[Tensor, Tensor]] = []
    tooth = torch.tensor([1.0], dtype=torch.float64)  # G_(k-1) as a row over the units
    total = torch.tensor([1.0], dtype=torch.float64)  # x - sum of 2^-j G_j for j < k
    for k in range(1, depth + 1):
        offset = torch.tensor([0.0, -(2.0**-k), 0.0], dtype=torch.float64)
        layers.append((torch.stack([tooth, tooth, total]), offset))
        tooth = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
        total = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - 2.0**-k * tooth
    layers.append((total.unsqueeze(0), torch.zeros(1, dtype=torch.float64)))
    return layers


def _side_by_side(chain: list[tuple[Tensor, Tensor]], n_chains: int) -> Layers:
    """Copies of a chain that share the input and whose outputs are averaged."""
    (w, b), *middle, (out, out_bias) = chain
    layers = [(w.repeat(n_chains, 1), b.repeat(n_chains))]
    layers += [(torch.block_diag(*[w] * n_chains), b.repeat(n_chains)) for w, b in middle]
    return [*layers, (out.repeat(1, n_chains) / n_chains, out_bias)]
