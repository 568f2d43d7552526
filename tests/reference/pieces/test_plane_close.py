"""What "no open decision" says of a plane: that the number of regions is the exact one."""

from fractions import Fraction

import numpy as np
import torch
from torch import nn

from deephochuli.pieces import plane
from tests.reference.pieces.flat import regions
from tests.reference.pieces.grazing import through
from tests.reference.pieces.nets import exact, row

CORNERS = [torch.tensor(v, dtype=torch.float64) for v in ([-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0])]
SQUARE = [(Fraction(a), Fraction(b)) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
INPUTS = [
    (Fraction(-1), Fraction(2), Fraction(0)),
    (Fraction(-1), Fraction(0), Fraction(2)),
]


def judged(numbers):
    """A ReLU net from (weight, bias) of each layer: its count, and the exact number of regions."""
    modules, layers = [], []
    for weight, bias in numbers:
        linear = nn.Linear(*weight.shape[::-1], dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.as_tensor(weight), torch.as_tensor(bias)
        modules += [linear, nn.ReLU()]
        layers.append((exact(weight), row(bias), "relu"))
    layers[-1] = (*layers[-1][:2], "linear")
    return plane(nn.Sequential(*modules[:-1]), *CORNERS), len(regions(layers, SQUARE, INPUTS))


def test_a_count_without_open_decisions_is_the_exact_one():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sizes = ((4, 2), (4, 4), (1, 4))
        found, truth = judged([(rng.normal(0, 1, n), rng.normal(0, 0.3, n[0])) for n in sizes])
        assert found.n_close == 0
        assert found.n_regions == truth > 4


def at_a_corner(seed, n=4):
    """A unit that is zero at one corner of the square, but for the rounding of its bias."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.1, 1, (n, 2)), rng.uniform(2.1, 3, n)
    weight = rng.uniform(0.1, 1, (1, n))
    layers = [("affine", exact(first[0]), row(first[1])), ("affine", exact(weight), row([0.0]))]
    (there,) = through(layers, [Fraction(1), Fraction(1)])
    return judged([first, (weight, np.array([-float(there)])), (np.ones((1, 1)), np.ones(1))])


class Maxout(nn.Module):
    """The larger one of two neighbours."""

    def forward(self, x):
        """Half as many outputs as inputs."""
        return x.unflatten(-1, (-1, 2)).amax(-1)


def test_a_takeover_at_a_corner_but_for_a_rounding_is_an_open_decision():
    """The same unit as in `at_a_corner`, as the larger one of itself and zero."""
    n_missed = 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        first = rng.uniform(0.1, 1, (4, 2)), rng.uniform(2.1, 3, 4)
        weight = rng.uniform(0.1, 1, (1, 4))
        layers = [("affine", exact(first[0]), row(first[1])), ("affine", exact(weight), row([0.0]))]
        (there,) = through(layers, [Fraction(1), Fraction(1)])
        layer, unit = nn.Linear(2, 4, dtype=torch.float64), nn.Linear(4, 2, dtype=torch.float64)
        layer.weight.data, layer.bias.data = (torch.as_tensor(each) for each in first)
        unit.weight.data = torch.as_tensor(np.concatenate([weight, np.zeros((1, 4))]))
        unit.bias.data = torch.tensor([-float(there), 0.0], dtype=torch.float64)
        found = plane(nn.Sequential(layer, nn.ReLU(), unit, Maxout()), *CORNERS)
        truth = 2 if there > Fraction(float(there)) else 1
        n_missed += found.n_regions != truth
        assert found.n_close > 0 or found.n_regions == truth
    assert n_missed > 4  # or float64 is right by itself, and nothing is tested


def test_a_line_through_a_corner_but_for_a_rounding_is_an_open_decision():
    all_found = [at_a_corner(seed) for seed in range(24)]
    assert {truth for _, truth in all_found} == {1, 2}
    assert sum(found.n_close > 0 for found, _ in all_found) > 6


def test_a_line_that_float64_puts_just_outside_of_a_corner_is_open_too():
    for seed in range(24):
        found, truth = at_a_corner(seed)
        assert found.n_close > 0 or found.n_regions == truth
