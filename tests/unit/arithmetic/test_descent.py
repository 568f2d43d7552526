"""Noisy gradient descent: what it adds to updates, to which, and what it leaves alone."""

import copy

import pytest
import torch
from torch import nn

from deephochuli.arithmetic import noisy, perturbed
from deephochuli.errors import ArithmeticSpecError

OPTIMIZERS = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.1),
    "momentum": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda w: torch.optim.AdamW(w, lr=0.01),
    "lbfgs": lambda w: torch.optim.LBFGS(w, lr=0.1, max_iter=3),
}


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(3, 400), nn.ReLU(), nn.Linear(400, 2)).double()


def step(model, optimizer):
    x = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(16, 3)

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - 1).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_error_is_relative_to_the_update_really_made(model, name):
    """Judge: the same optimizer on a copy without noise; one step before, so that it has state."""
    twin = copy.deepcopy(model)
    optimizer, exact_optimizer = (OPTIMIZERS[name](each.parameters()) for each in (model, twin))
    step(model, optimizer)
    step(twin, exact_optimizer)
    before = copy.deepcopy(model.state_dict())
    with noisy(optimizer, "rademacher", 2**-5, model=model):
        step(model, optimizer)
    step(twin, exact_optimizer)
    for (key, noised), exact in zip(model.named_parameters(), twin.parameters(), strict=True):
        update = exact.detach() - before[key]
        error = noised.detach() - exact.detach()
        expected = 2**-5 * update.abs() if key.endswith("bias") else torch.zeros_like(update)
        assert torch.allclose(error.abs(), expected, rtol=1e-9, atol=1e-15)


def test_noise_ends_with_its_block(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with noisy(optimizer, level=0.5, model=model):
        pass
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    step(model, optimizer)
    step(twin, twin_optimizer)
    pairs = zip(model.parameters(), twin.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("law", "moments", "largest"),
    [("uniform", (1 / 3, 1 / 5), 1.0), ("normal", (1.0, 3.0), 6.0), ("rademacher", (1, 1), 1.0)],
)
def test_laws_have_their_moments(law, moments, largest):
    w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
    w.grad = torch.full_like(w, 2.0)
    optimizer = torch.optim.SGD([w], lr=1.0)
    noisy(optimizer, law, 0.25, on="all", seed=7)
    optimizer.step()
    theta = (w.detach() + 2) / (0.25 * 2)
    assert abs(theta.mean()) < 5 / 100_000**0.5
    assert theta.square().mean() == pytest.approx(moments[0], rel=0.02)
    assert theta.pow(4).mean() == pytest.approx(moments[1], rel=0.06)
    assert theta.abs().max() <= largest
    if law == "uniform":
        assert theta.abs().max() > 0.999


@pytest.mark.parametrize("relative", [True, False])
def test_what_a_step_leaves_alone_gets_no_error(relative):
    w = nn.Parameter(torch.ones(64, dtype=torch.float64))
    w.grad = torch.zeros_like(w)
    w.grad[:32] = 1.0
    optimizer = torch.optim.SGD([("bias", w)], lr=0.5)
    noisy(optimizer, "uniform", 0.125, relative=relative)
    optimizer.step()
    assert torch.equal(w.detach()[32:], torch.ones(32, dtype=torch.float64))
    assert (w.detach()[:32] != 0.5).all()


def test_absolute_errors_have_the_size_of_the_level_and_may_move_what_is_still():
    w = nn.Parameter(torch.ones(64, dtype=torch.float64))
    w.grad = torch.zeros_like(w)
    w.grad[:32] = 100.0
    optimizer = torch.optim.SGD([w], lr=0.5)
    noisy(optimizer, "rademacher", 2**-10, on="all", relative=False, spare_still=False)
    optimizer.step()
    assert ((w.detach()[32:] - 1).abs() == 2**-10).all()
    assert ((w.detach()[:32] + 49).abs() == 2**-10).all()


def test_equal_seeds_repeat_and_a_resumed_training_goes_on(model):
    def train(seed, cut):
        own = copy.deepcopy(model)
        optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
        noise = noisy(optimizer, level=0.1, model=own, seed=seed)
        for index in range(4):
            if index == cut:
                state = noise.state_dict()
                noise.remove()
                noise = noisy(optimizer, level=0.1, model=own, seed=seed + 100)
                noise.load_state_dict(state)
            step(own, optimizer)
        assert noise.n_steps == 4
        return own[0].bias.detach()

    whole = train(1, None)
    assert torch.equal(whole, train(1, None))
    assert torch.equal(whole, train(1, 2))
    assert not torch.equal(whole, train(2, None))


def test_other_generators_are_not_touched(model):
    state = torch.get_rng_state()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with noisy(optimizer, model=model):
        step(model, optimizer)
    assert torch.equal(state, torch.get_rng_state())


def test_a_predicate_chooses(model):
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    noisy(optimizer, level=0.5, on=lambda name, w: name == "2.weight")
    step(model, optimizer)
    step(twin, twin_optimizer)
    moved = [
        name
        for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    assert moved == ["2.weight"]


def test_noise_may_be_on_each_operation_of_the_backward_alone(model):
    """The existing noise, opened around the backward: relative errors of at most 2^-t each."""
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = (model(x) - 1).square().mean()
    (exact,) = torch.autograd.grad(loss, [model[0].bias], retain_graph=True)
    errors = []
    for bits in (8, 16, 24):
        with perturbed(model, bits, key=1):
            (noised,) = torch.autograd.grad(loss, [model[0].bias], retain_graph=True)
        used = exact != 0
        errors.append(float(((noised - exact)[used] / exact[used]).abs().median()) * 2**bits)
        # A dead neuron's gradient is a sum of exact zeros, whatever the noise.
        assert (noised[~used] == 0).all()
    assert all(0.1 < each < 4 for each in errors)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"law": "gaussian"}, "no law of noise 'gaussian'"),
        ({"level": -1.0}, "level -1.0"),
        ({"level": float("nan")}, "level nan"),
        ({"on": "weights"}, "Noise on 'weights'"),
        ({}, "does not know the name of a parameter"),
        ({"on": lambda name, w: False, "model": True}, "None of the 4 parameters"),
    ],
)
def test_bad_requests_say_what_to_do(model, arguments, expected):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if "model" in arguments:
        arguments = arguments | {"model": model}
    with pytest.raises(ArithmeticSpecError, match=expected):
        noisy(optimizer, **arguments)


@pytest.mark.parametrize("relative", [True, False])
def test_weights_that_a_step_leaves_alone_keep_their_bits(relative):
    still = [float("-inf"), float("inf"), -0.0, 0.0, 1.5]
    weight = nn.Parameter(torch.tensor([*still, 2.0]))
    before = weight.detach().clone()
    optimizer = torch.optim.SGD([weight], lr=0.5)
    noisy(optimizer, on="all", relative=relative, seed=1)
    for _ in range(4):
        weight.grad = torch.tensor([0.0] * len(still) + [1.0])
        optimizer.step()
    assert torch.equal(weight[:-1].view(torch.int32), before[:-1].view(torch.int32))
    assert weight[-1] != -2.0


def test_a_state_from_before_the_first_step_begins_again():
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    handle = noisy(optimizer, on="all")
    start = handle.state_dict()

    def trained():
        with torch.no_grad():
            weight.zero_()
        for _ in range(2):
            weight.grad = torch.ones(3)
            optimizer.step()
        return weight.detach().clone()

    first, then = trained(), trained()
    handle.load_state_dict(start)
    assert not torch.equal(first, then)
    assert torch.equal(first, trained())
    assert handle.n_steps == 2


def test_complex_weights_are_refused_and_left_as_they_are():
    weight = nn.Parameter(torch.tensor([1.0 + 2.0j]))
    optimizer = torch.optim.SGD([weight, nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ArithmeticSpecError, match="1 of the chosen parameters are complex"):
        noisy(optimizer, on="all")
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert weight.imag.item() == 2.0
