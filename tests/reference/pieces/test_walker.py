"""Counts against an exact-rational walk that shares no code with them."""

import numpy as np
import pytest
import torch

from deephochuli.pieces import count
from tests.reference.pieces import nets
from tests.reference.pieces.walker import Net, walk


def judged(kind, seed):
    """A net, its count with and without exact arithmetic, and the truth."""
    layers, n_in = nets.layers(kind, seed)
    x0, x1 = nets.ends(n_in, seed, kind)
    ends = torch.from_numpy(x0), torch.from_numpy(x1)
    net = Net(layers)
    return count(net, *ends), count(net, *ends, exact=True), walk(layers, x0, x1)


def check(kind, seed):
    plain, exact, (places, bends) = judged(kind, seed)
    truth = len(places) + 1, len(bends) + 1
    assert truth[0] in plain.regions
    assert truth[1] in plain.pieces
    assert plain.n_regions in plain.regions
    assert plain.n_pieces in plain.pieces
    assert exact.is_certain
    assert (exact.n_regions, exact.n_pieces) == truth
    np.testing.assert_allclose(exact.t, np.array(places, dtype=float), rtol=0, atol=1e-12)
    assert [t for t, is_bend in zip(places, exact.is_bend, strict=True) if is_bend] == bends
    return plain.is_certain


@pytest.mark.parametrize("kind", nets.KINDS)
def test_regions_pieces_and_places_equal_the_exact_ones(kind):
    for seed in range(3):
        check(kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", nets.KINDS)
def test_regions_pieces_and_places_of_many_nets_equal_the_exact_ones(kind):
    for seed in range(3, 73):
        check(kind, seed)


def check_disturbed(depth, size, seed):
    layers = nets.disturbed_tents(depth, size, seed)
    ends = torch.tensor([0.0]), torch.tensor([1.0])
    places, bends = walk(layers, [0.0], [1.0])
    plain, exact = count(Net(layers), *ends), count(Net(layers), *ends, exact=True)
    assert len(places) + 1 in plain.regions
    assert len(bends) + 1 in plain.pieces
    assert exact.is_certain
    assert (exact.n_regions, exact.n_pieces) == (len(places) + 1, len(bends) + 1)
    return plain.is_certain


SIZES = (1e-2, 1e-6, 1e-10, 1e-13, 1e-14, 1e-15)


def test_the_interval_holds_the_truth_where_bends_nearly_coincide():
    certain = [check_disturbed(3, size, seed) for size in SIZES for seed in range(2)]
    assert not all(certain)
    assert any(certain)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [3, 4, 5])
@pytest.mark.parametrize("size", SIZES)
def test_the_interval_holds_the_truth_for_many_nets_whose_bends_nearly_coincide(depth, size):
    for seed in range(2, 14):
        check_disturbed(depth, size, seed)


def check_images(seed, kind):
    net, layers, shape = nets.image_net(seed, kind)
    rng = np.random.default_rng(seed)
    x0, x1 = rng.uniform(-1, 1, (2, *shape)).round(1 if kind == "coarse" else 9)
    places, bends = walk(layers, x0.ravel().tolist(), x1.ravel().tolist())
    ends = torch.from_numpy(x0), torch.from_numpy(x1)
    plain, exact = count(net, *ends), count(net, *ends, exact=True)
    assert len(places) + 1 in plain.regions
    assert len(bends) + 1 in plain.pieces
    assert (exact.n_regions, exact.n_pieces) == (len(places) + 1, len(bends) + 1)


@pytest.mark.parametrize("kind", ["plain", "coarse"])
def test_a_convolution_net_has_the_exact_regions_and_pieces(kind):
    check_images(0, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "coarse"])
def test_many_convolution_nets_have_the_exact_regions_and_pieces(kind):
    for seed in range(1, 20):
        check_images(seed, kind)
