"""The study of affine pieces: its starts, its steps, its fits, and claims that can fail."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from deephochuli import pieces
from deephochuli.analysis.assumptions import paths
from deephochuli.studies._study import Result
from deephochuli.studies.pieces import STUDY, conclude
from deephochuli.studies.pieces._fit import exponent, rate
from deephochuli.studies.pieces._growth import growth
from deephochuli.studies.pieces._kept import Kept
from deephochuli.studies.pieces._measure import measure
from deephochuli.studies.pieces._nets import Group, he, repeated, teeth, tents
from deephochuli.studies.pieces._rational import bias_gradients
from deephochuli.studies.pieces._read import rows_of
from deephochuli.studies.pieces._step import Way, dead, descended, sampled, updates
from deephochuli.studies.pieces._survey import bounded, segments, surveyed

BASE = {"n_nets": 2, "seed": 2, "zoom": 0}
STEP = BASE | {"kind": "step", "start": "last", "depth": 4, "target": "sin", "log2_lr": -4}


def on(group, low=0.0):
    return segments(0, group.n_nets, 1, low)


@pytest.mark.parametrize("depth", [1, 3, 7])
@pytest.mark.parametrize("readout", ["last", "square"])
def test_scaled_teeth_have_all_their_pieces_and_bounded_slopes(depth, readout):
    group = Group(repeated(teeth(depth, readout=readout), 2))
    survey = surveyed(group, on(group))
    assert survey.regions == survey.pieces == [2**depth] * 2
    assert survey.n_open == 0
    slope = bounded(group, on(group), survey, None)["slope"]
    assert slope <= (1 if readout == "last" else 2)
    x = (
        torch.arange(2**depth + 1, dtype=torch.float64).reshape(1, -1, 1).expand(2, -1, 1)
        / 2**depth
    )
    y = group(x)
    expected = x.square() if readout == "square" else torch.arange(2**depth + 1) % 2 / 2**depth
    assert torch.equal(
        y.flatten(1), expected.expand(2, -1, *expected.shape[2:]).flatten(1).double()
    )


def test_raw_tents_have_all_their_pieces_and_slopes_that_double():
    group = Group(repeated(tents(5), 1))
    survey = surveyed(group, on(group))
    assert survey.regions == [32]
    assert bounded(group, on(group), survey, None)["slope"] == 16  # of the last pre-activation
    assert group(torch.tensor([[[0.1]]]).double()).item() == pytest.approx(0.8)


def test_chains_side_by_side_are_the_mean_of_one():
    one, four = Group(repeated(teeth(3), 1)), Group(repeated(teeth(3, 4), 1))
    x = torch.rand(1, 50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(one(x), four(x), atol=1e-15)
    assert four.bias[1].shape == (1, 8)


def test_random_networks_have_the_variance_of_he():
    layers = he(64, 3, 20, seed=1)
    assert layers[1][0].var() == pytest.approx(2 / 64, rel=0.02)
    assert layers[1][1].std() == pytest.approx(0.1, rel=0.05)


def test_a_group_is_its_networks():
    group = Group(he(5, 3, 4, seed=3))
    x = torch.rand(4, 9, 1, dtype=torch.float64)
    for index in range(4):
        assert torch.allclose(group.one(index)(x[index]), group(x)[index], atol=1e-14)


def test_kept_networks_keep_their_pieces_and_are_the_same_functions():
    kept = Kept(5, 3, seed=1)
    data = sampled("sin", 3, 1)
    trained = descended(kept, data, 0.05, Way("exact"), n_steps=60)
    assert not torch.allclose(trained.raw, kept.raw)
    for each in (kept, trained):
        group = Group(each.layers())
        assert torch.allclose(group(data.x), each(data.x), atol=1e-12)
        survey = surveyed(group, on(group))
        assert survey.regions == [32] * 3
        for index, cells in enumerate(survey.cells):
            for path in paths(group.one(index), *on(group)[index], cells):
                assert path.sup_slope[:2].max() <= 1 + 1e-12  # (B), for the tents


@pytest.mark.parametrize("start", ["last", "square"])
def test_gradients_in_rationals_are_those_of_autograd(start):
    group = Group(repeated(teeth(5, readout=start), 2))
    data = sampled("sin", 2, 4, n_points=7)
    after = descended(group, data, 1.0, Way("exact"))
    for index in range(2):
        exact = bias_gradients(group.one(index), data.x[index], data.y[index])
        for moved, of_layer in zip(updates(group, after), exact, strict=False):
            expected = [-float(g) for g in of_layer]
            np.testing.assert_allclose(moved[index], expected, rtol=1e-10, atol=1e-16)


def test_short_training_points_make_gradients_of_exactly_zero():
    """The trap that random points avoid: numbers of few bits sit on the kinks of deep teeth."""
    group = Group(repeated(teeth(12), 1))
    data = sampled("square", 1, 1)
    coarse = copy.copy(data)
    object.__setattr__(coarse, "x", (data.x * 256).round() / 256)
    assert all((u == 0).all() for u in updates(group, descended(group, coarse, 1, Way("exact"))))
    assert all((u != 0).any() for u in updates(group, descended(group, data, 1, Way("exact"))))


@pytest.mark.parametrize("name", ["relative 2^-3", "absolute 2^-3"])
def test_noise_has_the_size_that_its_name_says(name):
    group = Group(he(40, 2, 3, seed=5))
    data = sampled("sin", 3, 5)
    exact = descended(group, data, 0.1, Way("exact"))
    noised = descended(group, data, 0.1, Way(name), seed=8)
    for moved, error in zip(updates(group, exact), updates(exact, noised), strict=True):
        size = np.abs(moved) if name.startswith("relative") else np.ones_like(moved)
        assert (np.abs(error) <= size / 8 + 1e-15).all()
        assert np.abs(error).max() > 0.9 * size.max() / 8 * (size.min() / size.max() == 1)
    weights = zip(exact.weight, noised.weight, strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_dead_units_are_those_without_a_positive_input():
    group = Group(repeated(teeth(3), 2))
    with torch.no_grad():
        group.bias[1][1, 0] = -9.0
    found = dead(group, sampled("sin", 2, 1))
    assert not found[0].any()
    assert found[1].tolist() == [False, False, True, False, True, True]  # and what it fed


def test_short_segments_are_dyadic_and_hold_as_many_pieces():
    group = Group(repeated(teeth(24), 2))
    where = segments(18, 2, 7)
    assert surveyed(group, where).regions == [64, 64]
    for x0, x1 in where:
        assert float(x1 - x0) == 2.0**-18
        assert math.modf(float(x0) * 2**18)[0] == 0


def test_the_bound_of_random_biases_is_layers_over_noise():
    """Slopes of one, two units a layer: 1 + 2 L / (2 s) from C."""
    values = measure(
        BASE | {"kind": "absolute", "start": "last", "depth": 6, "ways": ["absolute 2^-5"]}
    )
    (row,) = values["rows"]
    assert row["slope"] == 1
    assert row["bound"] == 1 + 6 * 32
    assert row["bound_variation"] <= row["bound"]


def test_exponents_are_found_and_their_intervals_hold_them():
    rng = np.random.default_rng(1)
    x = [2, 4, 8, 16]
    counts = np.array([[k**1.5] * 30 for k in x]) * rng.lognormal(0, 0.3, (4, 30))
    found = exponent(x, counts)
    assert found.low < 1.5 < found.high
    assert 0.02 < found.high - found.low < 0.4
    assert rate(x, 2.0 ** (0.5 * np.array(x))[:, None]).value == pytest.approx(0.5)


@pytest.mark.parametrize(
    "params",
    [
        STEP | {"depth": 2, "ways": ["exact", "operations 2^-8", "bf16"]},
        STEP | {"start": "he", "width": 4, "ways": ["exact", "relative 2^-4"]},
        STEP | {"kind": "training", "n_steps": 5, "ways": ["relative 2^-4"]},
        BASE
        | {"kind": "kept", "depth": 3, "n_steps": 5, "target": "sin", "log2_lr": -5}
        | {"ways": ["exact", "absolute 2^-2"]},
        BASE | {"kind": "reference", "start": "square", "depth": 2, "target": "sin"},
    ],
)
def test_a_point_repeats_and_is_json(params):
    """The generator of torch is left as it was: building a network must not draw from it."""
    state = torch.get_rng_state()
    first = json.dumps(measure(params), allow_nan=False)
    assert json.dumps(measure(params), allow_nan=False) == first
    assert torch.equal(state, torch.get_rng_state())


@pytest.fixture(scope="module")
def some():
    """A few points, measured once: small, but of all kinds."""
    points = [
        *(
            BASE | {"kind": "absolute", "start": "last", "depth": depth, "ways": ways}
            for depth in (5, 6)
            for ways in [["absolute 2^-3", "absolute 2^-4", "absolute 2^-20"]]
        ),
        *(STEP | {"depth": depth, "ways": ["exact", "relative 2^-4"]} for depth in (4, 7)),
        BASE
        | {"kind": "kept", "depth": 4, "n_steps": 5, "target": "sin", "log2_lr": -5}
        | {"ways": ["exact", "relative 2^-4", "absolute 2^-2"]},
    ]
    return [Result(point, measure(point)) for point in points]


def verdicts(results):
    return {claim.text.split(",")[0]: claim.verdict for claim in conclude(results).claims}


def test_claims_follow_the_numbers(some):
    found = verdicts(some)
    assert (
        found[
            "After one perturbed step the expected number of pieces is at most a bound that is "
            "linear in the layers and inverse to the noise."
        ]
        == "confirmed"
    )
    assert found["If the peaks of the tents are the parameters"] == "confirmed"
    assert len(conclude(some).figures) >= 3


def test_claims_fail_where_the_numbers_contradict_them(some):
    wrong = copy.deepcopy(some)
    for result in wrong:
        for index, row in enumerate(result.values["rows"]):
            row["regions"] = [8**index * result.params["depth"] ** 12] * 2
    found = verdicts(wrong)
    confirmed = [text for text, verdict in found.items() if verdict == "confirmed"]
    assert confirmed == []
    assert "refuted" in found.values()


def test_growth_is_fitted_along_one_thing_at_a_time():
    """Made-up counts 3 L^2 for two ways, the same in all networks."""
    made = [
        Result(
            STEP | {"depth": depth},
            {
                "before": {"regions": [2**depth] * 2},
                "rows": [{"way": way, "regions": [3 * depth**2] * 2} for way in ("exact", "bf16")],
            },
        )
        for depth in (2, 5, 8, 11)
    ]
    table = growth(rows_of(made))
    assert [row[0] for row in table.rows] == [
        "step, last, sin, rate 2^-4, exact",
        "step, last, sin, rate 2^-4, bf16",
    ]
    for row in table.rows:
        assert row[1:4] == ("layers L", 5, 11)
        assert row[4:7] == pytest.approx((2, 2, 2))
        assert row[7] == pytest.approx(math.log2(121 / 25) / 6, rel=0.02)


def test_without_results_everything_is_open():
    assert set(verdicts([]).values()) == {"open"}


def test_the_plan_is_json_within_its_budget_and_names_no_point_twice():
    for quick, most in ((True, 30), (False, 900)):
        points = STUDY.points(quick)
        assert len({point.id for point in points}) == len(points)
        assert sum(STUDY.weight(point.params) for point in points) < most
    whole = [point.params for point in STUDY.points()]
    assert {p["depth"] for p in whole} >= {2, 8, 16, 20, 30, 40}
    assert {p.get("width") for p in whole} >= {8, 16, 32, 64, 128}


@pytest.mark.slow
def test_the_quick_plan_refutes_no_bound():
    results = [Result(p, STUDY.measure(p)) for p in STUDY.plan(True)]
    assert conclude(results).claims[0].verdict == "confirmed"
    assert pieces.count  # the counter is the one of the package
