"""Bends, steps on copies and slopes along a segment, each against something independent."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.analysis.assumptions import _path
from deephochuli.analysis.assumptions._bends import bends_of
from deephochuli.analysis.assumptions._path import paths
from deephochuli.analysis.assumptions._step import Patient, dead_channels
from deephochuli.errors import PiecesError, TapError
from tests.unit.analysis.assumptions.rationals import exact


def dense(width, depth, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = [nn.Linear(1, width), nn.ReLU()]
        for _ in range(depth - 1):
            parts += [nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*parts, nn.Linear(width, 1)).double()


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


@pytest.fixture
def batch():
    x = torch.rand(24, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, x.sin()


@pytest.mark.parametrize("rows", [7, 4096])
@pytest.mark.parametrize(("width", "depth"), [(6, 1), (5, 3), (8, 4)])
def test_slopes_variations_and_crossings_are_those_in_rationals(monkeypatch, width, depth, rows):
    monkeypatch.setattr(_path, "_ROWS", rows)
    for seed in range(4):
        model = dense(width, depth, seed)
        judge = exact(model, -2, 3)
        bounds = np.array([float(t) for t in judge.breakpoints])
        found = paths(model, torch.tensor([-2.0]), torch.tensor([3.0]), bounds)
        for path, slopes, variations, crossings in zip(
            found, judge.slopes, judge.variations, judge.crossings, strict=True
        ):
            np.testing.assert_allclose(path.sup_slope, slopes, rtol=1e-9, atol=1e-14)
            np.testing.assert_allclose(path.variation, variations, rtol=1e-9, atol=1e-14)
            assert path.n_crossings.tolist() == crossings
        assert sum(path.n_crossings.sum() for path in found) == judge.n_regions - 1


class Mixed(nn.Module):
    """Every way in which a bias reaches an activation."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)
        self.skip = nn.Conv1d(3, 3, 1)
        self.head = nn.Linear(12, 5)
        self.bare = nn.Linear(5, 4, bias=False)

    def forward(self, x):
        h = F.relu(self.norm(self.conv(x)), inplace=True)
        h = F.hardtanh(self.skip(h) + h, -0.5, 0.5)
        h = self.head(h.flatten(1)).clamp(min=0)
        h = torch.abs(self.bare(h))
        return F.relu6(h)


def test_each_activation_knows_its_bias_and_its_kinks():
    model = Mixed()
    with bends_of(model) as bends:
        model(torch.randn(6, 2, 4))
    seen = [(bend.kind, bend.bias, bend.channel_dim, bend.kinks) for bend in bends]
    assert seen == [
        ("relu", "norm.bias", 1, (0.0,)),
        ("hardtanh", "skip.bias", 1, (-0.5, 0.5)),
        ("clamp", "head.bias", 1, (0.0,)),
        ("abs", None, 1, (0.0,)),
        ("relu6", None, 1, (0.0, 6.0)),
    ]
    assert bends[0].z.min() < 0, "read before it was overwritten"


def test_units_of_a_convolution_belong_to_its_channels():
    model = Mixed().eval()
    x0, x1 = torch.randn(2, 4), torch.randn(2, 4)
    first, *_ = paths(model, x0, x1, np.linspace(0, 1, 3))
    assert first.channel.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    wide = copy.deepcopy(model).double()
    direction = x1.double() - x0.double()
    # The first pre-activation is affine, so its slope is its linear part applied to the direction.
    z = [wide.norm(wide.conv(x[None])).detach().numpy().ravel() for x in (direction, 0 * direction)]
    np.testing.assert_allclose(first.sup_slope, np.abs(z[0] - z[1]), rtol=1e-9)


def test_activations_that_mix_the_batch_are_refused():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.relu(x.flatten())

    with pytest.raises(PiecesError, match="saw 8 rows for 4 inputs"):
        paths(Flat(), torch.zeros(2), torch.ones(2), np.linspace(0, 1, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9),
        lambda w: torch.optim.AdamW(w, lr=0.01),
        lambda w: torch.optim.LBFGS(w, max_iter=2),
    ],
)
def test_the_step_on_copies_is_the_step_that_comes_next(batch, make):
    model = dense(6, 2, 1)
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        return value

    optimizer.step(closure)
    optimizer.zero_grad(set_to_none=False)
    kept = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    copied = Patient(model, optimizer, batch, loss).stepped()
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert all((w.grad == 0).all() for w in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    optimizer.step(closure)
    pairs = zip(model.parameters(), copied.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_scheduler_stays_with_the_user(batch):
    model = dense(4, 1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    Patient(model, optimizer, batch, loss).stepped()
    loss(model, batch).backward()
    optimizer.step()
    scheduler.step()  # warns, which is an error here, if it did not see the optimizer's own step
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_an_optimizer_of_another_model_is_refused(batch):
    optimizer = torch.optim.SGD(dense(4, 1, 1).parameters(), lr=0.1)
    with pytest.raises(TapError, match="holds no parameter of the model"):
        Patient(dense(4, 1, 1), optimizer, batch, loss).stepped()


def test_dead_means_without_a_positive_input_on_the_whole_batch(batch):
    model = dense(4, 2, 1)
    with torch.no_grad():
        model[0].bias[1] = -10.0
        model[0].weight[2], model[0].bias[2] = 1.0, -float(batch[0].max())
        model[2].bias[3] = -100.0
    dead = dead_channels(Patient(model, lambda w: None, batch, loss).seen())
    with torch.no_grad():
        z0 = model[0](batch[0])
        z1 = model[2](z0.clamp(min=0))
    assert dead["0.bias"].tolist() == (z0.max(0).values <= 0).tolist()
    assert dead["2.bias"].tolist() == (z1.max(0).values <= 0).tolist()
    assert dead["0.bias"][1:3].all()
    assert dead["2.bias"][3]
    grads = torch.autograd.grad(loss(model, batch), [model[0].bias, model[2].bias])
    assert (grads[0][dead["0.bias"]] == 0).all()
    assert (grads[1][dead["2.bias"]] == 0).all()
