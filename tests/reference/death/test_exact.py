"""Against judges written apart: rationals, torch's own loops, scipy, closed forms."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from deephochuli.analysis._batches import Batch
from deephochuli.analysis.compare import Task
from deephochuli.analysis.death import ARMS, Arm, by_cluster, death, mcnemar
from deephochuli.analysis.death._low import low_copy, low_of
from deephochuli.analysis.death._trainer import Trainer
from deephochuli.arithmetic import round_to, run_as
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, round_scalar
from deephochuli.studies.dead_neurons._laws import measure_law
from tests.reference.death.planted import generator_of


def small_net(seed: int, widths=(5, 24, 24)) -> nn.Sequential:
    generator = generator_of(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layer = nn.Linear(n_in, n_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(n_out, n_in, generator=generator) / n_in**0.5)
            layer.bias.copy_(torch.randn(n_out, generator=generator) - 1)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def rational_highs(model: nn.Sequential, x: torch.Tensor) -> list[list[Fraction]]:
    """Largest pre-activation of every unit by layer, in rationals."""
    rows = [[Fraction(v) for v in row] for row in x.double().tolist()]
    highs = []
    for layer in model[::2]:
        weights, biases = layer.weight.double().tolist(), layer.bias.double().tolist()
        z = [
            [
                sum((Fraction(w) * a for w, a in zip(ws, row, strict=True)), Fraction(b))
                for ws, b in zip(weights, biases, strict=True)
            ]
            for row in rows
        ]
        highs.append([max(column) for column in zip(*z, strict=True)])
        rows = [[max(Fraction(0), v) for v in row] for row in z]
    return highs


def test_shadows_are_those_of_rational_arithmetic():
    model = small_net(0)
    x = torch.randn(6, 5, generator=generator_of(1)).bfloat16().float()
    found = death(model, x, "bf16-pure")
    rounded = low_copy(low_of("bf16-pure", model), Task(model=model, batch=None)).model
    for layer, highs in zip(found.layers, rational_highs(rounded, x), strict=True):
        assert layer.structural.tolist() == [high <= 0 for high in highs]
        np.testing.assert_allclose(layer.shadow.exact, [float(high) for high in highs], 1e-12)
    assert 5 < found.count("by bias") + found.count("by data") < 40


def test_a_bias_that_swallows_the_sum_is_still_the_cause():
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.bias.fill_(-1e30)  # 1 - 1e30 = -1e30 in binary64 too
    found = death(nn.Sequential(layer, nn.ReLU()), torch.ones(1, 1), "fp32")
    assert found.layers[0].by_bias.tolist() == [True, False]
    assert found.layers[0].by_data.tolist() == [False, True]


@pytest.mark.parametrize(("dtype", "fmt"), [("bfloat16", BFLOAT16), ("float16", BINARY16)])
def test_frozen_weights_are_those_of_a_plain_loop(dtype, fmt):
    model, generator = small_net(2, (5, 16, 4)), generator_of(3)
    data = [
        (torch.randn(8, 5, generator=generator), torch.randn(8, 4, generator=generator))
        for _ in range(3)
    ]
    loss = nn.functional.mse_loss
    sgd = torch.optim.SGD(model.parameters(), lr=0.004)
    found = death(model, data, getattr(torch, dtype), loss=loss, optimizer=sgd)
    plain = small_net(2, (5, 16, 4)).to(getattr(torch, dtype))
    before = [p.detach().clone() for p in plain.parameters()]
    moved = [torch.zeros_like(p, dtype=torch.bool) for p in before]
    for x, y in data:
        plain.zero_grad()
        loss(plain(x.to(plain[0].weight.dtype)), y.to(plain[0].weight.dtype)).backward()
        for p, flags in zip(plain.parameters(), moved, strict=True):
            kept = p.detach().clone()
            exact = p.detach().double() - 0.004 * p.grad.double()
            p.data.copy_(round_to(exact, fmt))
            flags |= p.detach() != kept
    for layer, w, b in zip(found.layers, moved[::2], moved[1::2], strict=True):
        assert layer.window.n_moved.tolist() == (w.sum(1) + b).tolist()
    total = sum(int(layer.window.n_moved.sum()) for layer in found.layers)
    assert 0 < total < sum(p.numel() for p in before)


def stepped(arm: Arm | str, n_steps: int, spec="bf16-pure"):
    """Weights after some steps of an arm, and the state that it began with."""
    model, generator = small_net(4, (5, 16, 4)), generator_of(5)
    data = [
        Batch(torch.randn(8, 5, generator=generator), torch.randn(8, 4, generator=generator))
        for _ in range(n_steps)
    ]
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    low = low_of(spec, model)
    state = low_copy(low, Task(model=model, batch=None, optimizer=sgd))
    arm = ARMS[arm] if isinstance(arm, str) else arm
    trainer = Trainer(low, state, arm, nn.functional.mse_loss, seed=0)
    for batch in data:
        trainer.step(batch)
    return [p.detach() for p in trainer.model.parameters()], state.model, data


def test_the_low_arm_is_a_training_in_the_low_arithmetic():
    got, start, data = stepped("low", 4)
    sgd = torch.optim.SGD(start.parameters(), lr=0.01)
    with run_as(start, "bf16-pure"):
        for batch in data:
            sgd.zero_grad()
            nn.functional.mse_loss(start(batch.inputs), batch.target).backward()
            sgd.step()
    assert all(torch.equal(p, q.double()) for p, q in zip(got, start.parameters(), strict=True))


def test_the_exact_arm_is_a_training_in_binary64():
    got, start, data = stepped("exact", 4)
    plain = start.double()
    sgd = torch.optim.SGD(plain.parameters(), lr=0.01)
    for batch in data:
        sgd.zero_grad()
        nn.functional.mse_loss(plain(batch.inputs.double()), batch.target.double()).backward()
        sgd.step()
    assert all(torch.equal(p, q) for p, q in zip(got, plain.parameters(), strict=True))


@pytest.mark.parametrize("arm", ["low-update", "kahan", "exact-update", "master-fp32"])
def test_other_arms_are_what_they_say(arm):
    got, start, data = stepped(arm, 4)
    weights = [p.detach().double() for p in start.parameters()]
    lost = [torch.zeros_like(w) for w in weights]
    for batch in data:
        gradients = _gradients(start, weights, batch, exact=arm == "low-update")
        for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
            step = -0.01 * g
            if arm == "kahan":
                y = round_to((w + step) - w - lost[i], "bf16")
                t = round_to(w + y, "bf16")
                lost[i] = round_to(round_to(t - w, "bf16") - y, "bf16")
                weights[i] = t
            else:
                fmt = {"low-update": BFLOAT16, "master-fp32": BINARY32}.get(arm)
                weights[i] = w + step if fmt is None else round_to(w + step, fmt)
    assert all(
        torch.allclose(p, w, rtol=1e-15, atol=1e-18) for p, w in zip(got, weights, strict=True)
    )


def _gradients(start, weights, batch, *, exact: bool):
    """Gradients at weights: in binary64, or in BF16 at the weights rounded to it."""
    runner = small_net(4, (5, 16, 4)).to(torch.float64 if exact else torch.float32)
    with torch.no_grad():
        for p, w in zip(runner.parameters(), weights, strict=True):
            p.copy_(w if exact else round_to(w, "bf16"))
    x, y = (each.to(runner[0].weight.dtype) for each in (batch.inputs, batch.target))
    with run_as(runner, None if exact else "bf16-pure"):
        nn.functional.mse_loss(runner(x), y).backward()
    return [p.grad.double() for p in runner.parameters()]


def test_stochastic_updates_are_right_in_the_mean():
    model = nn.Sequential(nn.Linear(1, 4096, bias=False), nn.ReLU())
    nn.init.constant_(model[0].weight, 1.0)
    low = low_of("bf16-pure", model)
    sgd = torch.optim.SGD(model.parameters(), lr=2.0**-10)
    state = low_copy(low, Task(model=model, batch=None, optimizer=sgd))
    trainer = Trainer(low, state, ARMS["stochastic"], lambda y, _: -y.sum(), seed=7)
    for _ in range(16):
        trainer.step(Batch(torch.ones(1, 1)))
    moved = next(iter(trainer.model.parameters())).detach() - 1
    ulp, p = 2.0**-7, 2.0**-3  # each step moves by an ulp with probability 1/8
    error = ulp * math.sqrt(16 * p * (1 - p) / 4096)
    assert abs(float(moved.mean()) - 16 * 2.0**-10) < 4 * error
    assert set((moved / ulp).unique().tolist()) <= set(map(float, range(17)))


def test_a_loss_scale_that_is_a_power_of_two_changes_nothing_in_bf16():
    scaled, _, _ = stepped("loss-scale", 4)
    plain, _, _ = stepped("low", 4)
    assert all(torch.equal(p, q) for p, q in zip(scaled, plain, strict=True))


def test_mixed_arms_mix():
    names = ("low", "exact-forward", "exact-backward", "low-update")
    gradients = {name: first_gradients(name) for name in names}
    for first, second in itertools.combinations(gradients.values(), 2):
        assert not torch.equal(first, second)
    on_grid = {name: torch.equal(g, round_to(g, "bf16")) for name, g in gradients.items()}
    assert on_grid == dict(zip(names, (True, True, False, False), strict=True))
    errors = {name: float((g - gradients["low-update"]).norm()) for name, g in gradients.items()}
    assert 0 < max(errors["exact-forward"], errors["exact-backward"]) < 2 * errors["low"]


def first_gradients(arm: str) -> torch.Tensor:
    """Gradients of all weights in the first step of an arm, in a row."""
    model, generator = small_net(4, (5, 16, 4)), generator_of(5)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    low = low_of("bf16-pure", model)
    state = low_copy(low, Task(model=model, batch=None, optimizer=sgd))
    trainer = Trainer(low, state, ARMS[arm], nn.functional.mse_loss, seed=0)
    x, y = torch.randn(8, 5, generator=generator), torch.randn(8, 4, generator=generator)
    trainer.step(Batch(x, y))
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize(("fmt", "p"), [(BFLOAT16, 8), (BINARY16, 11)])
def test_the_laws_of_moving_hold_for_all_significands(fmt, p):
    beyond, within = Fraction(2**60 + 1, 2**60), Fraction(2**60 - 1, 2**60)
    for significand in range(2 ** (p - 1), 2**p, 1 if p == 8 else 5):
        w = Fraction(significand, 2 ** (p - 1))
        for sign in (-1, 1):
            assert fmt.absorbs(w, sign * within * w / 2 ** (p + 1))
            assert not fmt.absorbs(w, sign * beyond * w / 2**p)


def test_always_needs_a_normal_weight():
    smallest = Fraction(1, 2**24)
    assert BINARY16.absorbs(smallest, smallest / 4)  # 2^-2 |w| is far above 2^-11 |w|
    assert measure_law({"dtype": "float16", "n": 100, "seed": 0})["subnormal_moved"] is False


def test_fp16_gradients_vanish_up_to_two_to_the_minus_25():
    edge = Fraction(1, 2**25)
    assert round_scalar(edge, BINARY16) == 0
    assert round_scalar(edge * Fraction(2**30 + 1, 2**30), BINARY16) == Fraction(1, 2**24)
    assert float(torch.tensor(2.0**-25).half()) == 0


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_torch_follows_the_laws(dtype):
    found = measure_law({"dtype": dtype, "n": 20_000, "seed": 1})
    assert (found["n_never_moved"], found["n_always_unmoved"]) == (0, 0)
    assert min(found["n_never"], found["n_always"]) > 5000
    assert 0.4 < found["n_between_moved"] / found["n_between"] < 0.6
    assert (found["decayed_below"], found["decayed_above"]) == (0, 1)
    assert found["decayed_typical"] == (0 if dtype in ("bfloat16", "float16") else 1)


def test_mcnemar_is_the_sign_test_of_scipy():
    for first, second in itertools.product(range(0, 40, 7), repeat=2):
        if first + second:
            judged = stats.binomtest(first, first + second).pvalue
            assert mcnemar(first, second) == pytest.approx(judged, rel=1e-12)
    assert mcnemar(0, 0) == 1


def test_sign_flips_against_all_of_them():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, -2.0, 6.0, 5.0])
    flips = np.array(list(itertools.product([-1, 1], repeat=8)))
    exact = float((np.abs(flips @ values) >= abs(values.sum())).mean())
    assert by_cluster(values).p_value == pytest.approx(exact, abs=0.006)


@pytest.mark.slow
def test_intervals_over_seeds_cover():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(2000):
        values = rng.poisson(2.0, 20).astype(float)
        found = by_cluster(values, n_resamples=1000, seed=trial)
        hits += found.low <= 2.0 <= found.high
    assert 0.93 <= hits / 2000 <= 0.97, hits
