"""The study of the kink: its plan, its measurements, and verdicts that could fall otherwise."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from deephochuli.studies import Result
from deephochuli.studies.kink import STUDY, measure
from deephochuli.studies.kink import _claims as claims
from deephochuli.studies.kink._plan import LARGE, NORMED, SMALL
from deephochuli.studies.kink._read import Law, Net, Race, Zone, law, nets, races, zones
from deephochuli.studies.kink._ways import (
    batches_of_digits,
    execution_named,
    large_images,
    network,
    prepared,
)

pytest.importorskip("sklearn")

REFERENCE = {"what": "reference", "bias": "default", "epochs": 0, "batches": 1}
SMALL_POINTS = [
    {**REFERENCE, "way": "bf16 apart"},
    {"what": "volume", "net": NORMED, "way": "bf16", "first": 3, "n": 1},
    {"what": "law", "first": 0, "n": 2},
    {
        "what": "training",
        "net": SMALL,
        "optimizer": "sgd",
        "way": "bf16 apart",
        "seed": 0,
        "epochs": 1,
    },
]


@pytest.mark.parametrize("quick", [True, False])
def test_points_are_json_and_none_is_there_twice(quick):
    points = STUDY.points(quick)
    assert len({point.id for point in points}) == len(points)
    for point in points:
        assert json.loads(json.dumps(dict(point.params))) == dict(point.params)
        assert STUDY.weight(point.params) > 0
    assert {point.params["what"] for point in points} == {
        "reference",
        "volume",
        "law",
        "training",
    }


@pytest.mark.parametrize("params", SMALL_POINTS, ids=lambda params: params["what"])
def test_a_point_repeats_and_leaves_nothing_behind(params):
    dice = torch.random.get_rng_state()
    torch.set_num_threads(2)
    first, again = measure(params), measure(params)
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert torch.get_num_threads() == 2
    assert torch.random.get_rng_state().equal(dice)


def test_zeros_of_a_point_are_those_of_plain_torch():
    values = measure({**REFERENCE, "way": "bf16 apart"})
    from deephochuli.studies._reference_net import reference_net

    model = reference_net().to(torch.bfloat16)
    x = batches_of_digits(1)[0][0].to(torch.bfloat16)
    found = {}
    with torch.no_grad():
        for name, module in model.named_children():
            if isinstance(module, nn.ReLU):
                found[name] = int((x == 0).sum())
            if isinstance(module, nn.Conv2d):
                bias = module.bias[:, None, None]
                x = nn.functional.conv2d(x, module.weight, padding=1) + bias
            elif isinstance(module, nn.Linear):
                x = x @ module.weight.T + module.bias
            else:
                x = module(x)
    assert {name: layer["zero"] for name, layer in values["layers"].items()} == found
    assert sum(found.values()) > 50
    assert 0.5 < sum(found.values()) / values["predicted"] < 2


def test_images_are_all_different_and_within_their_range():
    images = large_images(300, seed=4)
    assert images.shape == (300, 784)
    assert float(images.min()) == 0
    assert float(images.max()) <= 1
    assert len(images.unique(dim=0)) == 300
    assert 0.05 < float(images.square().mean()) < 0.2


def test_ways_and_networks_are_what_their_names_say():
    assert execution_named("fp16 apart").dtype is torch.float16
    assert execution_named("fp64 of bf16 weights").bias == "fused"
    few = prepared(network(SMALL, 1), "fp64 of bf16 weights")
    weight = few[0].weight.data
    assert weight.dtype is torch.float64
    assert weight.equal(network(SMALL, 1)[0].weight.data.bfloat16().double())
    assert [m.in_features for m in network(LARGE, 0) if isinstance(m, nn.Linear)] == [
        784,
        2000,
        128,
    ]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in network(NORMED, 0)) == 2


NET = Net(
    way="bf16 apart",
    bias="default",
    epochs=0,
    n=1_000_000,
    zero=500,
    first=(1000, 130),
    causes={"structural": 0, "exact": 0, "cancellation": 500, "underflow": 0, "unknown": 0},
    changed=[True] * 10,
    half=[0.01] * 10,
    whole=[0.02] * 10,
    weights=[0.2] * 10,
    predicted=500.0,
)
QUIET = replace(NET, way="fp64", zero=0, changed=[False] * 10, whole=[0.0] * 10, predicted=None)


def zone(net, way, n, n_changed):
    return Zone(net, way, n, n_changed, n, n_changed, 10**6 * n, n_changed)


def race(net, optimizer, differences, losses):
    return Race(
        net,
        optimizer,
        "bf16 apart",
        tuple((0.9 + d, 0.9, 0.9) for d in differences),
        tuple((1.0, 1.0, 1.0 + each) for each in losses),
        tuple(("a", "b", "c") for _ in differences),
    )


LAW = Law(10**9, 21, 20, 20.0)


@pytest.mark.parametrize(
    ("large", "small", "verdict"),
    [(8, 0, "refined"), (0, 0, "refuted"), (16, 0, "refuted"), (8, 60, "refuted")],
)
def test_half_of_the_time(large, small, verdict):
    found = [zone(LARGE, "fp32", 16, large), zone(SMALL, "fp32", 100, small)]
    assert claims.half_of_the_time(found, LAW).verdict == verdict
    assert claims.half_of_the_time(found[1:], LAW).verdict == "open"


def test_never_at_64():
    zones_found = [zone(SMALL, "fp64", 100, 0)]
    begun = replace(QUIET, bias="zero", changed=[True] * 10)
    assert claims.never_at_64([QUIET], zones_found).verdict == "confirmed"
    assert claims.never_at_64([QUIET, begun], zones_found).verdict == "refined"
    hit = replace(QUIET, changed=[True] + [False] * 9)
    assert claims.never_at_64([hit], zones_found).verdict == "refuted"
    assert claims.never_at_64([QUIET], [zone(SMALL, "fp64", 100, 1)]).verdict == "refuted"


def test_always_at_16():
    fused = replace(NET, way="bf16", changed=[True, False])
    assert claims.always_at_16([NET], []).verdict == "confirmed"
    assert claims.always_at_16([NET, fused], []).verdict == "refined"
    assert claims.always_at_16([replace(NET, changed=[False])], []).verdict == "refuted"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.01, 0.012, 0.011], "confirmed"),
        ([-0.01, -0.012], "open"),
        ([-0.01] * 2 + [-0.011], "refuted"),
    ],
)
def test_zero_is_best(differences, verdict):
    found = [race(SMALL, "sgd", differences, [0.1] * len(differences))]
    assert claims.zero_is_best(found).verdict == verdict


@pytest.mark.parametrize(
    ("others", "verdict"),
    [([0.01, 0.011], "confirmed"), ([0.5, 0.51], "refuted"), ([0.1, 0.11], "open")],
)
def test_buffered(others, verdict):
    found = [
        race(SMALL, "sgd", [0, 0], [0.1, 0.101]),
        race(NORMED, "sgd", [0, 0], others),
        race(SMALL, "adam", [0, 0], others),
    ]
    assert claims.buffered(found, []).verdict == verdict


@pytest.mark.parametrize(("zero", "verdict"), [(500, "confirmed"), (5000, "refined")])
def test_counts_of_zeros(zero, verdict):
    net = replace(NET, zero=zero, causes={**NET.causes, "cancellation": zero})
    assert claims.shares_of_zeros([net]).verdict == verdict
    assert claims.expected_zeros([net], LAW).verdict == verdict
    assert claims.expected_zeros([NET], Law(10**9, 20, 80, 20.0)).verdict == "refined"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [({}, "confirmed"), ({"changed": [False]}, "refuted"), ({"whole": [0.3] * 10}, "refined")],
)
def test_bf16_always(change, verdict):
    assert claims.bf16_always([replace(NET, **change)]).verdict == verdict


def test_linear_in_alpha():
    assert claims.linear_in_alpha([NET]).verdict == "confirmed"
    assert claims.linear_in_alpha([replace(NET, half=[0.018] * 10)]).verdict == "refined"


def test_structure_is_harmless():
    bare = replace(QUIET, bias="none")
    begun = replace(QUIET, bias="zero", changed=[True] * 10)
    assert claims.structure_is_harmless([bare]).verdict == "confirmed"
    assert claims.structure_is_harmless([bare, begun]).verdict == "refined"
    hit = replace(bare, changed=[True])
    assert claims.structure_is_harmless([hit]).verdict == "refuted"


def test_extras():
    few = {**NET.causes, "cancellation": 0, "exact": 20}
    rounded = replace(NET, way="bf16", bias="none")
    assert claims.extras([replace(rounded, zero=20, causes=few)]).verdict == "refined"
    assert claims.extras([rounded]).verdict == "confirmed"


@pytest.fixture(scope="module")
def results():
    ways = ("fp64", "bf16", "bf16 apart")
    params = [
        *({**REFERENCE, "way": way} for way in ways),
        {**REFERENCE, "way": "fp64", "bias": "none"},
        {**REFERENCE, "way": "fp64", "bias": "zero"},
        *SMALL_POINTS[1:],
    ]
    return [Result(each, json.loads(json.dumps(measure(each)))) for each in params]


def test_results_are_put_together(results):
    assert [(net.way, net.bias) for net in nets(results)][-1] == ("fp64", "zero")
    assert zones(results)[0].n == 1
    assert law(results).n == 2 * 1437 * 2000
    (trained,) = races(results)
    assert len(trained.accuracy[0]) == 3


def test_a_conclusion_has_claims_tables_and_figures(results):
    made = STUDY.conclude(results)
    assert len(made.claims) == 11
    assert "BF16" in made.answer
    for table in made.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    for figure in made.figures:
        for series in figure.series:
            assert len(series.x) == len(series.y)
    by_text = {claim.text: claim.verdict for claim in made.claims}
    assert by_text["At 64 bits it never differs"] == "refined"
    assert by_text["r(1/2) = 0.5 r(1)"] == "confirmed"
