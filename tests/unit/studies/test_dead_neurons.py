"""The study of dead neurons: its plan, its points, and what it concludes from planted results."""

import json

import numpy as np
import pytest

from deephochuli.analysis.death import FATES
from deephochuli.studies import Result, get_study
from deephochuli.studies.dead_neurons._plan import DEEP, LAW, N_SEEDS, RATE, TRAINED
from deephochuli.studies.dead_neurons._rounding_claims import _of_number

STUDY = get_study("dead-neurons")


def planted(low: int, exact: int, update: int, *, underflow: int = 937) -> list[Result]:
    """Results of the whole plan in which so many of 12 units live in every seed and format."""
    alive_of = {"low": low, "low-update": low, "loss-scale": low, "exact": exact}
    results = []
    for params in STUDY.plan(False):
        if params["what"] == LAW:
            values = STUDY.measure({**params, "n": 2000})
        elif params["what"] == DEEP:
            values = deep_values(params, underflow)
        else:
            settings = [setting_values(each, alive_of, update) for each in params["settings"]]
            quiet = {"n_units": 144, **dict.fromkeys(FATES, 0)}
            values = {"controls": dict.fromkeys(params["controls"], quiet), "settings": settings}
        results.append(Result(params, values))
    return results


def deep_values(params, underflow: int) -> dict[str, int]:
    values = dict.fromkeys(FATES, 0)
    shift = params["seed"] - N_SEEDS // 2
    if params["arithmetic"] == "fp16-pure":
        values |= {"by rounding": 71 + shift, "frozen by death": 68}
        values["frozen by underflow"] = underflow if params["loss_scale"] == 1 else 10
        values["frozen by absorption"] = 0 if params["loss_scale"] == 1 else 900
    if params["arithmetic"] == "fp32":
        values["frozen by absorption"] = (193 if params["bias"] else 898) + shift
    return {"n_units": 1280, **values}


def setting_values(setting, alive_of: dict[str, int], update: int) -> dict:
    is_wide = setting["arithmetic"] in ("fp64", "fp32")
    is_fast_half = setting["arithmetic"] == "fp16-pure" and setting["rate"] == RATE
    arms = dict.fromkeys([*setting["arms"], "low", "exact"])

    def flags(arm: str) -> list[int]:
        n = alive_of.get(arm, update)
        if arm in ("exact-forward", "exact-backward"):
            n = alive_of["low"]
        if is_wide or is_fast_half:
            n = alive_of["exact"]
        return [0, *([1] * n), *([0] * (12 - n))]

    n_looks = len(setting["steps"])
    return {
        "layers": ["0", *["2"] * 12],
        "steps": setting["steps"],
        "alive": {arm: [flags(arm)] * n_looks for arm in arms},
        "moved": {arm: [0.5] * n_looks for arm in arms},
    }


def verdicts(results: list[Result]) -> dict[str, str]:
    return {claim.text: claim.verdict for claim in STUDY.conclude(results).claims}


def test_plans_are_json_and_repeat():
    for quick in (False, True):
        points = STUDY.points(quick)
        assert len({point.id for point in points}) == len(points)
        assert json.loads(json.dumps([dict(p.params) for p in points])) == STUDY.plan(quick)
    trained = [each for each in STUDY.plan(False) if each["what"] == TRAINED]
    assert len(trained) == N_SEEDS >= 20
    assert len({s["arithmetic"] for each in trained for s in each["settings"]}) >= 4
    assert all(STUDY.weight(params) > 0 for params in STUDY.plan(False))


def test_absorption_as_the_cause_is_recognised():
    found = STUDY.conclude(planted(low=4, exact=10, update=10))
    wrong = {
        claim.text: claim.verdict
        for claim in found.claims
        if claim.verdict not in ("confirmed", "refined")
    }
    assert wrong == {}
    assert "6.00 more a network" in found.answer


def test_another_cause_refutes_it():
    found = verdicts(planted(low=4, exact=10, update=4))
    assert (
        found["What keeps units dead is the absorption of updates, not the rounding of gradients"]
        == "refuted"
    )
    assert found["FP32 master weights restore the revival"] == "refuted"


def test_no_difference_refutes_it():
    found = verdicts(planted(low=10, exact=10, update=10))
    text = "In low precision units stay dead that would come back in exact arithmetic"
    assert found[text] == "refuted"


def test_other_counts_are_not_the_stated_ones():
    found = verdicts(planted(low=4, exact=10, update=10, underflow=500))
    (text,) = [each for each in found if each.startswith("1005")]
    assert found[text] == "refuted"


def test_a_number_of_one_net_is_refined_by_others():
    assert _of_number(71, [60] * 10 + [72] * 10) == "refined"
    assert _of_number(71, [70] * 10) == "confirmed"
    assert _of_number(71, [60] * 10) == "refuted"
    assert _of_number(71, [70] * 9) == "open"


def test_few_seeds_decide_nothing():
    results = [r for r in planted(4, 10, 10) if r.params["what"] == LAW or r.params["seed"] < 2]
    found = verdicts(results)
    assert found["FP32 master weights restore the revival"] == "open"
    assert sum(verdict == "open" for verdict in found.values()) >= 10


def test_a_deep_net_at_birth():
    (point,) = [
        each
        for each in STUDY.plan(True)
        if each["what"] == DEEP
        and (each["arithmetic"], each["loss_scale"], each["seed"]) == ("fp16-pure", 1.0, 0)
    ]
    values = STUDY.measure({**point, "steps": 1})
    assert json.loads(json.dumps(values)) == values
    assert values["n_units"] == 1280
    assert 40 < values["by rounding"] < 100
    assert values["frozen by death"] == values["by rounding"]
    assert 800 < values["frozen by underflow"] < 1100


@pytest.mark.slow
def test_a_trained_net():
    (point,) = [each for each in STUDY.plan(True) if each["what"] == TRAINED]
    first, second = STUDY.measure(point), STUDY.measure(point)
    assert json.dumps(first) == json.dumps(second)
    alive = first["settings"][0]["alive"]
    n = {arm: int(np.sum(flags)) for arm, flags in alive.items()}
    assert n["low"] == n["low-update"] < n["exact"] == n["exact-update"]
    assert first["controls"]["fp64"]["by rounding"] == 0
