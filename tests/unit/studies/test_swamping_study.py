"""The study of swamping: its thresholds against all pairs, its points, and its verdicts."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.formats import get_format
from deephochuli.studies import get_study
from deephochuli.studies._study import Result
from deephochuli.studies.swamping import _expected, _thresholds
from deephochuli.studies.swamping._read import broken, off_by, sums, updates
from deephochuli.studies.swamping._rule_claims import dice

torch.set_num_threads(1)
STUDY = get_study("swamping")
SMALL = [
    *({"what": "thresholds", "format": name} for name in ("fp32", "bf16")),
    {"what": "pairs", "format": "fp8_e5m2", "seed": 0},
    {"what": "curve", "per_binade": 1},
    {"what": "stochastic", "format": "bf16", "n": 4000},
    *(
        {"what": "sums", "format": name, "epochs": epochs, "seed": 0, "outputs": 8}
        for name in ("fp32", "bf16")
        for epochs in (0, 1)
    ),
    {"what": "growth", "format": "bf16", "addends": "normal", "ks": [64, 256], "seed": 1},
    {"what": "updates", "optimizer": "SGD 0.01", "format": "bf16", "seed": 0, "steps": [1, 3]},
]


@pytest.fixture(scope="module")
def results():
    return [Result(params, json.loads(json.dumps(STUDY.measure(params)))) for params in SMALL]


def test_thresholds_of_the_table():
    """The table of thresholds: absorbed by 1.0, away from zero and towards it."""
    table = {"fp64": 53, "fp32": 24, "tf32": 11, "fp16": 11, "bf16": 8, "fp8_e4m3fn": 4}
    for name, bits in {**table, "fp8_e5m2": 3}.items():
        values = _thresholds.measure_thresholds({"format": name})
        assert values["wrong"] == values["native_wrong"] == 0
        assert values["tried"] == 160
        away, zero = values["rows"][:2]
        assert (away["a"], away["threshold"], away["inclusive"]) == (1.0, 2.0**-bits, True)
        assert (zero["threshold"], zero["inclusive"]) == (2.0 ** -(bits + 1), True)


@pytest.mark.parametrize("name", ["fp8_e4m3fn", "fp8_e5m2"])
def test_all_pairs_of_eight_bits(name):
    values = _thresholds.measure_pairs({"format": name, "seed": 0})
    assert values["n"] == {"fp8_e4m3fn": 63_504, "fp8_e5m2": 60_516}[name]
    modes = [each for key, each in values.items() if key != "n"]
    assert [each["wrong"] for each in modes] == [0, 0, 0]
    assert values["nearest-even"]["absorbed"] > values["toward-zero"]["absorbed"] > 0


def test_the_two_sides_of_all_pairs_are_told_apart():
    """A rule with ties of the wrong kind is caught: the comparison can fail."""
    fmt = get_format("fp8_e5m2")
    every = _thresholds._finite(fmt)
    by_adding = _thresholds._by_adding(fmt, 1.0, every, "nearest-even")
    by_rule = _thresholds._by_rule(fmt, 1.0, every, "nearest-even")
    away = _thresholds._by_rule(fmt, 1.0, every, "nearest-away")
    assert (by_rule == by_adding).all()
    assert not (away == by_adding).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_a_hundred_numbers_with_all_others_on_hardware(name):
    values = _thresholds.measure_pairs({"format": name, "seed": 0})
    assert values["n"] > 6_000_000
    assert values["nearest-even"]["wrong"] == 0


def test_the_curve_of_the_first_figure_is_exact_arithmetic_rounded():
    values = _thresholds.measure_curve({"per_binade": 1})
    for x, left in zip(values["x"], values["left"]["fp32"], strict=True):
        assert left == float(np.float32(1) + np.float32(x)) - 1
    erased = [x for x, left in zip(values["x"], values["left"]["bf16"], strict=True) if not left]
    assert max(erased) == 2.0**-8
    assert min(x for x in values["x"] if x not in erased) == 2.0**-7
    assert Fraction(values["left"]["fp64"][-2]) == Fraction(1, 2)


def test_points_repeat_and_leave_the_generator_alone(results):
    state = torch.get_rng_state()
    for place in (4, 5, 9, 10):
        assert json.loads(json.dumps(STUDY.measure(SMALL[place]))) == results[place].values
    assert torch.equal(torch.get_rng_state(), state)


def test_updates_are_counted_as_torch_makes_them(results):
    """One step of SGD in BF16, weight by weight."""
    from deephochuli.studies._reference_net import digits, reference_net
    from deephochuli.studies.swamping._updates import _batches

    model = reference_net(dtype=torch.bfloat16)
    images, labels, _, _ = digits()
    chosen = next(_batches(len(images), 1))
    output = model(images[chosen].bfloat16()).float()
    torch.nn.functional.cross_entropy(output, labels[chosen]).backward()
    live = unmoved = 0
    for weight in model.parameters():
        w, g = weight.detach().double(), weight.grad.double()
        moved = (w - 0.01 * g).float().bfloat16().double() != w
        live += int((g != 0).sum())
        unmoved += int(((g != 0) & ~moved).sum())
    row = results[-1].values["rows"][0]
    assert row["live"] == live
    assert row["unmoved"] == pytest.approx(unmoved, abs=3)
    assert updates(results)["SGD 0.01", "bf16", 3].mean > 0.9


def test_sums_are_read_by_state(results):
    trained, fresh = sums(results, trained=True), sums(results, trained=False)
    key = ("conv2", "weight gradient", "bf16", "sequential")
    assert trained[key].mean > 0
    assert trained[key] != fresh[key]
    assert ("conv1", "bias add", "fp32", "pairwise") in fresh


def test_conclusions_are_whole(results):
    conclusion = STUDY.conclude(results)
    assert "5.960464477539063e-08" in conclusion.answer
    assert [claim.verdict for claim in conclusion.claims[:4]] == [
        "refined",
        "confirmed",
        "confirmed",
        "confirmed",
    ]
    for table in conclusion.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    for figure in conclusion.figures:
        for series in figure.series:
            assert series.mark == "rule" or len(series.x) == len(series.y)
    assert conclusion.figures[0].key == "one-plus-x"


def test_one_exception_refutes_the_rule(results):
    def spoilt(result):
        if result.params["what"] not in ("thresholds", "pairs"):
            return result
        values = json.loads(json.dumps(result.values))
        if result.params["what"] == "thresholds":
            values["native_wrong"] = 1
        else:
            values["nearest-even"]["wrong"] = 1
        return replace(result, values=values)

    verdicts = [claim.verdict for claim in STUDY.conclude([spoilt(r) for r in results]).claims]
    assert verdicts[1:3] == ["refuted", "refuted"]


def test_the_plan_holds_what_the_prototype_measured():
    points = STUDY.points()
    assert len({point.id for point in points}) == len(points)
    assert all(STUDY.weight(point.params) > 0 for point in [*points, *STUDY.points(quick=True)])
    asked = {
        (p.params["optimizer"], p.params["format"], step)
        for p in points
        if p.params["what"] == "updates"
        for step in p.params["steps"]
    }
    assert asked == set(_expected.UPDATES)


def test_factors():
    assert off_by(2.0, 1.0) == off_by(1.0, 2.0) == 2
    assert off_by(0.0, 0.0) == 1
    assert off_by(0.0, 1.0) == float("inf")


def test_a_training_without_gradients_has_no_share():
    rows = [{"step": 3, "live": 0, "unmoved": 0}, {"step": 22, "live": 4, "unmoved": 1}]
    params = {"what": "updates", "optimizer": "Adam 0.001", "format": "fp16", "seed": 0}
    results = [Result(params, {"rows": rows})]
    assert list(updates(results)) == [("Adam 0.001", "fp16", 22)]
    assert updates(results)["Adam 0.001", "fp16", 22].mean == 0.25
    assert broken(results) == ("Adam 0.001 in fp16",)


def test_dice_that_are_loaded_are_found():
    fair = {"n": 200_000, "rows": [{"part": 0.25, "absorbed": 150_000}] * 7}
    loaded = {**fair, "rows": [*fair["rows"][:6], {"part": 0.25, "absorbed": 151_800}]}
    by_chance = {**fair, "rows": [*fair["rows"][:6], {"part": 0.25, "absorbed": 150_900}]}
    verdicts = [
        dice([Result({"what": "stochastic"}, values)]).verdict
        for values in (fair, loaded, by_chance)
    ]
    assert verdicts == ["confirmed", "refuted", "confirmed"]
