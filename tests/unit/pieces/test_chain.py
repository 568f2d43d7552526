"""Layers at one go, and the vector code below them, against the steps one by one and numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import Counter, _assembly, _chain, _panels, _sparse, count
from deephochuli.pieces._assembly import joined, parts
from deephochuli.pieces._chain import MOST_UNITS, chains
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._memory import BLOCK
from deephochuli.pieces._moves import prepare
from deephochuli.pieces._sparse import LANES
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import walk
from tests.unit.pieces.nets import he, linear, sawtooth, unit_segment


def written(net, ends):
    """The program of a net, and what is found once for it."""
    program = trace(net, torch.stack(ends).double(), None, HANDLERS)
    return program, prepare(program)


def both_ways(net, ends, **options):
    """What is found with layers at one go, and step by step."""
    program, prepared = written(net, ends)
    rows = torch.stack(ends).double().numpy()
    ways = chains(program, prepared), {}
    return [joined(parts(walk(program, prepared, rows, linked=way, **options))) for way in ways]


def assert_same(one, other):
    """Two ways found the same bends, and are equally sure of them."""
    np.testing.assert_allclose(one.t, other.t, atol=1e-12)
    np.testing.assert_array_equal(one.step, other.step)
    np.testing.assert_array_equal(one.unit, other.unit)
    np.testing.assert_array_equal(one.is_bend, other.is_bend)
    np.testing.assert_allclose(one.jump, other.jump, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.open_low, other.open_low, atol=1e-12)
    np.testing.assert_allclose(one.open_high, other.open_high, atol=1e-12)
    assert 0 <= one.max_error <= 1.01 * other.max_error  # strides, of wide layers, add to theirs
    assert (one.regions, one.pieces) == (other.regions, other.pieces)


def rounded(net, dtype):
    """A net with the weights that a format has."""
    for parameter in net.parameters():
        parameter.data = parameter.data.to(dtype).double()
    return net


NETS = {
    "bias": lambda seed: he([2, 9, 7, 12, 2], seed),
    "no bias": lambda seed: he([3, 9, 8, 1], seed, bias=0.0),
    "bf16": lambda seed: rounded(he([2, 16, 16, 16, 3], seed), torch.bfloat16),
    "fp8": lambda seed: rounded(he([2, 12, 12, 1], seed), torch.float8_e4m3fn),
    "deep": lambda seed: he([1, *[11] * 24, 1], seed, bias=0.1),
    "wide": lambda seed: he([2, 130, MOST_UNITS, 5], seed),
    "sawtooth": lambda seed: sawtooth(4 + seed),
}


@pytest.mark.parametrize("kind", NETS)
def test_layers_at_one_go_find_what_steps_find(kind):
    for seed in range(4):
        net = NETS[kind](seed)
        n = net[0].weight.shape[1]
        assert_same(*both_ways(net, unit_segment(n)))


def test_little_memory_cuts_chains_and_changes_nothing():
    for kind in ("bias", "bf16", "deep"):
        net = NETS[kind](1)
        ends = unit_segment(net[0].weight.shape[1])
        whole, _ = both_ways(net, ends)
        cut, steps = both_ways(net, ends, most_bytes=1)
        assert_same(cut, steps)
        np.testing.assert_array_equal(whole.unit, cut.unit)


def test_units_near_their_knots_are_open_for_both_ways():
    net = he([1, 10, 10, 10, 1], 0, bias=0.0)
    for layer in (net[2], net[4]):  # sums that cancel: a rounding is all that is left
        layer.weight.data[5:] = layer.weight.data[:5] * (1 + 2**-30)
        layer.weight.data[5:, ::2] -= layer.weight.data[5:, ::2] * 2**-30
        layer.bias.data[:] = 2**-55
    ends = -torch.ones(1, dtype=torch.float64), torch.tensor([1.5], dtype=torch.float64)
    one, other = both_ways(net, ends)
    assert len(other.open_low)
    assert_same(one, other)


def test_a_unit_that_is_zero_at_an_earlier_bend_changes_its_jump():
    layers = linear([[1.0], [-1.0]], [0.0, 0.0]), nn.ReLU(), linear([[3.0, -1.0]], [0.0]), nn.ReLU()
    found = count(nn.Sequential(*layers, linear([[1.0]], [0.0])), *unit_segment())
    assert found.t.tolist() == [0.5]
    assert found.jump.tolist() == [3.0]  # not 2, by which the slope before the ReLU changes


def test_the_chain_is_used_and_gives_up_where_there_is_no_room(monkeypatch):
    net, ends = he([1, *[32] * 6, 1], 0), unit_segment()
    done = []
    followed = _chain.followed

    def watched(chain, state, most_rows):
        found = followed(chain, state, most_rows)
        done.append(found and found[0])
        return found

    monkeypatch.setattr("deephochuli.pieces._walk.followed", watched)
    program, prepared = written(net, ends)
    rows = torch.stack(ends).numpy()
    whole = joined(parts(walk(program, prepared, rows)))
    assert done == [len(program.steps)]
    cut = joined(parts(walk(program, prepared, rows, most_bytes=1)))
    assert any(n and n < len(program.steps) for n in done)
    np.testing.assert_array_equal(whole.unit, cut.unit)


def test_a_chain_ends_where_a_value_is_needed_again():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(he([3, 3, 3, 3, 2], 0)[::2])

        def forward(self, x):
            x = torch.relu(self.layers[0](x))
            x = x + torch.relu(self.layers[1](x))
            return self.layers[3](torch.relu(self.layers[2](x)))

    net, ends = Residual(), unit_segment(3)
    program, prepared = written(net, ends)
    lengths = {i: sum(chain.steps) for i, chain in chains(program, prepared).items()}
    assert lengths == {0: 2, 5: 3, 7: 1}
    assert_same(*both_ways(net, ends))


def test_wider_layers_and_vectors_of_vectors_are_no_links():
    program, prepared = written(he([2, MOST_UNITS + 1, 4, 1], 0), unit_segment(2))
    assert sorted(chains(program, prepared)) == [2, 4]
    rows = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3), nn.ReLU(), nn.Flatten())
    program, prepared = written(rows.double(), unit_segment(4))
    assert chains(program, prepared) == {}


def test_bends_that_are_alone_are_judged_as_by_the_general_rule(monkeypatch):
    taken = []
    apart = _assembly._apart

    def watched(*args):
        taken.append(True)
        return apart(*args)

    monkeypatch.setattr(_assembly, "_apart", watched)
    nets = [he([1, 12, 12, 1], seed) for seed in range(6)]
    nets.append(nn.Sequential(*he([1, 8, 8, 8], 0), linear(torch.zeros(1, 8), [0.0])))
    nets[-1][4].weight.data[:, 3:] = 0.0  # bends that do not reach the output
    nets.append(he([1, 12, 12, 2], 6))
    nets[-1][4].weight.data[:, 4:] = 1e-30  # bends that may or may not: smaller than their errors
    counters = [Counter(net, torch.zeros(1)) for net in nets]
    judged = [counter.count(*unit_segment()) for counter in counters]
    assert len(taken) == 1  # the net with two linear layers behind each other; others are compiled
    taken.clear()
    assert judged[-1].n_ambiguous
    quick = [walked(counter) for counter in counters]
    assert len(taken) == len(nets)
    nothing = np.zeros(0)
    monkeypatch.setattr(_assembly.alone, "matched", lambda *_: (False, nothing, nothing))
    for counter, found, as_well in zip(counters, judged, quick, strict=True):
        slow = walked(counter)
        for other in (as_well, slow):
            assert (found.regions, found.pieces) == (other.regions, other.pieces)
            assert found.n_ambiguous == len(other.open_low)
            np.testing.assert_array_equal(found.t, other.t)
            np.testing.assert_array_equal(found.is_bend, other.is_bend)
            np.testing.assert_allclose(found.jump, other.jump / found.length, rtol=1e-13)
    assert len(taken) == len(nets)


def walked(counter):
    """What a walk finds that knows of one segment only."""
    ends = torch.stack(unit_segment()).numpy()
    known = counter._program, counter._prepared, ends
    return joined(parts(walk(*known, linked=counter._chains)))


FAR_EVENTS = {
    "low": [0.3, 0.6], "high": [0.5, 0.8], "left": [1, -1], "right": [-1, 1], "weight": [1, 1]
}  # fmt: skip


def matched(events):
    """What is said of events on bends at 0.4 and 0.7."""
    places = (np.array(events[k], float) for k in ("low", "high"))
    others = (np.array(events[k], np.int8) for k in ("left", "right"))
    return _assembly.alone.matched(
        np.array([0.4, 0.7]), *places, *others, np.array(events["weight"], np.int32)
    )


def test_events_far_from_each_other_are_those_of_their_bends():
    is_alone, begin, end = matched(FAR_EVENTS)
    assert is_alone
    np.testing.assert_array_equal([begin, end], [FAR_EVENTS["low"], FAR_EVENTS["high"]])


@pytest.mark.parametrize(
    "change",
    [
        {"low": [0.3, 0.45]},  # the second begins before the first ends
        {"low": [0.3, 0.5]},  # they touch
        {"left": [0, -1]},  # a side is not known
        {"right": [1, 1]},  # no change
        {"weight": [1, 2]},
        {"low": [0.2, 0.35], "high": [0.5, 0.45]},  # two on one bend, none on the other
        {"low": [0.45, 0.6]},  # beside its bend
        {"low": [0.3], "high": [0.5], "left": [1], "right": [-1], "weight": [1]},
    ],
)
def test_events_that_touch_or_are_open_are_left_to_the_general_rule(change):
    assert not matched(FAR_EVENTS | change)[0]


def whole_numbers(generator, *shape):
    """Numbers whose products and sums are exact, half of them zero."""
    x = generator.integers(-8, 9, size=shape).astype(float)
    return x * generator.integers(0, 2, size=shape)


@pytest.mark.parametrize("n_rows", [2, 4])
@pytest.mark.parametrize("n_vectors", [1, 2, 3, 4, 5, 8, 11])
def test_sparse_products_are_products(n_rows, n_vectors):
    generator = np.random.default_rng(n_vectors)
    n, m = 3 * LANES, n_vectors * LANES
    rows, matrix = whole_numbers(generator, n_rows, n), whole_numbers(generator, n, m)
    offsets, out = whole_numbers(generator, 2, m), np.full((n_rows, m), np.nan)
    live, facts = np.full(n + LANES, -1), np.full(2 * n_rows, np.nan)
    raw = rows.copy()
    at = tuple(row.ctypes.data for row in rows)
    n_live = _sparse.read(at, n // LANES, True, live.ctypes.data, facts.ctypes.data)
    rectified = np.maximum(raw[::2], 0)
    np.testing.assert_array_equal(rows[::2], rectified)
    np.testing.assert_array_equal(rows[1::2], np.where(raw[::2] >= 0, raw[1::2], 0))
    np.testing.assert_array_equal(live[:n_live], np.flatnonzero(rows.any(axis=0)))
    np.testing.assert_array_equal(facts[:n_rows], (rows**2).sum(axis=1))
    np.testing.assert_array_equal(facts[n_rows:], (rows != 0).sum(axis=1))
    numbers = matrix.ctypes.data, offsets[0].ctypes.data, offsets[1].ctypes.data
    to = tuple(row.ctypes.data for row in out)
    _sparse.multiplied(live.ctypes.data, n_live, at, numbers, to, n_vectors)
    np.testing.assert_array_equal(out, rows @ matrix + np.tile(offsets, (n_rows // 2, 1)))


def test_rows_are_left_as_they_are_without_a_relu():
    generator = np.random.default_rng(0)
    rows = whole_numbers(generator, 2, LANES)
    before, live, facts = rows.copy(), np.zeros(2 * LANES, np.int64), np.zeros(4)
    at = tuple(row.ctypes.data for row in rows)
    _sparse.read(at, 1, False, live.ctypes.data, facts.ctypes.data)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(
    ("n_rows", "n", "m"), [(1, 5, 3), (4, 40, 32), (130, 33, 71), (263, 64, 64)]
)
def test_products_by_panels_are_products(n_rows, n, m):
    generator = np.random.default_rng(n_rows)
    x, weight = whole_numbers(generator, n_rows, n), whole_numbers(generator, m, n)
    x[::3] *= generator.random((len(x[::3]), n)) < 0.1  # rows with few entries, or none
    bias = whole_numbers(generator, m)
    panels, offset = _panels.cut(weight, bias)
    np.testing.assert_array_equal(_panels.product(x, panels, offset, m), x @ weight.T + bias)


def test_blocks_hold_the_rows_of_a_chain():
    chain = next(iter(chains(*written(he([1, 3, 3, 1], 0), unit_segment())).values()))
    (first, *_), numbers, whole, _ = _chain._room(chain, 1 << 14)
    assert numbers.shape[1] * chain.width <= len(first) <= 2 * BLOCK
    assert numbers.size + whole.size <= BLOCK
