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
