"""Measured noise of gradients, against gradients in exact rational arithmetic."""

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.arithmetic import measured_noise, perturbed
from deephochuli.errors import ArithmeticSpecError


def loss(model, batch):
    return (model(batch[0]) - batch[1]).square().sum()


@pytest.fixture
def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)
        )


@pytest.fixture
def batch():
    x = torch.rand(7, 1, generator=torch.Generator().manual_seed(2))
    return x, x.square()


def rational(tensor):
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(tensor.detach().numpy())


def exact_bias_gradients(model, x, y):
    """Gradients of the biases by hand, in rationals: no rounding anywhere."""
    layers = [module for module in model if isinstance(module, nn.Linear)]
    weights = [(rational(each.weight), rational(each.bias)) for each in layers]
    grads = [np.full(b.shape, Fraction(0), dtype=object) for _, b in weights]
    for a, target in zip(rational(x), rational(y), strict=True):
        zs = []
        for w, b in weights:
            zs.append(w.dot(a) + b)
            a = np.array([max(z, Fraction(0)) for z in zs[-1]], dtype=object)
        d = 2 * (zs[-1] - target)
        for index in reversed(range(len(weights))):
            if index < len(weights) - 1:
                d = np.array(
                    [g if z > 0 else Fraction(0) for g, z in zip(d, zs[index], strict=True)],
                    dtype=object,
                )
            grads[index] = grads[index] + d
            d = weights[index][0].T.dot(d)
    return grads


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16", "fp16", "fp8"])
def test_relative_errors_are_those_against_rationals(tiny, batch, name):
    noise = measured_noise(tiny, batch, loss, name)
    exact = np.concatenate(exact_bias_gradients(tiny, *batch))
    computed = np.concatenate(noise.computed)
    judged = [
        abs(Fraction(float(c)) - e) / abs(e) for c, e in zip(computed, exact, strict=True) if e != 0
    ]
    # binary64 resolves relative errors to about 1e-15 of these gradients.
    np.testing.assert_allclose(noise.relative(), [float(j) for j in judged], rtol=1e-9, atol=1e-13)
    assert noise.level == pytest.approx(float(sorted(judged)[len(judged) // 2]), rel=0.5)


def test_a_format_makes_noise_of_about_its_unit_roundoff(tiny, batch):
    levels = [measured_noise(tiny, batch, loss, name).level for name in ("fp32", "fp16", "bf16")]
    assert 2**-28 < levels[0] < 2**-21
    assert 2**-15 < levels[1] < 2**-8
    assert 2**-12 < levels[2] < 2**-5


def test_cancelling_residuals_make_noise_far_above_the_unit_roundoff():
    """The residual is two units of roundoff of fp16, so its gradient is wrong by about one."""
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(model.bias, 2.0**-12)
    batch = torch.full((3, 1), 1.0), torch.full((3, 1), 1.0)
    noise = measured_noise(model, batch, loss, "fp16")
    assert noise.level == 1.0
    assert noise.n_lost == 1


def test_context_functions_are_measured_too(tiny, batch):
    noise = measured_noise(tiny, batch, loss, lambda model: perturbed(model, 10, key=4))
    assert 2**-13 < noise.level < 2**-6
    assert noise.relative("0.bias").shape == noise.exact[0][noise.exact[0] != 0].shape


def test_nothing_of_the_user_is_touched(tiny, batch):
    kept, state = copy.deepcopy(tiny.state_dict()), torch.get_rng_state()
    measured_noise(tiny, batch, loss, "bf16")
    assert all(torch.equal(v, kept[k]) for k, v in tiny.state_dict().items())
    assert all(w.grad is None for w in tiny.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_without_a_parameter_the_error_says_what_to_do(tiny, batch):
    with pytest.raises(ArithmeticSpecError, match=r"chosen=lambda name: True"):
        measured_noise(tiny, batch, loss, "bf16", chosen=lambda name: False)
