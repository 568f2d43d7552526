"""Arms from one state, on a model in which it is known what each must do."""

import pytest
import torch
from torch import nn

from deephochuli.analysis.death import ARMS, FOUR, Arm, revival
from deephochuli.errors import ArithmeticSpecError, CompareError

STEP = 2.0**-10


def drifting(n_dead: int = 8) -> nn.Sequential:
    """A first weight 1 that every step raises by 2^-10, and dead units that wait for it.

    The dead ones compute a - (1 + 2^-7), where a is the first activation: in BF16 2^-10 is absorbed
    by 1, whose gap is 2^-7; exact updates pass 1 + 2^-7 after eight steps. FP16 has a gap of 2^-10.
    """
    model = nn.Sequential(
        nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1 + n_dead), nn.ReLU()
    )
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.fill_(1.0)
        model[2].bias.fill_(-1 - 2.0**-7)
        model[2].bias[0] = 0.0
    model[2].requires_grad_(False)
    return model


def upwards(output: torch.Tensor, target: object) -> torch.Tensor:
    return -output[:, 0].sum()


def revived(arms=FOUR, spec="bf16-pure", steps=12, **more):
    model = drifting()
    sgd = torch.optim.SGD(model.parameters(), lr=STEP)
    x = torch.ones(1, 1)
    return revival(model, x, spec, optimizer=sgd, loss=upwards, steps=steps, arms=arms, **more)


def test_the_update_decides():
    found = revived(steps=[4, 12])
    assert found.units == tuple(("2", unit) for unit in range(1, 9))
    assert [found.n_revived(arm, 4) for arm in FOUR] == [0, 0, 0, 0]
    assert [found.n_revived(arm) for arm in FOUR] == [0, 8, 8, 0]
    assert found.moved[:, -1].tolist() == pytest.approx([0, 1 / 19, 1 / 19, 0])
    assert found.paired("low", "exact").p_value == 2 / 2**8
    assert found.never_low.all()
    assert not found.late_low.any()


def test_treatments_heal_what_theory_says():
    found = revived(["master-fp32", "kahan", "stochastic", "loss-scale", "scale-and-master"])
    alive = {arm.name: found.n_revived(arm.name) for arm in found.arms}
    assert alive == {
        "low": 0, "exact": 8, "master-fp32": 8, "kahan": 8,
        "stochastic": 8, "loss-scale": 0, "scale-and-master": 8,
    }  # fmt: skip


def test_one_exact_ingredient_of_the_gradient_does_not_help():
    found = revived(["exact-forward", "exact-backward"])
    assert [found.n_revived(arm.name) for arm in found.arms] == [0, 8, 0, 0]


@pytest.mark.parametrize("spec", ["fp16-pure", torch.float16, "fp32", "fp64"])
def test_finer_formats_let_it_happen(spec):
    found = revived(spec=spec)
    assert [found.n_revived(arm) for arm in FOUR] == [8] * 4


def test_underflow_needs_a_scale_and_absorption_master_weights():
    """In FP16 a gradient of 2^-26 is zero; scaled it is felt, and absorbed without masters."""
    model = drifting()
    sgd = torch.optim.SGD(model.parameters(), lr=2.0**16)
    found = revival(
        model,
        torch.ones(1, 1),
        "fp16-pure",
        optimizer=sgd,
        loss=lambda output, _: -output[:, 0].sum() * 2.0**-27,
        arms=["master-fp32", "loss-scale", "scale-and-master"],
        steps=18,
    )
    alive = [found.n_revived(arm.name) for arm in found.arms]
    assert alive == [0, 8, 0, 0, 8]


def test_a_step_that_overflows_is_left_out_under_a_loss_scale():
    huge = Arm("huge", "low", "low", "exact", 2.0**40)
    found = revived([huge], spec="fp16-pure")
    assert found.moved[-1, -1] == 0


def test_answers_are_data():
    found = revived(["kahan"])
    sheet = found.sheet()
    assert "0 live after 12 steps in bf16-pure and 8 in binary64" in sheet.answer
    (finding,) = sheet.findings
    assert (finding.kind, finding.layer) == ("no-revival", "2")
    assert "Arms that restore it: kahan" in finding.summary
    assert "kahan" in str(found)
    assert {series.name for series in sheet.figures[0].series} == {"low", "exact", "kahan"}
    assert revived(spec="fp64").findings == ()


def test_without_dead_units_there_is_nothing_to_see():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    sgd = torch.optim.SGD(model.parameters(), lr=STEP)
    found = revival(model, torch.ones(1, 1), optimizer=sgd, loss=upwards, steps=1)
    assert found.units == ()
    assert "nothing to see" in found.sheet().answer


def test_it_repeats_and_touches_nothing():
    model = drifting()
    sgd = torch.optim.SGD(model.parameters(), lr=STEP, momentum=0.5)
    state, before = torch.get_rng_state(), model[0].weight.clone()
    first, second = (
        revival(model, torch.ones(1, 1), optimizer=sgd, loss=upwards, arms=["stochastic"], steps=3)
        for _ in range(2)
    )
    assert first.moved.tolist() == second.moved.tolist()
    assert first.alive.tolist() == second.alive.tolist()
    assert torch.equal(model[0].weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (model[0].weight.grad, len(sgd.state)) == (None, 0)


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"arms": ["kahn"]}, CompareError, "'kahan'"),
        ({"steps": 0}, CompareError, "steps=0"),
        ({"steps": [3, 2]}, CompareError, "rising order"),
        ({"arms": ["exact-forward"], "spec": torch.bfloat16}, ArithmeticSpecError, "bf16-pure"),
    ],
)
def test_what_cannot_be_asked_is_said(more, error, says):
    with pytest.raises(error, match=says):
        revived(**more)


def test_every_arm_is_described():
    assert all(arm.name == name and arm.says for name, arm in ARMS.items())
