"""The study of TF32: its laws against simulation, its points against NumPy, its verdicts."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from deephochuli.studies import get_study
from deephochuli.studies._study import Result
from deephochuli.studies.tf32._laws import CUT, ratio
from deephochuli.studies.tf32._networks import layer_errors, plain_network
from deephochuli.studies.tf32._plan import KS
from deephochuli.studies.tf32._products import measure_product
from deephochuli.studies.tf32._read import block_of_this_machine, cells

torch.set_num_threads(1)
STUDY = get_study("tf32")
SMALL = [
    *(
        {"what": "product", "k": k, "inputs": inputs, "seed": seed}
        for k in (64, 1152)
        for inputs in ("normal", "rectified")
        for seed in (5, 6)
    ),
    *({"what": "deep network", "channels": 8, "images": 16, "seed": seed} for seed in (1, 2)),
]


@pytest.fixture(scope="module")
def results():
    return [Result(params, json.loads(json.dumps(STUDY.measure(params)))) for params in SMALL]


def test_the_two_constants_of_the_laws_by_simulation():
    """Relative errors of two operands of any size, in TF32; and of one FP32 addition."""
    rng = np.random.default_rng(0)
    significands = 2.0 ** rng.random((2, 1_000_000))
    step = 2.0**-10
    rounded = np.round(significands / step) * step / significands - 1
    cut = np.floor(significands / step) * step / significands - 1
    rms = [np.sqrt((each.sum(0) ** 2).mean()) for each in (rounded, cut)]
    assert rms[0] * 2**11 == pytest.approx(0.60, rel=0.01)
    assert rms[1] / rms[0] == pytest.approx(CUT, rel=0.01)
    # 0.60 * 2^-11 sqrt(K) over 0.425 * 2^-24 K / sqrt(2):
    assert rms[0] / (0.425 * 2.0**-24 / math.sqrt(2)) == pytest.approx(2**14, rel=0.01)


@pytest.mark.parametrize(("k", "block", "nonzero"), [(300, None, 1), (300, 64, 1), (512, 128, 0.5)])
def test_the_law_by_adding_up_variances_one_addition_at_a_time(k, block, nonzero):
    size = block or k
    variance, done = 0.0, 0
    while done < k:
        here = min(size, k - done)
        # A zero addend rounds nothing; the partial sum before it has nonzero * j products.
        variance += sum(nonzero * (nonzero * j) for j in range(1, here + 1))
        done += here
        variance += nonzero * done if done > size else 0.0
    expected = 2**14 * math.sqrt(nonzero * k / (2 * variance))
    assert ratio(k, block, nonzero) == pytest.approx(expected, rel=0.02)


def test_a_product_by_numpy():
    values = measure_product({"k": 64, "inputs": "normal", "seed": 5})
    generator = torch.Generator().manual_seed(5)
    weight = (torch.randn(64, 64, generator=generator) / 8).numpy()
    x = torch.randn(256, 64, generator=generator).numpy()
    total = np.zeros((256, 64), np.float32)
    for k in range(64):  # a product of two FP32 numbers is exact in binary64
        product = x[:, k, None].astype(np.float64) * weight[k].astype(np.float64)
        total = (total.astype(np.float64) + product).astype(np.float32)
    e = total - x.astype(np.float64) @ weight.astype(np.float64)
    found = values["sequential"]["fp32"]
    assert sum(found["squares"]) == pytest.approx((e * e).sum(), rel=1e-6)
    assert found["max"] == pytest.approx(np.abs(e).max(), rel=1e-6)


def test_a_network_s_own_and_total_errors_begin_alike():
    layers = list(layer_errors(plain_network(4, 1), torch.rand(4, 1, 8, 8)))
    assert len(layers) == 24
    assert layers[0]["own"] == layers[0]["total"]
    assert layers[-1]["total"]["tf32"]["rms"] > layers[-1]["own"]["tf32"]["rms"]


def test_points_repeat_and_leave_the_generator_alone(results):
    state = torch.get_rng_state()
    assert json.loads(json.dumps(STUDY.measure(SMALL[-1]))) == results[-1].values
    assert torch.equal(torch.get_rng_state(), state)


def test_the_plan_covers_the_sizes_and_is_unique():
    for quick in (True, False):
        points = STUDY.points(quick)
        assert len({point.id for point in points}) == len(points)
        assert all(STUDY.weight(point.params) > 0 for point in points)
    assert {p.params.get("k") for p in STUDY.points() if "k" in p.params} == set(KS)


def test_conclusions_are_whole(results):
    conclusion = STUDY.conclude(results)
    assert "no constant of TF32" in conclusion.answer
    verdicts = {claim.text: claim.verdict for claim in conclusion.claims}
    assert verdicts["The ratio is 2^14 / sqrt(K) where FP32 adds one product after the other"] == (
        "confirmed"
    )
    assert verdicts["Errors are up to 830 times larger with TF32 than with FP32 on a CPU"] == (
        "refined"
    )
    for table in conclusion.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert {figure.key for figure in conclusion.figures} == {"by-k", "by-depth", "flips"}


def test_a_wrong_ratio_is_refuted(results):
    """Errors of FP32 twice as large halve the ratio: no law may survive that."""

    def spoilt(result):
        if result.params["what"] != "product":
            return result
        values = json.loads(json.dumps(result.values))
        for way in ("sequential", "blocks of 384", "this machine"):
            values[way]["fp32"]["squares"] = [4 * x for x in values[way]["fp32"]["squares"]]
        return replace(result, values=values)

    verdicts = [claim.verdict for claim in STUDY.conclude([spoilt(r) for r in results]).claims]
    assert verdicts[0] == "open"
    assert verdicts[2:4] == ["refuted", "refuted"]
    assert verdicts[6] == "refuted"


def test_a_block_is_found_only_where_all_bits_agree(results):
    def claimed(shares):
        return [
            replace(r, values={**r.values, "equal_bits": shares})
            for r in results
            if r.params["what"] == "product"
        ]

    none = dict.fromkeys(map(str, (64, 96, 128, 192, 256, 320, 384, 512)), 0.99)
    assert block_of_this_machine(claimed(none)) == (None, 4)
    assert block_of_this_machine(claimed({**none, "384": 1.0})) == (384, 4)


def test_cells_pool_the_seeds(results):
    found = cells(results)
    assert {each.seeds for each in found} == {2}
    assert len(found) == 2 * 2 * 3


@pytest.mark.slow
def test_the_whole_study():
    results = [Result(point.params, STUDY.measure(point.params)) for point in STUDY.points()]
    verdicts = [claim.verdict for claim in STUDY.conclude(results).claims]
    assert verdicts[0] == "refined"
    assert verdicts[2] == "confirmed"
    assert verdicts[5:] == ["confirmed"] * 7
