"""Monte Carlo arithmetic: the size and the law of its errors, and what it must leave alone."""

import copy

import pytest
import torch
from torch import nn

from deephochuli.arithmetic import NoiseSource, perturbed
from deephochuli.errors import ArithmeticSpecError


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.fixture
def x():
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(4))


def run(model, x):
    """Output and gradients."""
    leaf = x.clone().requires_grad_()
    out = model(leaf)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [leaf, *model.parameters()])]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [4, 8])
def test_an_error_is_uniform_and_relative(dtype, bits):
    x = torch.full((20_000,), 1.5, dtype=dtype)
    y = NoiseSource(bits, key=1).perturb(x)
    errors = (y.double() / 1.5 - 1) * 2.0 ** (bits - 1)
    ulp = torch.finfo(dtype).eps / 1.5 * 2.0 ** (bits - 1)
    assert errors.abs().max() <= 0.5 + ulp
    assert abs(errors.mean()) < 4 * (1 / 12 + ulp**2 / 4) ** 0.5 / 20_000**0.5
    # The rounding to whole ulps at random adds at most a quarter of an ulp squared.
    assert 0.97 / 12 < errors.var() < 1.03 * (1 / 12 + ulp**2 / 4)


@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.float32, 24), (torch.bfloat16, 8), (torch.float64, 53)]
)
@pytest.mark.parametrize("value", [1.0, -1.984375])
def test_at_the_precision_of_the_dtype_an_error_is_an_ulp_or_none(dtype, bits, value):
    x = torch.full((40_000,), value, dtype=dtype)
    y = NoiseSource(bits, key=2).perturb(x)
    steps = (y.double() - x.double()) / torch.finfo(dtype).eps
    assert set(steps.tolist()) == {-1.0, 0.0, 1.0}
    share = abs(value) / 4  # the mean of |m xi|
    assert (steps != 0).double().mean() == pytest.approx(share, abs=0.012)
    assert abs(steps.mean()) < 4 * (share / 40_000) ** 0.5


def test_zeros_infinities_nan_and_integers_stay():
    source = NoiseSource(4, key=1)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    y = source.perturb(special)
    assert torch.equal(y.view(torch.int32), special.view(torch.int32))
    for other in (torch.arange(5), torch.tensor([True, False]), torch.zeros(0)):
        assert source.perturb(other) is other


def test_an_error_never_leads_to_infinity():
    x = torch.full((1000,), torch.finfo(torch.float16).max, dtype=torch.float16)
    y = NoiseSource(11, key=1).perturb(x)
    assert y.isfinite().all()
    assert (y != x).any()


def test_subnormal_numbers_keep_their_sign():
    x = torch.full((1000,), 2.0**-149)
    assert (NoiseSource(24, key=1).perturb(x) >= 0).all()


def test_exact_elementwise_results_stay_and_inexact_ones_are_rounded_at_random(model):
    third = torch.full((20_000,), 3.0)
    with perturbed(model, 24, key=1):
        doubled, quotient = third * 2, 1 / third
    assert (doubled == 6).all()
    below, above = 11184810 / 2**25, 11184811 / 2**25  # the numbers of binary32 around 1/3
    assert set(quotient.double().unique().tolist()) == {below, above}
    share = (quotient == above).double().mean()  # 1/3 lies two thirds of the way up
    assert share == pytest.approx(2 / 3, abs=0.015)


def test_forward_and_backward_are_perturbed_and_everything_is_put_back(model, x):
    before = copy.deepcopy(model.state_dict())
    plain, state = run(model, x), torch.get_rng_state()
    with perturbed(model, 12, key=5):
        noisy = run(model, x)
    assert all(not torch.equal(a, b) for a, b in zip(plain, noisy, strict=True))
    assert all(((a - b).norm() / a.norm()) < 0.01 for a, b in zip(plain, noisy, strict=True))
    assert same(before.values(), model.state_dict().values())
    assert torch.equal(state, torch.get_rng_state())
    assert same(plain, run(model, x))


def test_gradients_get_errors_of_their_own(model, x):
    """The backward is perturbed also where the forward is not."""
    leaf = x.clone().requires_grad_()
    out = model(leaf).square().sum()
    plain = torch.autograd.grad(out, leaf, retain_graph=True)[0]
    with perturbed(model, 12, key=1):
        noisy = torch.autograd.grad(out, leaf)[0]
    assert not torch.equal(plain, noisy)


def test_equal_keys_give_equal_bits(model, x):
    runs = []
    for key in (1, 1, 2):
        with perturbed(model, 20, key=key):
            runs.append(run(model, x))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_a_scope_leaves_the_other_layers_alone(model, x):
    plain = model(x)
    with perturbed(model, 12, key=1, scope=["2"]):
        first, noisy = model[0](x), model(x)
    assert torch.equal(first, model[0](x))
    assert not torch.equal(plain, noisy)
    with perturbed(model, 12, key=1, scope=lambda path: False):
        assert torch.equal(plain, model(x))


def test_a_scope_reaches_the_backward(model, x):
    def gradients():
        out = model(x)
        return torch.autograd.grad(out.sum(), [model[0].weight, model[2].weight])

    plain = gradients()
    with perturbed(model, 12, key=1, scope=["0"]):
        noisy = gradients()
    assert not torch.equal(plain[0], noisy[0])


@pytest.mark.parametrize("bits", [0, 54])
def test_a_precision_out_of_range_is_refused(model, bits):
    wrong = perturbed(model, bits, key=1)
    with pytest.raises(ArithmeticSpecError, match="expected 1 to 53"), wrong:
        pass


def test_an_unknown_layer_is_refused_with_near_names():
    model = nn.ModuleDict({"encoder": nn.Linear(1, 1)})
    wrong = perturbed(model, key=1, scope=["encodr"])
    with pytest.raises(ArithmeticSpecError, match="Did you mean 'encoder'"), wrong:
        pass


def test_cancellation_inside_a_softmax_is_seen():
    """exp(log p) - 1 of a sure decision has lost most of its bits."""
    logits = torch.tensor([[12.0, 0.0, 0.0]])

    def gradient():
        leaf = logits.clone().requires_grad_()
        loss = nn.functional.cross_entropy(leaf, torch.tensor([0]))
        return torch.autograd.grad(loss, leaf)[0][0, 0]

    draws = []
    for key in range(16):
        with perturbed(nn.Identity(), 24, key=key):
            draws.append(gradient())
    draws = torch.stack(draws)
    assert 2.0**-16 < draws.std() / draws.mean().abs() < 2.0**-7
