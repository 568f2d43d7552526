"""Chains with one output, counted without following jumps: against chains that follow them."""

import numba as nb
import numpy as np
import pytest
import torch

from deephochuli.pieces import Counter, _back, _chain, _links, _memory, _passes, _segments
from tests.unit.pieces.nets import he, sawtooth


@nb.njit
def jumps(tables, which, origin, size, on, width):
    """See `_back.jumps`, in fresh memory."""
    now, then = np.full(len(which) * width, np.nan), np.full(len(which) * width, np.nan)
    return _back.jumps(tables, which, origin, size, on, (now, then, _passes.scratch(width)))


class Ways:
    """Counts a net without following jumps, and following them."""

    def __init__(self, net, n_segments=6):
        n, generator = net[0].weight.shape[1], torch.Generator().manual_seed(7)
        more = torch.randn(2, n_segments, n, generator=generator, dtype=torch.float64)
        self.starts, self.ends = -1 - more[0] / 8, 1 + more[1] / 8
        self.counter = Counter(net, self.starts[0])

    def found(self):
        """What is found on each segment."""
        return self.counter.count_many(self.starts, self.ends)

    def followed(self, monkeypatch):
        """The same by a chain that has many outputs, as far as anybody knows."""
        with monkeypatch.context() as patch:
            patch.setattr(_chain.Chain, "has_one_output", False)
            return self.found()

    def calls(self, monkeypatch):
        """How many segments were looked at, and how many left undone, in each call."""
        seen = []
        run = _segments.run_values

        def watched(*args):
            n, facts, *rest = run(*args)
            seen.append((n, int((facts[:n, _segments.DONE] == 0).sum())))
            return n, facts, *rest

        with monkeypatch.context() as patch:
            patch.setattr(_segments, "run_values", watched)
            self.found()
        return seen


def assert_same(found, other):
    """The same bends, as sure."""
    assert (found.regions, found.pieces) == (other.regions, other.pieces)
    assert found.n_ambiguous == other.n_ambiguous
    for name in ("t", "layer", "unit", "is_bend"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name))
    np.testing.assert_allclose(found.jump, other.jump, rtol=1e-10)
    assert 0.99 * other.max_error <= found.max_error <= 1.25 * other.max_error


def mixed(seed):
    """A random net of layers of any width up to 90."""
    generator = np.random.default_rng(seed)
    widths = generator.integers(2, 90, size=generator.integers(1, 9)).tolist()
    return he([int(generator.integers(1, 5)), *widths, 1], seed, bias=0.1)


def poisoned(desk):
    """Fill memory that is handed out with what must not be read."""
    for block in desk:
        block.view(np.uint64)[:] = np.uint64(0xFFFFFFFFFFFFFFFF)  # NaN, and each unit on


@pytest.mark.parametrize("seed", range(12))
def test_what_is_found_does_not_depend_on_following_jumps(seed, monkeypatch):
    ways = Ways(mixed(seed))
    poisoned(_memory.desk())
    found = ways.found()
    for each, other in zip(found, ways.followed(monkeypatch), strict=True):
        assert_same(each, other)
    assert sum(len(each.t) for each in found) > 10
    ((n, n_undone),) = ways.calls(monkeypatch)
    assert n == 6
    assert n_undone <= 2


def test_jumps_are_differences_of_slopes():
    net = he([2, 24, 24, 24, 1], 3, bias=0.1)
    ways = Ways(net, 1)
    (found,) = ways.found()
    t = np.concatenate([[0.0], found.t, [1.0]])
    y = found.evaluate().ravel()
    slopes = np.diff(y) / np.diff(t) / found.length
    wide = np.minimum(np.diff(t)[1:], np.diff(t)[:-1]) > 1e-4
    assert wide.sum() > 20
    np.testing.assert_allclose(
        np.abs(np.diff(slopes))[wide], found.jump[wide], rtol=1e-9, atol=1e-10
    )


def twins():
    """Units of which each is there twice: two bends at one place."""
    net = he([2, 8, 8, 1], 0)
    net[0].weight.data[4:], net[0].bias.data[4:] = net[0].weight.data[:4], net[0].bias.data[:4]
    return net


def unsure():
    """A derivative that is a rounding beside what it is summed from."""
    net = he([2, 8, 2, 1], 1)
    net[2].weight.data[1] = net[2].weight.data[0] * (1 + 2.0**-52)
    net[2].bias.data[:] = 9.0
    net[4].weight.data[:] = torch.tensor([[1.0, -1.0]])
    return net


UNDONE = {
    "coincident": twins,
    "exact": lambda: sawtooth(4),
    "open": unsure,
    "too small": lambda: shrunk([2, 8, 8, 1], 1.0, 1e-150),
    "too small for a product": lambda: shrunk([2, 8, 1], 1e-5, 2.0**-1074),
}


def shrunk(widths, inner, outer):
    """A net with small weights in its first layer, and smaller ones in its last."""
    net = he(widths, 2)
    net[0].weight.data *= inner
    net[0].bias.data *= inner
    net[-1].weight.data[:] = outer
    return net


@pytest.mark.parametrize("kind", UNDONE)
def test_where_jumps_have_to_be_followed_they_are(kind, monkeypatch):
    ways = Ways(UNDONE[kind]())
    if kind == "exact":
        ways.starts, ways.ends = torch.zeros(6, 1), torch.arange(1, 7)[:, None] / 8
    for each, other in zip(ways.found(), ways.followed(monkeypatch), strict=True):
        assert_same(each, other)
    assert ways.calls(monkeypatch) == [(6, 6)]


def test_some_segments_are_left_undone_between_others(monkeypatch):
    net = he([1, 12, 12, 1], 5)
    net[0].weight.data[1], net[0].bias.data[1] = net[0].weight.data[0], net[0].bias.data[0]
    twin = -float(net[0].bias.data[0] / net[0].weight.data[0])  # where two units bend
    ways = Ways(net)
    ways.starts, ways.ends = torch.linspace(-9, 8, 18)[:, None], torch.linspace(-8, 9, 18)[:, None]
    found = ways.found()
    for each, other in zip(found, ways.followed(monkeypatch), strict=True):
        assert_same(each, other)
    for a, b, each in zip(ways.starts, ways.ends, found, strict=True):
        np.testing.assert_array_equal(ways.counter.count(a, b).jump, each.jump)
    assert ways.calls(monkeypatch) == [(18, 1)], twin


def test_segments_with_too_many_rows_are_not_begun(monkeypatch):
    ways = Ways(he([1, *[16] * 6, 1], 0))
    monkeypatch.setattr("deephochuli.pieces._chain.BLOCK", 1 << 9)  # 30 rows
    for each, other in zip(ways.found(), ways.followed(monkeypatch), strict=True):
        assert_same(each, other)
    assert ways.calls(monkeypatch) == [(6, 6)]


@pytest.mark.parametrize("widths", [(3, 7, 5), (40, 70, 9, 130), (8,), (64, 64, 64, 64)])
def test_derivatives_by_sides_are_those_of_dense_products(widths):
    """A net whose units are on at random: derivatives at bends of all layers, in any order."""
    generator = np.random.default_rng(len(widths))
    net = he([2, *widths, 1], 0)
    counter = Counter(net, torch.zeros(2, dtype=torch.float64))
    chain = counter._chains[0]
    weights = [layer.weight.detach().numpy() for layer in net[::2]]
    n, n_layers = 53, len(widths)
    layer, size = generator.integers(0, n_layers, n), generator.random(n) + 0.5
    unit = np.array([generator.integers(0, widths[i]) for i in layer])
    # Which units are on changes at bends of their layer only.
    is_on = [generator.random(width) < 0.5 for width in widths]
    words = -(-max(int(_links.width_of(width)) for width in widths) // 64)
    on, expected = np.zeros((n_layers, n, words), np.uint64), []
    for p in range(n):
        is_on[layer[p]][unit[p]] ^= True
        v = weights[-1][0]
        for i in range(n_layers - 1, layer[p], -1):
            v = weights[i].T @ (v * is_on[i])
        expected.append(abs(v[unit[p]]) * size[p])
        for i, each in enumerate(is_on):
            for j in np.flatnonzero(each):
                on[i, p, j // 64] |= np.uint64(1) << np.uint64(j % 64)
    width = int(_links.width_of(max(widths)))
    jump, bound, is_sure = jumps(chain.tables, np.arange(n), (layer, unit), size, on, width)
    assert is_sure
    error = np.abs(jump - expected)
    assert (error <= bound + 1e-15 * np.array(expected)).all()
    np.testing.assert_allclose(jump, expected, rtol=1e-11, atol=1e-13)
    assert (bound <= 1e-9).all()
