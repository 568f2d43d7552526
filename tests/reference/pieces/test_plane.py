"""Regions of a plane: counts, areas, maps and pieces of random networks, against rationals."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import plane
from tests.reference.pieces.flat import area, n_pieces, regions, value


class Maxout(nn.Module):
    """The larger one of two neighbours."""

    def forward(self, x):
        """Half as many outputs as inputs."""
        return x.unflatten(-1, (-1, 2)).amax(-1)


MODULES = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.125),
    "hardtanh": nn.Hardtanh,
    "maxout": Maxout,
}
CORNERS = [torch.tensor(v, dtype=torch.float64) for v in ([-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0])]
SQUARE = [(Fraction(a), Fraction(b)) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
INPUTS = [
    (Fraction(-1), Fraction(2), Fraction(0)),
    (Fraction(-1), Fraction(0), Fraction(2)),
]


def drawn(seed):
    """A random network, as a module and as fractions: coarse weights make coincidences common."""
    rng = np.random.default_rng(seed)
    bits = int(rng.choice([1, 2, 4, 20]))
    has_bias = rng.random() < 0.7
    modules, layers, n = [], [], 2
    for _ in range(rng.integers(1, 4)):
        kind = str(rng.choice(list(MODULES), p=[0.55, 0.15, 0.15, 0.15]))
        m = 2 * int(rng.integers(1, 4))
        weight = np.round(rng.normal(0, 1, (m, n)) * 2**bits) / 2**bits
        bias = np.round(rng.normal(0, 0.5, m) * 2**bits) / 2**bits * has_bias
        if rng.random() < 0.3:
            weight[-1], bias[-1] = weight[0], bias[0]  # a unit twice
        add(modules, layers, weight, bias, kind)
        n = m // 2 if kind == "maxout" else m
    weight = np.round(rng.normal(0, 1, (1, n)) * 2**bits) / 2**bits * (rng.random() < 0.9)
    add(modules, layers, weight, np.zeros(1), "linear")
    return nn.Sequential(*modules), layers


def add(modules, layers, weight, bias, kind):
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(weight))
        linear.bias.copy_(torch.as_tensor(bias))
    modules.append(linear)
    if kind != "linear":
        modules.append(MODULES[kind]())
    matrix = [[Fraction(w) for w in row] for row in weight.tolist()]
    layers.append((matrix, [Fraction(b) for b in bias.tolist()], kind))


def agree(seed):
    model, layers = drawn(seed)
    truth = regions(layers, SQUARE, INPUTS)
    found = plane(model, *CORNERS)
    areas = sorted(float(area(polygon)) for polygon, _ in truth)
    assert found.n_regions == len(truth), seed
    np.testing.assert_allclose(sorted(found.areas), areas, rtol=1e-9, atol=1e-12)
    assert abs(found.areas.sum() - 1) < 1e-12
    assert n_pieces(truth) in found.pieces, seed
    for polygon, functions in truth:
        n = len(polygon)
        center = (sum(a for a, _ in polygon) / n, sum(b for _, b in polygon) / n)
        at = np.array([1.0, float(center[0]), float(center[1])])
        inside = [i for i in range(found.n_regions) if is_in(found.polygon(i), at[1:])]
        assert len(inside) == 1
        near = at @ found.maps[inside[0]][:, 0]
        assert near == pytest.approx(float(value(functions[0], center)), rel=1e-9, abs=1e-9)


def is_in(polygon, place):
    edge = np.roll(polygon, -1, axis=0) - polygon
    to = place - polygon
    return bool((edge[:, 0] * to[:, 1] - edge[:, 1] * to[:, 0] > 0).all())


@pytest.mark.parametrize("seed", range(24))
def test_regions_areas_maps_and_pieces_are_those_of_exact_arithmetic(seed):
    agree(seed)


@pytest.mark.slow
def test_the_same_for_a_thousand_networks():
    for seed in range(24, 1024):
        agree(seed)
