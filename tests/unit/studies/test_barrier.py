"""The study of the probability barrier, with few values."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from deephochuli.analysis.barrier import Tally, merge_tallies
from deephochuli.studies import Result, get_study
from deephochuli.studies.barrier._plan import LAYER, MODEL, NORMAL, WAYS
from deephochuli.studies.barrier._read import counted, slope

STUDY = get_study("barrier")


def layer(way, seed, log2_n=20):
    return {
        "what": LAYER,
        "layer": "0",
        "way": way,
        "bias": True,
        "log2_n": log2_n,
        "epochs": 0,
        "seed": seed,
    }


def model(name, way):
    return {
        "what": MODEL,
        "model": name,
        "way": way,
        "bias": True,
        "log2_n": 14,
        "epochs": 0,
        "seed": 1,
    }


@pytest.fixture(scope="module")
def results():
    points = [{"what": NORMAL, "log2_n": 20, "seed": 1}]
    points += [layer(way, seed) for way in ("fp32", "fp64") for seed in (0, 1)]
    points += [
        model("convolutional", "fp64"),
        model("dense", "fp32"),
        model("convolutional", "bf16, bias last"),
    ]
    return [Result(point, json.loads(json.dumps(STUDY.measure(point)))) for point in points]


def test_the_plans_reach_what_they_should():
    whole, quick = STUDY.plan(False), STUDY.plan(True)
    for way in ("fp32", "fp64"):
        large = [
            1 << point["log2_n"]
            for point in whole
            if point["what"] == LAYER and point["way"] == way and point["layer"] == "0"
        ]
        assert sum(large) >= 10**9
    assert {(p["model"], p["way"], p["bias"]) for p in whole if p["what"] == MODEL} == {
        (name, way, bias)
        for name in ("convolutional", "dense", "residual")
        for way in WAYS
        for bias in (True, False)
    }
    assert len({point.id for point in STUDY.points()}) == len(whole) > len(quick)
    assert sum(map(STUDY.weight, whole)) < 700
    assert sum(map(STUDY.weight, quick)) < 30


def test_a_point_gives_the_same_bytes_again_and_leaves_the_generator_alone(results):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = STUDY.measure(results[1].params)
    assert json.dumps(again, allow_nan=False) == json.dumps(results[1].values)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_parts_are_merged_and_fp32_and_fp64_have_the_same_inputs(results):
    fp32, fp64 = counted(results)
    assert fp32.judgement.n == fp64.judgement.n == 2 << 20
    assert abs(int(fp32.tally.near.sum()) - int(fp64.tally.near.sum())) <= 2
    assert fp32.judgement.rarity.cutoff == pytest.approx(fp64.judgement.rarity.cutoff, rel=0.2)
    assert fp32.judgement.lattice.owner == "bias" != fp64.judgement.lattice.owner
    assert (fp32.judgement.limit, fp64.judgement.limit) == ("rarity", "rarity")
    parts = [Tally.from_json(r.values["tally"]) for r in results[1:3]]
    assert fp32.tally.to_json() == merge_tallies(parts).to_json()


def test_a_flat_density_has_slope_one_and_another_one_does_not(results):
    tally = counted(results)[1].tally
    found = slope(tally, 0.0)
    assert found.holds(1)
    steeper = tally.binades // 2 ** torch.arange(64).clip(max=20).numpy()  # as |z|^2
    assert slope(replace(tally, binades=steeper), 0.0).value > 1.5


def test_the_conclusion_answers_with_claims_that_the_numbers_carry(results):
    conclusion = STUDY.conclude(results)
    verdicts = {claim.text: claim.verdict for claim in conclusion.claims}
    assert len(verdicts) == len(conclusion.claims) == 11
    assert conclusion.answer.startswith("Rarity: of 2.1e+06 pre-activations in FP64")
    by_words = {words: v for text, v in verdicts.items() for words in WORDS if words in text}
    assert by_words == WORDS
    json.dumps(asdict(conclusion), allow_nan=False)
    for table in conclusion.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    for figure in conclusion.figures:
        for series in figure.series:
            assert series.mark == "rule" or len(series.x) == len(series.y)


WORDS = {
    "falls linearly": "refined",
    "the hardware can go no further": "refuted",
    "1/(2 N p0) says": "confirmed",
    "FP32 makes exact zeros": "open",  # too few values for one
    "194 exact zeros": "confirmed",
    "Normal numbers": "confirmed",
}


def test_zeros_in_fp64_would_be_noticed(results):
    spoiled = list(results)
    values = json.loads(json.dumps(dict(results[3].values)))
    values["tally"]["n_zero"][0] = 5
    spoiled[3] = Result(results[3].params, values)
    claims = {claim.text[:20]: claim for claim in STUDY.conclude(spoiled).claims}
    assert claims["The smallest of N ma"].verdict == "open"
    assert "5 exact zeros" in claims["The smallest of N ma"].measured
    assert claims["FP32 makes exact zer"].verdict == "open"
