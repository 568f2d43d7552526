"""Planted rounding biases are found, and nothing else; the training does not notice."""

import copy
import math
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli import CompareError, DeepHochuliWarning, get_arithmetic, run_as
from deephochuli.analysis.rounding_bias import RoundingBias
from deephochuli.analysis.rounding_bias._errors import errors_of
from deephochuli.formats import BFLOAT16
from tests.unit.analysis.rounding_bias.planted import Rounds, Tensors, train

BIASED = [("toward-zero", "large"), ("nearest-even", "one sign"), ("nearest-even", "own sign")]
SOUND = [("nearest-even", "large"), ("nearest-even", "small"), ("stochastic", "one sign")]


def watched(rounding, kind, n_tensors, n_steps=24, size=64, **options):
    model = Tensors(n_tensors, size, **options)
    optimizer = Rounds(model.parameters(), rounding=rounding)
    with RoundingBias(model, optimizer) as bias:
        train(model, optimizer, kind, n_steps)
    return bias.result()


def n_alarmed(result):
    return len({row.layer for row in result.alarms})


@pytest.mark.parametrize(("rounding", "kind"), BIASED)
def test_planted_biases_give_an_alarm(rounding, kind):
    result = watched(rounding, kind, 3)
    assert n_alarmed(result) == 3
    assert {finding.kind for finding in result.findings} == {"rounding-bias"}
    assert all(row.alarm < 25 for row in result.alarms)


@pytest.mark.parametrize(("rounding", "kind"), SOUND)
def test_sound_roundings_give_none(rounding, kind):
    result = watched(rounding, kind, 3)
    assert result.alarms == ()
    assert result.findings == ()


def test_the_direction_says_what_happens():
    cut = watched("toward-zero", "large", 3)
    inward = [r for r in cut.alarms if r.direction == "outward"]
    assert len(inward) == 3
    assert all(r.mean.high < -0.3 for r in inward)
    lost = watched("nearest-even", "own sign", 3)
    assert {r.direction for r in lost.alarms} == {"drift"}
    assert all(r.part == pytest.approx(1, abs=0.1) for r in lost.alarms)


@pytest.mark.slow
def test_a_hundred_and_ten_planted_of_each_kind():
    """Confusion matrix over 660 tensors: at least 95 % right, and none of the sound ones wrong."""
    found = {case: n_alarmed(watched(*case, 110, n_steps=40)) for case in BIASED + SOUND}
    assert all(found[case] >= 0.95 * 110 for case in BIASED), found
    assert all(found[case] == 0 for case in SOUND), found


def test_fp64_gives_no_alarm_and_says_why():
    result = watched("nearest-even", "one sign", 3, dtype=torch.float64)
    assert result.rows == ()
    assert result.findings == ()
    assert "wider format" in result.unseen[0][1]


def net(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1))
        return nn.Sequential(*layers, nn.Linear(16, 3)).to(dtype)


def learn(model, optimizer, n_steps=8, scheduler=None):
    torch.manual_seed(7)
    dtype = next(model.parameters()).dtype
    for _ in range(n_steps):
        x = torch.randn(20, 12).to(dtype)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "adam foreach": lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True, amsgrad=True),
    "rprop": lambda p: torch.optim.Rprop(p),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_training_is_the_same_to_the_bit(name, dtype):
    plain, seen = net(dtype), net(dtype)
    for model in (plain, seen):
        optimizer = OPTIMIZERS[name](model.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        if model is seen:
            with RoundingBias(model, optimizer, every=2, outputs=True) as bias:
                learn(model, optimizer, scheduler=scheduler)
            dice = torch.random.get_rng_state()
        else:
            learn(model, optimizer, scheduler=scheduler)
            expected = torch.random.get_rng_state()
    assert dice.equal(expected)
    for mine, theirs in zip(seen.state_dict().values(), plain.state_dict().values(), strict=True):
        assert mine.equal(theirs)
    assert {row.n_steps for row in bias.result().rows} == {4}


def test_ordinary_training_in_fp32_gives_no_alarm():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with RoundingBias(model, optimizer) as bias:
        learn(model, optimizer, 40)
    assert bias.result().alarms == ()


def test_the_shadow_of_a_step_is_the_step_of_a_binary64_copy():
    from deephochuli.analysis.rounding_bias._shadow_step import shadow_step

    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.1)
    learn(model, optimizer, 3)
    wide = copy.deepcopy(model).double()
    other = torch.optim.Adam(wide.parameters(), lr=1e-2, weight_decay=0.1, foreach=False)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, q in zip(wide.parameters(), model.parameters(), strict=True):
        p.grad = q.grad.double()
    other.step()
    made = shadow_step(optimizer, list(model.parameters()))
    for mine, theirs in zip(made, wide.parameters(), strict=True):
        assert mine.equal(theirs.detach())


def test_a_run_in_an_arithmetic_is_watched_in_its_format():
    """The optimizer of a run in BF16 cuts off: found inside `run_as`, in tensors of float32."""
    cut = replace(get_arithmetic("fp32"), name="cut", optimizer=BFLOAT16, rounding="toward-zero")
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with run_as(model, cut), RoundingBias(model, optimizer, format="bf16") as bias:
        learn(model, optimizer, 40)
    result = bias.result()
    assert "0.weight" in {row.layer for row in result.alarms}
    assert {row.format for row in result.rows} == {"bf16"}


def output_alarms(arithmetic):
    """Alarms of one dense layer's outputs, in an arithmetic that keeps them in BF16."""
    model = nn.Sequential(nn.Linear(64, 32, bias=False))
    nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(2)
    watch = RoundingBias(model, optimizer, outputs=True, format="bf16")
    with run_as(model, arithmetic), watch:
        for _ in range(24):
            model(torch.randn(4, 64, generator=generator)).square().mean().backward()
            optimizer.step()
    return [row for row in watch.result().alarms if row.quantity == "z"]


def test_outputs_that_are_cut_off_shrink_and_others_do_not():
    cut = replace(get_arithmetic("bf16"), name="cut", rounding="toward-zero")
    (row,) = output_alarms(cut)
    assert (row.layer, row.direction) == ("0", "outward")
    assert row.mean.high < -0.1
    assert output_alarms("bf16") == []


def test_what_fails_is_switched_off_with_one_warning():
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 12)).square().mean()
        loss.backward()
        return loss

    with RoundingBias(model, optimizer) as bias, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            optimizer.step(closure)
    assert ["not followed any more" in str(each.message) for each in told] == [True]
    assert told[0].category is DeepHochuliWarning
    assert bias.result().rows == ()


def test_errors_are_those_of_rationals():
    generator = torch.Generator().manual_seed(6)
    exact = torch.randn(300, generator=generator, dtype=torch.float64)
    rounded = exact.bfloat16().double()
    found = errors_of(exact, rounded, exact, BFLOAT16, 0.0)
    for i, (x, y) in enumerate(zip(exact.tolist(), rounded.tolist(), strict=True)):
        gap = Fraction(BFLOAT16.ulp(x))
        assert Fraction(found.errors[i]) == pytest.approx(
            (Fraction(y) - Fraction(x)) / gap, abs=1e-12
        )
        assert found.below[i] + found.above[i] == pytest.approx(1)
        assert -found.below[i] - 1e-12 <= found.errors[i] <= found.above[i] + 1e-12
    assert np.abs(found.errors).max() <= 0.5


def test_numbers_that_shrank_and_exact_ones_are_left_out():
    exact = torch.tensor([1.0, 1.001, 0.1003, math.inf], dtype=torch.float64)
    before = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    found = errors_of(exact, exact.bfloat16().double(), before, BFLOAT16, 0.0)
    assert found.errors.astype(bool).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"alpha": 0.0}, {"alpha": 1.0}, {"n_elements": 0}]
)
def test_bad_arguments_are_refused(options):
    model = net()
    with pytest.raises(CompareError, match="expected 1 or more"):
        RoundingBias(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(CompareError, match="no parameter of Sequential"):
        RoundingBias(net(), torch.optim.SGD(net().parameters(), lr=0.1))


def test_the_answer_is_told_as_text_and_as_a_table():
    result = watched("toward-zero", "large", 2)
    assert "towards zero, step after step" in str(result)
    sheet = result.sheet()
    (table,) = sheet.tables
    assert len(table.rows) == len(result.rows) == result.n_wagers == 6
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert result.to_dict()["n_wagers"] == 6
    assert sheet.figures[0].series[0].name == "up"
