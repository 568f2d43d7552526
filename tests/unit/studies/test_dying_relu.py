"""Born-dead networks: closed forms and simulation against enumeration and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis.dying import born_dead, stably_inactive
from deephochuli.errors import StudyError
from deephochuli.studies._study import Result
from deephochuli.studies.dying_relu import STUDY, simulate_networks, simulate_units


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 10), (137, 20_000), (1, 1)])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_intervals_are_those_of_the_beta_law(hits, n, confidence):
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, hits, n - hits + 1) if hits else 0
    high = stats.beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1
    assert clopper_pearson(hits, n, confidence) == pytest.approx((low, high), abs=1e-9)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="11 successes of 10 trials"):
        clopper_pearson(11, 10)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6])
def test_with_two_hidden_layers_the_lower_bound_is_exact(width):
    """Enumerate the signs of the first layer.

    The second layer then sees one vector, or two that are orthogonal; either way each unit of it
    is inactive on each vector with probability one half, independently.
    """
    dead = 0.0
    for signs in itertools.product([False, True], repeat=width):
        n_vectors = any(signs) + (not all(signs))
        dead += 2.0**-width * 2.0 ** (-width * n_vectors)
    assert born_dead(width, 3).low == pytest.approx(dead, rel=1e-12)
    assert born_dead(width, 2).low == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("depth", [2, 3, 7, 20])
def test_with_one_unit_a_layer_the_lower_bound_is_exact(depth):
    assert born_dead(1, depth).low == 1 - 0.5 ** (depth - 2)
    assert born_dead(1, depth).high == 1 - 0.5 ** (depth - 1)


def test_the_published_numbers_lie_between_the_bounds():
    known = {(2, 5): 0.498, (3, 10): 0.582, (4, 20): 0.626, (5, 20): 0.357}
    for (width, depth), share in known.items():
        bounds = born_dead(width, depth)
        assert bounds.low < share < bounds.high


def test_simulated_networks_are_dead_where_their_output_is_constant():
    width, depth, n_nets = 3, 6, 200
    dead, point_dead = simulate_networks(width, depth, n_nets, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    layers = [
        rng.standard_normal((n_nets, width, 1 if k == 0 else width)) for k in range(depth - 1)
    ]
    xs = np.linspace(-2, 2, 40)
    for net in range(n_nets):
        h = xs[None, :]
        for weights in layers:
            h = np.maximum(weights[net] @ h, 0)
        assert dead[net] == (h == 0).all()
        assert point_dead[net] == (h[:, xs > 0] == 0).all()
    assert 20 < dead.sum() < 180


@pytest.mark.parametrize(("n_inputs", "n_units"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 2), (3, 4)])
def test_inactive_units_never_fire_wherever_one_looks(n_inputs, n_units):
    n_nets, seen = 400, min(n_inputs, n_units)
    inactive = simulate_units(n_inputs, n_units, n_nets, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    normals = rng.standard_normal((n_nets, n_units, seen))
    offsets = rng.standard_normal((n_nets, n_units))
    weights, bias = rng.standard_normal((n_nets, 1, n_units)), rng.standard_normal(n_nets)
    points = rng.standard_normal((seen, 3000)) * np.exp(rng.uniform(-3, 9, 3000))
    z = weights @ np.maximum(normals @ points + offsets[..., None], 0)
    fires = ((z[:, 0] + bias[:, None]) > 1e-9).any(axis=1)
    assert not (fires & inactive).any()
    assert (fires | inactive).mean() > 0.98


def test_the_study_confirms_what_holds_and_refutes_what_does_not():
    plan = STUDY.plan(True)
    wanted = [p for p in plan if p.get("width", 3) == 3 and p.get("depth", 5) == 5][:3]
    results = [Result(p, STUDY.measure(p)) for p in wanted]
    assert [Result(p, STUDY.measure(p)) for p in wanted] == results
    assert {claim.verdict for claim in STUDY.conclude(results).claims} == {"confirmed"}
    wrong = [Result(p, dict.fromkeys(r.values, 7)) for p, r in zip(wanted, results, strict=True)]
    assert {claim.verdict for claim in STUDY.conclude(wrong).claims} == {"refuted"}
    assert {claim.verdict for claim in STUDY.conclude([]).claims} == {"open"}


@pytest.mark.slow
def test_the_whole_study_confirms_every_claim():
    results = [Result(p, STUDY.measure(p)) for p in STUDY.plan(False)]
    assert {claim.verdict for claim in STUDY.conclude(results).claims} == {"confirmed"}


def test_bad_requests_say_what_is_expected():
    with pytest.raises(StudyError, match="at least one unit and two layers"):
        born_dead(0, 5)
    with pytest.raises(StudyError, match="expected 1 to 3 units"):
        stably_inactive(2, 4)
