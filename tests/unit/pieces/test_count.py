"""What a count says of functions whose pieces are known, and what must not change it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import Interval, count, count_path
from tests.unit.pieces.nets import he, linear, sawtooth, unit_segment

ZERO, ONE = torch.tensor([0.0]), torch.tensor([1.0])


@pytest.mark.parametrize("n", range(1, 15))
def test_a_sawtooth_has_two_to_the_n_pieces_and_no_doubt(n):
    found = count(sawtooth(n), ZERO, ONE)
    assert (found.n_regions, found.n_pieces) == (2**n, 2**n)
    assert found.is_certain
    np.testing.assert_array_equal(found.t, np.arange(1, 2**n) / 2**n)


@pytest.mark.slow
@pytest.mark.parametrize("n", range(15, 21))
def test_a_large_sawtooth_has_two_to_the_n_pieces_and_no_doubt(n):
    found = count(sawtooth(n), ZERO, ONE)
    assert (found.n_regions, found.n_pieces) == (2**n, 2**n)
    assert found.is_certain
    np.testing.assert_array_equal(found.t, np.arange(1, 2**n) / 2**n)


def test_origin_jump_and_length_of_a_bend():
    net = nn.Sequential(
        linear([[1.0], [1.0]], [0.0, -0.75]), nn.ReLU(), linear([[1.0, -6.0]], [2.0])
    )
    found = count(net, torch.tensor([-1.0]), torch.tensor([1.0]))
    assert found.t.tolist() == [0.5, 0.875]
    assert [(found.origin(i).layer, found.origin(i).unit) for i in range(2)] == [("1", 0), ("1", 1)]
    assert found.jump.tolist() == [1.0, 6.0]
    assert (found.length, found.n_units, found.smallest_gap) == (2.0, 2, 0.125)
    assert found.evaluate().tolist() == [[2.0], [2.0], [2.75], [1.5]]
    assert found.patterns().tolist() == [[0, 0], [1, 0], [1, 1]]
    assert found.bends_by_layer() == {"1": 2}


def test_a_bend_that_no_path_carries_on_is_a_region_and_no_piece():
    dead = linear([[1.0, 1.0]], [-100.0])
    net = nn.Sequential(linear([[1.0], [1.0]], [0.0, 0.5]), nn.ReLU(), dead, nn.ReLU())
    found = count(net, *unit_segment())
    assert (found.n_regions, found.n_pieces) == (3, 1)
    assert found.is_certain
    assert found.is_bend.tolist() == [False, False]


def test_a_weight_of_zero_carries_no_bend_on():
    net = nn.Sequential(linear([[0.3], [0.7]], [0.1, 0.2]), nn.ReLU(), linear([[0.0, 0.9]], [0.1]))
    found = count(net, *unit_segment())
    assert (found.n_regions, found.n_pieces) == (3, 2)
    assert found.is_certain


def test_bends_that_cancel_are_regions_and_no_pieces():
    """relu(x) - relu(-x) = x: two units bend at one place, and the function does not."""
    net = nn.Sequential(
        linear([[0.3], [-0.3]], [0.0, 0.0]), nn.ReLU(), linear([[1.0, -1.0]], [0.0])
    )
    plain = count(net, torch.tensor([-0.7]), torch.tensor([1.1]))
    exact = count(net, torch.tensor([-0.7]), torch.tensor([1.1]), exact=True)
    assert 2 in plain.regions
    assert 1 in plain.pieces
    assert (exact.n_regions, exact.n_pieces) == (2, 1)
    assert exact.n_exact == 1


def test_without_biases_all_bends_meet_at_the_origin():
    net = he([3, 8, 8, 1], seed=4, bias=0.0)
    x1 = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    plain, exact = count(net, -0.5 * x1, x1), count(net, -0.5 * x1, x1, exact=True)
    assert 2 in plain.regions
    assert exact.n_regions == 2
    assert exact.t == pytest.approx([1 / 3], abs=1e-15)


@pytest.mark.parametrize("slope", [1.0, 1 - 1e-9, 0.0])
def test_a_leaky_slope_of_one_leaves_one_piece(slope):
    net = he([1, 8, 8, 1], seed=0, activation=lambda: nn.LeakyReLU(slope))
    found = count(net, *unit_segment())
    assert found.n_regions > 8
    assert found.n_pieces == (1 if slope == 1.0 else found.n_regions)
    assert found.is_certain


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_segment_has_the_same_pieces(seed):
    net = he([2, 12, 12, 12, 1], seed)
    x0, x1 = unit_segment(2)
    middle = x0 + 0.37 * (x1 - x0)
    whole = count(net, x0, x1)
    parts = count_path(net, [x0, middle, x1])
    assert whole.is_certain
    assert whole.n_regions == sum(part.n_regions for part in parts) - 1
    assert whole.n_pieces == sum(part.n_pieces for part in parts) - 1


@pytest.mark.parametrize("seed", range(3))
def test_the_order_and_the_scale_of_units_do_not_matter(seed):
    net = he([1, 10, 10, 1], seed)
    changed = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(seed)
    for before, after in ((0, 2), (2, 4)):
        order = torch.randperm(10, generator=generator)
        scale = 2.0 ** torch.randint(-20, 20, (10,), generator=generator).double()
        own, following = changed[before], changed[after]
        own.weight.data = own.weight.data[order] * scale[:, None]
        own.bias.data = own.bias.data[order] * scale
        following.weight.data = following.weight.data[:, order] / scale
    a, b = count(net, *unit_segment()), count(changed, *unit_segment())
    np.testing.assert_allclose(b.t, a.t, rtol=0, atol=1e-14)
    assert a.is_certain
    assert a.n_regions in b.regions
    assert a.n_pieces in b.pieces
    exact = count(changed, *unit_segment(), exact=True)
    assert (exact.regions, exact.pieces) == (a.regions, a.pieces)


@pytest.mark.parametrize("make", [lambda: he([1, 40, 40, 40, 1], 0), lambda: sawtooth(10)])
def test_chunks_change_nothing(make):
    net = make()
    whole = count(net, ZERO.double(), ONE.double())
    parts = count(net, ZERO.double(), ONE.double(), most_bytes=1)  # 64 rows at a time
    np.testing.assert_allclose(parts.t, whole.t, rtol=0, atol=1e-14)
    assert (parts.regions, parts.pieces) == (whole.regions, whole.pieces)
    assert (parts.layer == whole.layer).all()
    assert (parts.unit == whole.unit).all()


def test_memory_does_not_grow_with_the_count():
    import tracemalloc

    peaks = []
    for n in (8, 10):
        net = sawtooth(n)
        tracemalloc.start()
        found = count(net, ZERO, ONE, most_bytes=1 << 14)
        peaks.append(tracemalloc.get_traced_memory()[1] - 100 * found.n_regions)
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + (1 << 22)


def test_progress_is_told_and_ends_at_one():
    told = []
    count(sawtooth(10), ZERO, ONE, most_bytes=1, report=lambda *now: told.append(now))
    assert len(told) > 5
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, 2**10 - 1)


def test_the_function_is_affine_between_places():
    net = he([3, 9, 9, 2], 5)
    found = count(net, *unit_segment(3))
    places = found.places()
    middles = 0.5 * (places[1:] + places[:-1])
    ends = found.evaluate()
    np.testing.assert_allclose(found.evaluate(middles), 0.5 * (ends[1:] + ends[:-1]), atol=1e-13)


def test_patterns_of_neighbours_differ_in_the_unit_that_bends():
    net = he([2, 9, 9, 1], 6)
    found = count(net, *unit_segment(2))
    patterns = found.patterns()
    assert patterns.shape == (found.n_regions, found.n_units)
    for i in range(len(found.t)):
        changed = np.nonzero(patterns[i] != patterns[i + 1])[0].tolist()
        assert changed == [found.unit[i] + 9 * found.layer[i]]


def test_an_inner_module_is_counted_from_its_own_inputs():
    net = nn.Sequential(nn.Linear(3, 2), he([2, 6, 1], 1))
    x0, x1 = unit_segment(2)
    assert count(net, x0, x1, layer="1").t.tolist() == count(net[1], x0, x1).t.tolist()


def test_an_affine_function_is_one_region():
    found = count(nn.Linear(2, 2), torch.zeros(2), torch.ones(2))
    assert (found.n_regions, found.n_pieces, found.smallest_gap) == (1, 1, 1.0)
    assert found.is_certain
    assert found.patterns().shape == (1, 0)


def test_neither_the_model_nor_random_numbers_are_touched():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout()).eval()
    before = copy.deepcopy(net.state_dict())
    state = torch.get_rng_state()
    count(net, torch.zeros(2), torch.ones(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in net.parameters())


def test_the_text_says_the_counts_and_how_sure_they_are():
    text = str(count(sawtooth(3), ZERO, ONE))
    assert text.startswith("8 activation regions, 8 affine pieces (segment of length 1, 6 units)")
    assert "certain: no rounding error can change either count" in text
    assert "  5  4 bends" in text
    net = he([3, 8, 8, 1], seed=4, bias=0.0)
    open_text = str(count(net, -0.3 * torch.ones(3), torch.ones(3)))
    assert "1 place within rounding errors; exact=True decides" in open_text


def test_an_interval_says_what_is_possible():
    assert 3 in Interval(2, 4)
    assert 5 not in Interval(2, 4)
    assert str(Interval(2, 4)) == "2 to 4"
    assert str(Interval(2, 2)) == "2"


def test_a_rounded_net_has_an_error_bound_and_a_dyadic_one_has_none():
    rounded = count(he([2, 9, 9, 1], 0), *unit_segment(2))
    assert 1e-16 < rounded.max_error < 1e-11
    assert count(sawtooth(6), ZERO, ONE).max_error == 0.0
