"""The study of the backward pass: its points, what is read from them, and its verdicts."""

import json
import math
from dataclasses import replace

import pytest
import torch

from deephochuli.studies import get_study
from deephochuli.studies._study import Result
from deephochuli.studies.backward._models import network
from deephochuli.studies.backward._read import looks, pick, summaries, vanished_share, whole

torch.set_num_threads(1)
STUDY = get_study("backward")
SMALL = [
    {"what": "mlp", "epochs": 0, "seed": 0, "images": 8},
    {"what": "mlp", "epochs": 2, "seed": 0, "images": 8},
]


@pytest.fixture(scope="module")
def results():
    return [Result(params, json.loads(json.dumps(STUDY.measure(params)))) for params in SMALL]


def test_the_control_loses_nothing(results):
    found = looks(results)
    for each in pick(found, "fp64"):
        assert sum(row["lost"] + row["nonfinite"] for row in each.rows) == 0


def test_the_whole_gradient_is_that_of_all_parameters_together(results):
    """Against one dot product over the concatenated gradients."""
    from torch import nn

    from deephochuli.arithmetic import run_as
    from deephochuli.studies._reference_net import digits

    images, labels, _, _ = digits()
    model = network("mlp", 0, 0)

    def gradient(x, arithmetic):
        model.zero_grad()
        with run_as(model, arithmetic):
            nn.functional.cross_entropy(model(x), labels[:8]).backward()
        return torch.cat([p.grad.double().flatten() for p in model.parameters()])

    q = gradient(images[:8], "bf16")
    model.double()
    model.zero_grad()
    nn.functional.cross_entropy(model(images[:8].double()), labels[:8]).backward()
    r = torch.cat([p.grad.flatten() for p in model.parameters()])
    look = next(
        each for each in pick(looks(results), "bf16") if each.what == "mlp" and not each.trained
    )
    cosine, scale = whole(look.parameters)
    assert cosine == pytest.approx(float(q @ r / q.norm() / r.norm()), abs=1e-9)
    assert scale == pytest.approx(float(q.norm() / r.norm()), rel=1e-9)


def test_points_repeat_and_leave_the_generator_alone(results):
    state = torch.get_rng_state()
    assert json.loads(json.dumps(STUDY.measure(SMALL[0]))) == results[0].values
    assert torch.equal(torch.get_rng_state(), state)


def test_conclusions_are_whole(results):
    conclusion = STUDY.conclude(results)
    assert conclusion.claims[0].verdict == "confirmed"
    assert len(conclusion.claims) == 12
    for table in conclusion.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        cells = [cell for row in table.rows for cell in row if isinstance(cell, float)]
        assert all(math.isfinite(cell) for cell in cells)
    keys = [figure.key for figure in conclusion.figures]
    assert len(set(keys)) == len(keys)
    for figure in conclusion.figures:
        for series in figure.series:
            assert series.mark == "rule" or len(series.x) == len(series.y)


def test_a_loss_in_the_control_refutes_it_and_wide_losses_leave_it_open(results):
    values = json.loads(json.dumps(results[0].values))
    values["fp64"]["rows"][0]["lost"] = 1
    for row in values["fp32"]["rows"]:
        row["lost"], row["decided"] = row["live"], 0
    claims = STUDY.conclude([replace(results[0], values=values), *results[1:]]).claims
    assert claims[0].verdict == "refuted"
    assert claims[1].verdict == "open"


def test_summaries_pool_the_seeds(results):
    again = [replace(r, params={**r.params, "seed": 1}) for r in results]
    found = list(summaries(looks([*results, *again])))
    assert {each.n for each in found} == {2}
    one = next(each for each in found if each.arithmetic == "fp16")
    assert one.parameters.low == pytest.approx(one.parameters.high)
    assert vanished_share([]) == 0


def test_the_plan_has_formats_architectures_and_both_states():
    points = [point.params for point in STUDY.points()]
    assert len({point.id for point in STUDY.points()}) == len(points)
    assert len({params["what"] for params in points}) >= 3
    assert {params["epochs"] > 0 for params in points} == {True, False}
    assert all(STUDY.weight(params) > 0 for params in points)


@pytest.mark.slow
def test_the_whole_study():
    results = [Result(point.params, STUDY.measure(point.params)) for point in STUDY.points()]
    claims = STUDY.conclude(results).claims
    verdicts = [claim.verdict for claim in claims]
    assert verdicts[:5] == ["confirmed", "refined", "confirmed", "confirmed", "confirmed"]
