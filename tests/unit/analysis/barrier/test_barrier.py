"""The analysis of a whole model."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.analysis import Sheet
from deephochuli.cli._questions import Asked, answered
from deephochuli.errors import ArithmeticSpecError, CompareError


def net(bias=True, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=bias),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(144, 8, bias=bias),
        )


def batches(n=4, size=128, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, 1, 8, 8, generator=generator).to(dtype) for _ in range(n)]


@pytest.fixture(scope="module")
def result():
    return dh.barrier(net(), batches())


def test_every_layer_has_a_verdict_and_others_are_named(result):
    assert dict(result.verdicts()) == {"0": "rarity", "5": "rarity"}
    assert result.not_seen == ("1 (BatchNorm2d)",)
    row = result.of("0")
    assert (row.format, row.accumulator, row.has_bias) == ("fp32", "fp32", True)
    assert row.judgement.n == 4 * 128 * 4 * 36
    assert row.judgement.lattice.is_there
    assert [each.name for each in row.interventions] == ["b = 0", "b + 0.125"]
    with pytest.raises(KeyError):
        result.of("relu")


def test_the_lattice_goes_with_the_bias_and_moves_with_it(result):
    gone, moved = result.of("0").interventions
    assert result.of("0").judgement.lattice.owner == "bias"
    assert gone.lattice.owner != "bias"
    assert moved.lattice.owner == "bias"


def test_neither_model_nor_generator_is_touched():
    model, data = net(), batches(1)
    state = copy.deepcopy(model.state_dict())
    before = torch.get_rng_state()
    first = dh.barrier(model, data)
    assert torch.equal(torch.get_rng_state(), before)
    after = model.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    again = dh.barrier(model, data)
    assert [row.tally.to_json() for row in first.rows] == [
        row.tally.to_json() for row in again.rows
    ]


def test_an_arithmetic_is_followed_and_told_in_formats():
    rows = dh.barrier(net(), batches(1), arithmetic="bf16-sequential", interventions=False).rows
    assert {(row.format, row.accumulator) for row in rows} == {("bf16", "bf16")}
    assert all(not row.interventions for row in rows)
    stored = dh.barrier(net(), batches(1), arithmetic="fp16", interventions=False).rows
    assert {(row.format, row.accumulator) for row in stored} == {("fp16", "fp32")}
    native = dh.barrier(net().bfloat16(), batches(1, dtype=torch.bfloat16), interventions=False)
    assert {(row.format, row.accumulator) for row in native.rows} == {("bf16", "fp32")}


def test_a_bias_added_after_rounding_limits_a_16_bit_layer():
    class Unfused(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(x, self.weight) + self.bias

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Unfused(64, 4).bfloat16()
    generator = torch.Generator().manual_seed(2)
    x = [torch.randn(1 << 14, 64, generator=generator).bfloat16() for _ in range(4)]
    result = dh.barrier(model, x)
    row = result.of("")
    assert row.limit == "bias"
    assert row.judgement.lattice.bias_format == "bf16"
    assert 1e-3 < row.judgement.zeros.lattice_p
    assert result.findings[0].kind == "limited-near-zero"
    assert result.findings[0].level == "warning"


def test_inputs_may_be_a_tensor_tuples_or_mappings():
    model, (x,) = nn.Linear(64, 3), batches(1)
    rows = x.flatten(1)
    expected = dh.barrier(model, rows).of("").tally.to_json()
    forms = ([rows], [(rows, 1)], (rows, 1), [((rows,), None)], {"input": rows}, iter([rows]))
    for form in forms:
        assert dh.barrier(model, form).of("").tally.to_json() == expected


def test_without_a_bias_there_is_no_intervention_and_structural_zeros_are_apart():
    x = batches(1)[0]
    x[:, :, :, :5] = 0
    row = dh.barrier(net(bias=False), [x]).of("0")
    assert row.judgement.n_structural == 128 * 4 * 6 * 3
    assert row.judgement.zeros.seen == 0
    assert not row.interventions


def test_the_sheet_holds_the_answer(result):
    sheet = result.sheet()
    assert isinstance(sheet, Sheet)
    json.dumps(asdict(sheet), allow_nan=False)
    for table in sheet.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert len(sheet.figures) == 2
    assert "2 of 2 layers: rarity" in sheet.answer
    assert sheet.findings[0].kind == "rare-near-zero"
    assert "not looked at: 1 (BatchNorm2d)" in str(result)
    assert result.table()[0]["limit"] == "rarity"


def test_is_a_question_of_the_command_line():
    asked = Asked(model=net(), batch=batches(1)[0])
    (sheet,) = answered("barrier", asked, ["bf16-sequential"], {"interventions": "false"})
    assert (sheet.key, len(sheet.tables[1].rows)) == ("barrier", 2)


def test_says_what_is_wrong():
    with pytest.raises(CompareError, match="no layer to look at: expected at least one of Linear"):
        dh.barrier(nn.ReLU(), torch.ones(2, 2))
    with pytest.raises(CompareError, match="there was no batch"):
        dh.barrier(nn.Linear(2, 2), [])
    with pytest.raises(CompareError, match="A batch of type str cannot be read: expected a tensor"):
        dh.barrier(nn.Linear(2, 2), ["rows"])
    with pytest.raises(CompareError, match="kept=0 and confidence"):
        dh.barrier(nn.Linear(2, 2), torch.ones(2, 2), kept=0)
    with pytest.raises(CompareError, match="confidence=1"):
        dh.barrier(nn.Linear(2, 2), torch.ones(2, 2), confidence=1.0)
    with pytest.raises(ArithmeticSpecError, match="bf16"):
        dh.barrier(nn.Linear(2, 2), torch.ones(2, 2), arithmetic="bf61")
