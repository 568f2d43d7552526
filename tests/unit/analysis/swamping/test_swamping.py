"""Swamping inside models: planted losses are found where they are, and nothing is touched."""

import copy
import math

import pytest
import torch
from torch import nn

from deephochuli.analysis.swamping import swamping
from deephochuli.errors import ArithmeticSpecError, CompareError


def only(result, **where):
    (row,) = result.of(**where)
    return row


@pytest.fixture
def ones():
    """A layer that adds one large and many small addends: 1 + 1023 times 2^-10."""
    layer = nn.Linear(1024, 4, bias=False)
    with torch.no_grad():
        layer.weight.fill_(2.0**-10)
        layer.weight[:, 0] = 1.0
    return layer


def test_planted_swamping_is_counted(ones):
    """BF16: every small addend is absorbed; FP16: none is; FP32 pairwise: none is."""
    x = torch.ones(2, 1024)
    bf16 = only(swamping(ones, x, format="bf16", orders=["sequential"]), sum="forward")
    assert bf16.absorbed.value == 1
    assert bf16.lost_mass.value == pytest.approx(1023 / 2047)
    assert bf16.bits_lost == pytest.approx(8 + math.log2(1023 / 2047))
    assert (bf16.n_addends, bf16.n_sums, bf16.n_sampled) == (1024, 8, 8)
    fp16 = only(swamping(ones, x, format="fp16", orders=["sequential"]), sum="forward")
    assert (fp16.absorbed.value, fp16.lost_mass.value, fp16.bits_lost) == (0, 0, 0)
    pairwise = only(swamping(ones, x, format="bf16", orders=["pairwise"]), sum="forward")
    assert pairwise.absorbed.value < 0.01


def test_planted_swamping_is_a_finding_with_its_place(ones):
    model = nn.Sequential(nn.Identity(), ones)
    found = swamping(model, torch.ones(2, 1024), format="bf16", orders=["sequential"]).findings
    (finding,) = (each for each in found if each.kind == "swamped-sums")
    assert (finding.level, finding.layer, finding.quantity) == ("critical", "1", "z")
    assert not swamping(model, torch.ones(2, 1024)).findings


def test_without_a_format_sums_are_those_of_the_kernels():
    model, x = nn.Linear(64, 4), torch.randn(8, 64)
    assert {row.format for row in swamping(model, x).rows} == {"fp32"}
    assert {row.format for row in swamping(model.double(), x.double()).rows} == {"fp64"}
    half = swamping(model.bfloat16(), x.bfloat16())
    assert {row.format for row in half.of(sum="forward")} == {"fp32"}


def test_elementwise_sums_are_stored_in_their_own_dtype():
    class Residual(nn.Module):
        def forward(self, x):
            return x + x * 2.0**-9

    x = torch.ones(16, dtype=torch.bfloat16)
    row = only(swamping(Residual(), x, orders=["sequential"]), sum="residual add")
    assert (row.format, row.absorbed.value) == ("bf16", 1)


def test_operands_are_those_that_autocast_computes_with():
    class Autocast(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 1, bias=False)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.inner(x)

    model = Autocast()
    with torch.no_grad():
        model.inner.weight.copy_(torch.tensor([[1.0, -1.0]]))
    x = torch.tensor([[1.0, 1 + 2.0**-12]])  # equal numbers of BF16
    row = only(swamping(model, x, orders=["sequential"]), layer="inner", sum="forward")
    assert row.error == 0
    assert row.absorbed.value == 0
    plain = only(swamping(model.inner, x, format="bf16", orders=["sequential"]), sum="forward")
    assert plain.error > 0  # products are rounded to BF16, their exact sum is not zero


def test_every_kind_of_sum_of_a_block_is_there():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)) + x)

    model = nn.Sequential(nn.Conv2d(4, 4, 1), Block(), nn.Flatten(), nn.Linear(256, 3))
    result = swamping(model, torch.randn(4, 4, 8, 8), orders=["pairwise"], n_outputs=32)
    assert {(row.layer, row.sum, row.direction) for row in result.rows} >= {
        ("0", "forward", "forward"),
        ("0", "bias add", "forward"),
        ("1.norm", "mean", "forward"),
        ("1.norm", "variance", "forward"),
        ("1", "residual add", "forward"),
        ("1.conv", "input gradient", "backward"),
        ("1.conv", "weight gradient", "backward"),
        ("1.conv", "bias gradient", "backward"),
        ("1.norm", "weight gradient", "backward"),
        ("3", "input gradient", "backward"),
        ("3", "weight gradient", "backward"),
        ("3", "bias gradient", "backward"),
    }
    assert any(row.sum == "gradient joint" for row in result.rows)
    assert all(row.n_sampled == min(32, row.n_sums) for row in result.rows)


def test_fewer_outputs_where_sums_are_long():
    result = swamping(nn.Linear(1000, 300), torch.randn(4, 1000), max_addends=50_000)
    assert only(result, sum="forward", order="pairwise").n_sampled == 50


def test_an_arithmetic_decides_format_order_and_operands():
    model, x = nn.Linear(512, 32, bias=False), torch.rand(16, 512)
    chain = swamping(model, x, arithmetic="fp32-pairwise")
    assert {(row.order, row.format) for row in chain.rows} == {("pairwise", "fp32")}
    tf32 = swamping(model, x, arithmetic="tf32", orders=["sequential"])
    assert tf32.arithmetic == "tf32"
    assert {row.format for row in tf32.rows} == {"fp32"}
    with pytest.raises(ArithmeticSpecError, match="not both"):
        swamping(model, x, arithmetic="tf32", format="bf16")
    with pytest.raises(ArithmeticSpecError, match="cannot be replayed addition by addition"):
        swamping(model, x, arithmetic="mi300-fp16")
    with pytest.raises(ArithmeticSpecError, match="Did you mean 'tf32'"):
        swamping(model, x, arithmetic="tf3")
    with pytest.raises(ArithmeticSpecError, match="Did you mean 'pairwise'"):
        swamping(model, x, orders=["pairwize"])


def test_tensor_cores_lose_more_the_fewer_bits_they_keep():
    x = torch.rand(16, 512, generator=torch.Generator().manual_seed(1))
    model = nn.Linear(512, 32, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.rand(32, 512, generator=torch.Generator().manual_seed(2)) ** 8)
    rows = {
        name: only(swamping(model, x, arithmetic=name), sum="forward")
        for name in ("h100-fp8", "h100-fp8-promoted", "b200-fp8")
    }
    assert {row.order for row in rows.values()} == {"aligned"}
    losses = [row.absorbed.value for row in rows.values()]
    assert losses[0] > losses[1] > losses[2]
    assert rows["h100-fp8"].bits_lost > 0


def test_nothing_is_touched():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.ReLU())
    before, dice = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    swamping(model, torch.randn(16, 8, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(dice, torch.get_rng_state())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_equal_seeds_give_equal_rows():
    model, x = nn.Linear(100, 100), torch.randn(50, 100)
    first = swamping(model, x, format="bf16", n_outputs=64)
    assert str(first) == str(swamping(model, x, format="bf16", n_outputs=64))
    assert str(first) != str(swamping(model, x, format="bf16", n_outputs=64, seed=1))


def test_what_is_not_replayed_is_named():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    result = swamping(nn.Sequential(Attention()), torch.randn(1, 2, 8, 4, requires_grad=True))
    assert any("attention" in name and name.startswith("0:") for name in result.not_replayed)


def test_values_that_overflowed_before_are_left_out():
    result = swamping(nn.Linear(4, 2), torch.full((3, 4), torch.inf))
    assert not result.of(sum="forward")


@pytest.mark.parametrize("wrong", [{"n_outputs": 0}, {"max_addends": 0}, {"confidence": 1.0}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(CompareError, match="Cannot sample"):
        swamping(nn.Linear(2, 2), torch.ones(1, 2), **wrong)


def test_a_table_is_text_and_mappings(ones):
    result = swamping(ones, torch.ones(2, 1024), format="bf16")
    assert "sequential" in str(result)
    assert result.table()[0]["sum"] == "forward"
    assert result.rows[0].predicted == result.rows[0].growth[0][1]


def test_products_of_vectors_are_replayed_like_those_of_matrices():
    class Vectors(nn.Module):
        def forward(self, x):
            return torch.vdot(x, x) + torch.dot(x, x) + (x[None] @ x)[0]

    x = torch.cat([torch.full((1,), 2.0**12), torch.ones(40)])
    result = swamping(Vectors(), x, format="bf16", orders=["sequential"])
    found = [row for row in result.rows if row.n_addends == 41]
    assert sorted(row.operator for row in found) == ["dot", "mv", "vdot"]
    assert all(row.absorbed.value == 1.0 for row in found)  # 2^24 + 1 forty times, in BF16
    assert result.not_replayed == ()


def test_a_product_with_factors_is_replayed_and_others_are_named():
    class Products(nn.Module):
        def forward(self, x):
            scaled = torch.addmm(torch.zeros(1, 1), x, x.mT, alpha=0.5)
            return scaled + torch.addbmm(torch.zeros(1, 1), x[None], x.mT[None])

    result = swamping(Products(), torch.ones(1, 300), format="bf16", orders=["sequential"])
    assert only(result, sum="forward").absorbed.value == 44 / 299  # beyond 256
    assert result.not_replayed == ("(model): addbmm",)


def test_sums_of_nan_are_named_and_those_of_nothing_are_none():
    model = nn.Linear(3, 2, bias=False)
    result = swamping(model, torch.full((2, 3), math.nan))
    assert result.not_replayed[0].startswith("(model): forward sums of mm")
    empty = swamping(model, torch.zeros(0, 3), loss=lambda out: out.sum())
    assert "no sum of two or more numbers" in str(empty)
