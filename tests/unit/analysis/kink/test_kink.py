"""What hangs on ReLU'(0): planted steps, neutrality, and gradients by hand."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import deephochuli as dh
from deephochuli import ArithmeticSpecError, CompareError
from deephochuli.analysis.kink import BatchChange, Execution, kink
from deephochuli.analysis.kink._kink import distance, n_different
from deephochuli.formats import BFLOAT16

N_PLANTED = 110
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def mean_square(out, target):
    return (out - target).square().mean()


def net(seed=0):
    """Two layers without a bias, so that empty inputs give structural zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 2))


def steps(kind, n=N_PLANTED):
    """Batches of 4 rows: with a numerical zero planted in one, with empty rows, or with neither."""
    generator = torch.Generator().manual_seed(17)
    data = []
    for _ in range(n):
        x = torch.randn(4, 6, generator=generator)
        if kind == "numerical":  # unit 0 has weights (1, 1, ...): the first two inputs cancel
            x[1] = 0
            x[1, 0] = 1 + torch.randint(0, 8, (), generator=generator) / 8
            x[1, 1] = -x[1, 0]
        if kind == "structural":
            x[2] = 0
        data.append((x, torch.randn(4, 2, generator=generator)))
    return data


def planted_net():
    model = net()
    model[0].weight.data[0] = 1.0
    return model


def changed(kind, dtype, n=N_PLANTED):
    options = {"arithmetics": [dtype], "causes": False, "pools": False, "alphas": (1.0,)}
    run = kink(planted_net(), steps(kind, n), mean_square, **options).runs[0]
    return [batch.is_changed for batch in run.batches]


@pytest.mark.parametrize(("kind", "truth"), [("numerical", 1), ("structural", 0), ("none", 0)])
def test_planted_steps_are_told_apart(kind, truth):
    """Confusion matrix of 330 steps: all of them right."""
    assert sum(changed(kind, torch.float32)) == truth * N_PLANTED


def test_fp64_has_no_false_positives():
    assert not any(changed("structural", torch.float64) + changed("none", torch.float64))


def test_sizes_are_those_of_gradients_by_hand():
    model, (x, y) = planted_net(), steps("numerical")[0]
    first, _, last = model

    def by_hand(alpha):
        z = x @ first.weight.T
        slope = torch.where(z > 0, 1.0, 0.0).masked_fill(z == 0, alpha)
        out = z.clamp(min=0) @ last.weight.T + last.bias
        outer = 2 * (out - y) / out.numel()
        return [(outer @ last.weight * slope).T @ x, outer.T @ z.clamp(min=0), outer.sum(0)]

    def norm(gradients):
        return math.sqrt(sum(float(g.detach().double().square().sum()) for g in gradients))

    base = by_hand(0.0)
    batch = kink(model, (x, y), mean_square, alphas=(0.25, 1.0)).runs[0].batches[0]
    for alpha, size in batch.sizes:
        gap = [a - b for a, b in zip(by_hand(alpha), base, strict=True)]
        assert size == pytest.approx(norm(gap) / norm(base), rel=1e-5)
    assert dict(batch.layers)["0"] == pytest.approx(dict(batch.sizes)[1.0])
    assert dict(batch.layers)["2"] == 0
    assert batch.weights == 2 / (6 * 16 + 16 * 2 + 2), "two weights of unit 0 have an input"


def test_r_is_linear_in_alpha_for_isolated_zeros():
    run = kink(planted_net(), steps("numerical", 20), mean_square, arithmetics=["fp64"]).runs[0]
    assert run.size(0.5) == pytest.approx(0.5 * run.size(1.0), rel=1e-12)


def test_zero_initialised_biases_make_structural_zeros_matter_even_in_fp64():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.zeros_(model[0].bias)
    found = kink(model, steps("structural", 5), mean_square, arithmetics=["fp64"])
    assert found.runs[0].changed.value == 1.0
    assert found.runs[0].n_numerical == 0
    assert found.zeros[0].causes["structural"] == 5 * 8
    assert "start biases at random" in found.findings[0].advice


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_of_the_users_is_touched(dtype):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5))
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = copy.deepcopy(dict(model.state_dict()))
    kept, dice = x.clone(), torch.random.get_rng_state()
    kink(model, x, lambda out, _: out.sum(), arithmetics=[dtype])
    assert torch.random.get_rng_state().equal(dice)
    assert x.equal(kept)
    for name, value in model.state_dict().items():
        assert value.equal(before[name])
    assert all(p.grad.equal(torch.ones_like(p)) for p in model.parameters())


def test_every_batch_meets_the_same_buffers():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    data = steps("none", 1) * 3
    batches = (
        kink(model, data, lambda out, _: out.sum(), arithmetics=[torch.bfloat16]).runs[0].batches
    )
    assert batches[0] == batches[1] == batches[2]


def test_stochastic_rounding_is_no_evidence():
    plain = dh.get_arithmetic("fp32")
    rough = replace(plain, name="rough", gradients=BFLOAT16, rounding="stochastic")
    found = kink(planted_net(), steps("numerical", 6), mean_square, arithmetics=[rough])
    assert found.runs[0].changed.value == 0
    assert "gradient-not-repeatable" in [finding.kind for finding in found.findings]


def test_findings_name_layer_cause_and_size_and_fp64_has_none():
    model, data = planted_net(), steps("numerical", 12)
    found = kink(model, data, mean_square, arithmetics=["fp32"])
    (finding,) = found.findings
    assert finding.kind == "kink-sensitive"
    assert finding.level == "warning"
    assert finding.layer == "1"
    assert "12 by exact" in finding.summary
    assert "no wider format helps" in finding.advice
    assert not kink(model, steps("none", 12), mean_square, arithmetics=["fp64"]).findings


def test_ties_of_equal_inputs_are_no_finding_and_others_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.Flatten())
    flat = torch.ones(3, 1, 4, 4) * torch.arange(1.0, 4).view(3, 1, 1, 1)

    def loss(out, _):
        return out.square().sum()

    found = kink(model, flat, loss, arithmetics=["fp32"])
    assert (found.pools[0].n_windows, found.pools[0].n_tied) == (24, 24)
    assert not found.findings
    model[0].weight.data[:, 0] = 2.0**-12
    model[0].bias.data.fill_(1.0)
    uneven = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = kink(model, uneven, loss, arithmetics=[torch.bfloat16])
    assert [finding.kind for finding in found.findings] == ["pooling-ties"]
    assert found.pools[0].n_tied == 24


def test_the_answer_is_told_as_text_and_as_tables():
    found = kink(planted_net(), steps("numerical", 3), mean_square, arithmetics=["fp64", "fp32"])
    assert "fp64: 100 % [29.2 %, 100 %] of 3 batches change" in str(found)
    sheet = found.sheet()
    assert [table.key for table in sheet.tables] == ["executions", "zeros"]
    for table in sheet.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert found.to_dict()["alphas"] == (0.5, 1.0)


def test_biases_apart_are_added_to_rounded_sums():
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
    model[0].weight.data = torch.tensor([[1.0, 2.0**-9]])
    model[0].bias.data.fill_(-1.0)
    apart = Execution("apart", torch.bfloat16, None, "apart")
    x = torch.ones(5, 2)
    found = kink(model, x, lambda out, _: out.sum(), arithmetics=[torch.bfloat16, apart])
    assert [row.n_zero for row in found.zeros] == [0, 5]
    assert found.zeros[1].causes["cancellation"] == 5
    assert "before the sum is rounded" in found.findings[0].advice


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"alphas": ()}, CompareError, "slope"),
        ({"alphas": (0.0,)}, CompareError, "slope 0"),
        ({"alphas": (2.0,)}, CompareError, r"\(0, 1\]"),
        ({"confidence": 1.0}, CompareError, "confidence"),
        ({"arithmetics": ["bf61"]}, ArithmeticSpecError, "bf16"),
        ({"arithmetics": [torch.int64]}, CompareError, "torch.float16"),
    ],
)
def test_bad_arguments_are_refused_and_say_what_is_right(options, error, text):
    with pytest.raises(error, match=text):
        kink(net(), steps("none", 1), mean_square, **options)


def test_an_unknown_way_to_add_a_bias_is_refused():
    with pytest.raises(CompareError, match="'apart'"):
        Execution("how", bias="apar")


def test_differences_count_numbers_and_not_their_signs_of_zero():
    a = [torch.tensor([0.0, 1.0, math.nan]), None]
    b = [torch.tensor([-0.0, 2.0, math.nan]), None]
    assert n_different(a, b) == 1
    assert n_different(a, a) == 0
    assert distance([torch.zeros(2)], [torch.ones(2)]) == math.inf
    assert distance([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 5.0])]) == 0.2


def test_a_batch_is_changed_where_a_weight_is():
    batch = BatchChange(3, 3, ((1.0, 0.1),), (), 0.5, 0.0, True)
    assert batch.is_changed


def test_a_network_of_its_own_gradient_shape_runs_without_a_pool():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return F.relu(self.layer(F.relu(self.layer(x))))

    found = kink(Twice(), torch.ones(2, 3), lambda out, _: out.sum())
    assert [(row.layer, row.n) for row in found.zeros] == [("", 12)]
