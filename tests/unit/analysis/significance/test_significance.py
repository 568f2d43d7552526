"""Significant bits of models: planted losses are found, and nothing is touched."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from deephochuli.analysis.significance import bias_drift, significance
from deephochuli.analysis.significance._margins import windows
from deephochuli.arithmetic import perturbed
from deephochuli.errors import CompareError


class Cancelling(nn.Module):
    """Adds a large constant and takes it away again."""

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, x):
        return (x + self.constant) - self.constant


@pytest.fixture
def x():
    return torch.randn(64, 32, generator=torch.Generator().manual_seed(1))


def linear_net(*layers):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(32, 32), *layers)


def row(result, layer, quantity="a"):
    (found,) = (each for each in result.of(quantity) if each.layer == layer)
    return found


@pytest.mark.parametrize("log2", [4, 12])
def test_a_planted_cancellation_costs_its_bits(x, log2):
    """Rounding x + c leaves an error of 2^-24 c sqrt(1/3): that many bits of x are lost."""
    result = significance(linear_net(Cancelling(2.0**log2)), x, n_samples=16)
    expected = 24 - log2 + math.log2(0.4) + 0.5 * math.log2(6)
    assert row(result, "1").median == pytest.approx(expected, abs=0.75)
    assert row(result, "0").median > 21


def test_a_cancellation_of_everything_is_a_finding(x):
    result = significance(linear_net(Cancelling(2.0**23)), x)
    kinds = {finding.kind: finding for finding in result.findings}
    assert kinds["few-significant-bits"].layer == "1"
    assert kinds["few-significant-bits"].level == "warning"
    assert not any(f.kind == "few-significant-bits" for f in significance(linear_net(), x).findings)


def test_noise_of_t_bits_leaves_about_t_bits(x):
    result = significance(linear_net(), x, n_samples=16, precision_bits=12)
    # Two perturbed operands and a perturbed result: 12 + log2(sqrt(12) / sqrt(3)) - 1 at best.
    assert 10.5 < row(result, "0").median < 12.5
    assert row(result, "0").guaranteed == pytest.approx(row(result, "0").median - result.penalty)


def test_results_that_nothing_changes_are_labelled():
    result = significance(nn.Flatten(), torch.ones(4, 3, requires_grad=True))
    found = row(result, "")
    assert found.is_resolution_limited
    assert (found.median, found.n_resolution_limited) == (24, 12)


def test_zeros_have_no_digits(x):
    result = significance(linear_net(nn.ReLU()), x)
    relu = row(result, "1")
    assert relu.n_zero == pytest.approx(64 * 32 / 2, rel=0.15)
    assert relu.median > 21


def test_decisions_at_the_kink_are_counted():
    """Pre-activations of rounding size only: x + c - c with x far below an ulp of c."""
    x = torch.full((64, 32), 2.0**-27)
    result = significance(nn.Sequential(Cancelling(1.0 / 3), nn.ReLU()), x, n_samples=16)
    (branch,) = (each for each in result.branches if each.kind == "relu")
    assert branch.n_unstable > 0.9 * (branch.n_followed - branch.n_ties) > 0
    (safe,) = (b for b in significance(nn.ReLU(), x).branches if b.kind == "relu")
    assert (safe.n_unstable, safe.n_turned, safe.n_followed) == (0, 0, 64 * 32)


def test_near_ties_of_a_pooling_and_of_the_output_are_counted():
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(2, 3, 8, 8, generator=generator) + 1
    x[..., 1::2] = x[..., ::2] * (1 + 2.0**-23)  # neighbours within an ulp or two
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.MaxPool2d(2), nn.Flatten())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3).view(3, 3, 1, 1) * (1 / 3))
    result = significance(model, x, n_samples=8)
    (pool,) = (each for each in result.branches if each.kind == "max-pool")
    assert pool.n_decisions == 2 * 3 * 16
    assert pool.share > 0.5
    (argmax,) = (each for each in result.branches if each.kind == "argmax")
    assert (argmax.layer, argmax.n_decisions) == ("output", 2)
    assert any(finding.kind == "unstable-branches" for finding in result.findings)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (2, 1, 0, 2)]
)
@pytest.mark.parametrize("n_dims", [2, 3])
def test_windows_are_those_of_the_pooling(size, stride, padding, dilation, n_dims):
    x = torch.randn(2, 3, *[9, 8, 7][:n_dims], generator=torch.Generator().manual_seed(6))
    pool = [functional.max_pool2d, functional.max_pool3d][n_dims - 2]
    each = [[v] * n_dims for v in (size, stride, padding, dilation)]
    cut = windows(x, *each)
    assert torch.equal(cut.amax(dim=list(range(-n_dims, 0))), pool(x, *each))


def test_nothing_is_touched(x):
    model = linear_net(nn.BatchNorm1d(32), nn.Dropout(0.5), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(x).sum().backward()
    optimizer.step()
    state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    gradients = [p.grad.clone() for p in model.parameters()]
    dice = torch.get_rng_state()
    result = significance(model, x, optimizer=optimizer, n_samples=3)
    assert torch.equal(dice, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[0][name])
    for name, value in optimizer.state_dict()["state"].items():
        assert torch.equal(value["momentum_buffer"], state[1]["state"][name]["momentum_buffer"])
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert not any(m._forward_hooks for m in model.modules())
    assert {each.quantity for each in result.layers} == {"a", "da", "g", "dw"}
    # The same elements were dropped in all runs: dropout is no rounding.
    assert row(result, "2").median > 20


def test_equal_seeds_give_equal_results_whatever_the_global_dice(x):
    model = linear_net(nn.Dropout(0.5), nn.ReLU())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = significance(model, x, n_samples=3)
        torch.manual_seed(2)
        assert first == significance(model, x, n_samples=3)


def test_samples_are_those_of_the_noise_alone(x):
    """Looking at a run draws no errors and makes none: samples drawn by hand are the same."""
    model = linear_net(nn.ReLU(), nn.Linear(32, 4))
    samples = []
    for key in range(4):  # the keys of seed 0
        with perturbed(model, None, key=key):
            samples.append(model(x).detach().double())
    samples = torch.stack(samples)
    bits = (samples.mean(0).abs() / samples.std(0)).log2().clamp(0, 24)
    ordered = bits.flatten().sort().values
    found = row(significance(model, x, n_samples=4), "2")
    assert found.median == pytest.approx(float(ordered[round(0.5 * (len(ordered) - 1))]), abs=1e-4)


class Counting(nn.Module):
    """Multiplies by how often it was called."""

    def __init__(self):
        super().__init__()
        self.register_buffer("n_calls", torch.zeros(()))

    def forward(self, x):
        self.n_calls += 1
        return x * self.n_calls


def test_every_run_starts_from_the_same_buffers(x):
    assert row(significance(Counting(), x, n_samples=3), "").median == 24


def test_only_some_elements_are_followed_where_asked(x):
    found = row(significance(linear_net(), x, max_elements=100, n_samples=3), "0")
    assert (found.n_elements, found.n_followed) == (2048, 100)


def test_calls_are_told_apart(x):
    layer = nn.Linear(32, 32)
    result = significance(nn.Sequential(layer, nn.ReLU(), layer), x, n_samples=3)
    assert [each.layer for each in result.of("a")] == ["0", "1", "0#2"]


def test_the_scores_of_an_output_are_found_behind_its_loss(x):
    class Model(nn.Module):
        def forward(self, x):
            return {"loss": x.mean(), "logits": x * 3}

    (argmax,) = (b for b in significance(Model(), x, n_samples=3).branches if b.kind == "argmax")
    assert argmax.n_decisions == 64


class Changing(nn.Module):
    """Returns another shape each time."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, x):
        self.n_calls += 1
        return x[: self.n_calls] * 3


def test_a_shape_that_changes_is_named_and_left_out(x):
    result = significance(Changing(), x, n_samples=3)
    assert ":a" in result.lost
    assert not result.layers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 1}, "at least 2"),
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"probability": 0.0}, "probability=0.0"),
        ({"max_elements": 0}, "max_elements=0"),
    ],
)
def test_arguments_out_of_range_are_refused(x, arguments, message):
    with pytest.raises(CompareError, match=message):
        significance(linear_net(), x, **arguments)


def test_a_bias_with_a_direction_is_told_from_none(x):
    """Adding 1/3 ulp is always rounded down to nearest, and on average not at all at random."""

    class Pushed(nn.Module):
        def forward(self, x):
            return x + 2.0**-24 * 2 / 3

    ones = torch.ones(256) + torch.arange(256) * 2.0**-20
    steps = [significance(Pushed(), ones + k * 2.0**-15, n_samples=8, seed=k) for k in range(4)]
    (drift,) = (each for each in bias_drift(steps) if each.quantity == "a")
    assert drift.n_steps == 4
    assert drift.t > 6
    fair = [significance(linear_net(), x + k, n_samples=8, seed=k) for k in range(4)]
    assert all(abs(each.t) < 12 for each in bias_drift(fair))
    with pytest.raises(CompareError, match="at least 2 steps"):
        bias_drift(steps[:1])


def test_a_table_is_text_and_rows(x):
    result = significance(linear_net(nn.ReLU()), x, n_samples=3)
    assert "relu: 0 of" in str(result)
    assert result.rows()[0]["layer"] == "0"
    assert result.branch_rows()[0]["kind"] == "relu"


def test_what_is_not_finite_is_said_in_the_text(x):
    class Logarithm(nn.Module):
        def forward(self, x):
            return (x - x.detach().abs() - 1).log()

    model = nn.Sequential(nn.Linear(x.shape[-1], 2), Logarithm())
    text = str(significance(model, x, n_samples=3))
    n = 2 * x.numel() // x.shape[-1]
    assert f"1 a: {n} of {n} elements are infinite or NaN in some run" in text
