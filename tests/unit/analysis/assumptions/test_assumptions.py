"""The assumptions, the bound and the counts on whole models."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.analysis.assumptions import AssumptionWatch, assumptions, most_bends
from deephochuli.errors import ArithmeticSpecError, PiecesError, TapError
from tests.unit.analysis.assumptions.rationals import exact

ENDS = torch.tensor([-1.0]), torch.tensor([1.0])


def sgd(named):
    return torch.optim.SGD(named, lr=0.25)


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


@pytest.fixture
def batch():
    x = torch.rand(32, 1, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return x, (3 * x).sin()


def dense(*widths, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = []
        for n, m in zip((1, *widths), (*widths, 1), strict=True):
            parts += [nn.Linear(n, m), nn.ReLU()]
        return nn.Sequential(*parts[:-1])


def test_of_one_hidden_layer_everything_is_known_by_hand(batch):
    model = dense(12)
    result = assumptions(model, sgd, batch, loss, ENDS, level=2**-6, n_draws=5)
    hidden, outer = result.biases
    before, slope = model[0].bias.detach().double().numpy(), model[0].weight.detach().double()
    optimizer = sgd(model.parameters())
    loss(model, batch).backward()
    dead = (model[0](batch[0]) <= 0).all(0).numpy()
    optimizer.step()
    update = np.abs(model[0].bias.detach().double().numpy() - before)
    moved = update > 0
    np.testing.assert_array_equal(np.abs(hidden.updates), update)
    assert hidden.n_still == (~moved).sum() == dead.sum() == hidden.n_dead > 0
    assert hidden.mean_reciprocal == pytest.approx((1 / update[moved]).mean())
    # The step moved the slopes too; noise is on the biases only.
    slope = np.abs(model[0].weight.detach().double().numpy().ravel())
    np.testing.assert_allclose(result.slopes[0].sup_slope, slope, rtol=1e-12)
    np.testing.assert_allclose(result.slopes[0].variation, 2 * slope, rtol=1e-12)
    still = exact(model, -1, 1).crossings[0]
    expected = (
        1 + (2 * slope[moved] / (2 * 2**-6 * update[moved])).sum() + np.array(still)[~moved].sum()
    )
    assert result.bound_variation == pytest.approx(expected, rel=1e-9)
    of_largest = 1 + (2 * slope.max() / (2 * 2**-6 * update[moved])).sum()
    assert result.bound == pytest.approx(of_largest + np.array(still)[~moved].sum(), rel=1e-9)
    whole = np.concatenate([hidden.reciprocals, outer.reciprocals])
    assert result.mean_reciprocal == pytest.approx(whole.mean())


@pytest.mark.parametrize("widths", [(6,), (8, 8), (5, 5, 5)])
def test_regions_are_those_in_rationals_and_the_bound_holds(batch, widths):
    for seed in range(3):
        model = dense(*widths, seed=seed)
        result = assumptions(model, sgd, batch, loss, ENDS, level=0.5, n_draws=4)
        assert result.is_exact
        assert result.n_before == exact(model, -1, 1).n_regions
        stepped = copy.deepcopy(model)
        optimizer = sgd(stepped.parameters())
        loss(stepped, batch).backward()
        optimizer.step()
        assert result.n_exact == exact(stepped, -1, 1).n_regions
        assert len(result.n_noisy) == 4
        assert result.is_below
        assert result.bound_variation <= result.bound
        judge = exact(stepped, -1, 1)
        for layer, slopes in zip(result.slopes, judge.slopes, strict=True):
            assert layer.sup_slope.max() == pytest.approx(max(slopes), rel=0.5)


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_the_lemma_is_an_equation_where_the_noise_covers_all_values(law):
    """A zigzag of variation 6 with values in [-0.1, 0.1], crossed at random levels.

    For the normal law the density is not constant, and the lemma is an upper bound.
    """
    rng = np.random.default_rng(3)
    zigzag = np.tile([-0.1, 0.1], 16)[:31]
    theta = rng.uniform(-1, 1, 40_000) if law == "uniform" else rng.standard_normal(40_000)
    levels = 0.4 * theta
    sides = zigzag[None] > levels[:, None]
    n = (sides[:, 1:] != sides[:, :-1]).sum(axis=1)
    density = 0.5 if law == "uniform" else 1 / math.sqrt(2 * math.pi)
    (most,) = most_bends([6.0], np.array([0.4]), [0], density=density)
    assert most == pytest.approx(6 * density / 0.4)
    assert abs(n.mean() - most) < (4 * n.std() / 200 if law == "uniform" else 0.05 * most)
    assert n.mean() < most + 4 * n.std() / 200


def test_a_law_without_density_gives_no_bound(batch):
    result = assumptions(dense(6), sgd, batch, loss, ENDS, level=0.1, law="rademacher")
    assert math.isinf(result.bound)
    assert math.isinf(result.bound_variation)
    assert result.sheet().tables


def test_neurons_that_come_back_to_life_are_seen(batch):
    """The first layer's step lifts the input of a dead neuron of the second over its threshold."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for weight, value in zip(
            model.parameters(),
            ([[0.1]], [1.0], [[1.0], [1.0]], [0.0, -1.11], [[1.0, 1.0]], [0.0]),
            strict=True,
        ):
            weight.copy_(torch.tensor(value))
    target = batch[0], torch.full_like(batch[1], 5.0)
    result = assumptions(model, sgd, target, loss, ENDS, level=0.01)
    assert [(bias.n_dead, bias.n_revived) for bias in result.biases] == [(0, 0), (1, 1), (0, 0)]
    assert result.share_staying_dead == 0
    assert result.biases[1].n_still == 1


def test_convolutions_in_training_mode_are_measured():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.Sequential(
            *(nn.Conv1d(1, 3, 3, padding=1), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Flatten(), nn.Linear(18, 4), nn.ReLU(), nn.Linear(4, 1)),
        )
        x = torch.randn(16, 1, 6)
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    result = assumptions(model, sgd, (x, x.mean(-1)), loss, (x[0], x[1]), level=0.1, n_draws=2)
    assert [each.name for each in result.slopes] == ["1.bias", "5.bias"]
    assert result.slopes[0].sup_slope.shape == (18,)
    assert result.is_below
    assert model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_what_cannot_be_counted_is_said(batch):
    model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 1))
    result = assumptions(model, sgd, batch, loss, ENDS, level=0.1)
    assert not result.is_exact
    assert result.n_before is None
    assert result.is_below is None
    assert "Regions are not counted" in result.notes[0]
    assert "at least" in str(result)
    assert math.isfinite(result.bound)


def test_without_a_level_that_of_an_arithmetic_is_measured(batch):
    result = assumptions(dense(16), sgd, batch, loss, ENDS, arithmetic="bf16", n_draws=1)
    assert 2**-12 < result.level < 2**-4
    assert f"{result.level:.3g}" in result.sheet().answer


def test_a_training_that_is_watched_is_the_same_to_the_bit(batch):
    def train(watched):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        watch = AssumptionWatch(
            *(model, optimizer, loss, ENDS), every=4, level=2**-8, n_draws=2, seed=3
        )
        for _ in range(9):
            if watched:
                watch(batch)
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
        return [w.detach() for w in model.parameters()], torch.get_rng_state(), watch

    with torch.random.fork_rng(devices=[]):
        weights, state, _ = train(False)
        watched, watched_state, watch = train(True)
    assert all(torch.equal(a, b) for a, b in zip(weights, watched, strict=True))
    assert torch.equal(state, watched_state)
    assert [each.step for each in watch.seen] == [0, 4, 8]
    sheet = watch.sheet()
    assert [row[0] for row in sheet.tables[0].rows] == [0, 4, 8]
    assert "in 3 of 3 steps" in sheet.answer


def test_equal_seeds_give_equal_answers(batch):
    first, second, other, fewer = [
        assumptions(dense(8, 8), sgd, batch, loss, ENDS, level=0.5, seed=seed, n_draws=n_draws)
        for seed, n_draws in ((1, 2), (1, 2), (9, 2), (1, 1))
    ]
    assert first.sheet() == second.sheet()
    assert first.bound_variation != other.bound_variation
    assert first.bound_variation != fewer.bound_variation, "each draw has noise of its own"
    assert sum(first.sheet().figures[0].series[0].y) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        ({"segment": (torch.zeros(1), torch.zeros(1))}, PiecesError, "length 0"),
        ({"segment": (torch.zeros(1), torch.zeros(2))}, PiecesError, r"\(1,\) and \(2,\)"),
        ({"level": None}, TapError, "arithmetic='bf16'"),
        ({"level": None, "arithmetic": "fp64"}, TapError, "equal those of binary64"),
        ({"level": -0.5}, ArithmeticSpecError, "level -0.5"),
        ({"level": 0.0}, TapError, "level of noise 0"),
        ({"n_draws": 0}, TapError, "n_draws"),
        ({"model": nn.Sequential(nn.Linear(1, 1, bias=False))}, TapError, "trains no bias"),
    ],
)
def test_bad_requests_say_what_to_do(batch, change, error, expected):
    arguments = {"model": dense(4), "segment": ENDS, "level": 0.1} | change
    model, segment = arguments.pop("model").double(), arguments.pop("segment")
    batch = tuple(each.double() for each in batch)
    with pytest.raises(error, match=expected):
        assumptions(model, sgd, batch, loss, segment, **arguments)


def test_a_watch_must_look_now_and_then():
    with pytest.raises(TapError, match="every 0 steps"):
        AssumptionWatch(dense(4), sgd, loss, ENDS, every=0)
