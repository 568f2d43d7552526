"""Comparisons in the terminal and as JSON: the numbers of the analysis, and nothing that steers."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from deephochuli.analysis.compare import Floor, PairRow
from deephochuli.report import (
    comparison_tables,
    comparison_to_json,
    kept_tables,
    kept_to_json,
    pairs_tables,
    pairs_to_json,
    verdict_tables,
    verdict_to_json,
)
from deephochuli.report._comparison_text import kept_sentence, pairs_sentence
from tests.unit.report import comparisons as made


def printed(parts, width=160) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for part in parts:
        console.print(part)
    return out.getvalue()


def cells(text: str, layer: str) -> list[str]:
    """The cells of the last line that begins with a layer's name."""
    (*_, line) = [line for line in text.splitlines() if line.split()[:1] == [layer]]
    return line.split()


def test_each_execution_has_its_layers_with_own_inherited_ratio_and_flips():
    text = printed(comparison_tables(made.comparison()))
    # own 2^-12 / 2, inherited none, 2^12 times fp32, 2^25 ulps * 2^-13, backward, ratio, gradient
    assert cells(text, "stem") == [
        *("stem", "2^-13", "0", "4,100", "4,100", "2^-13", "4,100", "2^-12", "4,100", "2^-12")
    ]
    assert cells(text, "relu")[:4] == ["relu", "0", "2^-14", "3"]  # exact, but decisions flipped
    assert "2 of 50 (top 5: 7)" in text
    assert "2.375 (+0.12)" in text
    assert "tf32: the largest own error arises in stem (2^-13 of its size, 4,100 times" in text
    assert "the output is off by 2^-12 of its size" in text
    assert "Not compared, being on one side only or of another shape: extra." in text


def test_only_the_worst_layers_are_shown_unless_all_are_asked_for():
    names = (("", "Net"), *((f"block{i}", "Linear") for i in range(30)))
    compared = made.comparison(names)
    few = printed(comparison_tables(compared, most=5))
    assert [line.split()[0] for line in few.splitlines() if line.startswith(" block")] == [
        f"block{i}"
        for _ in compared.executors
        for i in range(5)  # the first ones err most
    ]
    assert "25 layers err less than these; --all shows them" in few
    everything = printed(comparison_tables(compared, most=None))
    assert sum(line.startswith(" block") for line in everything.splitlines()) == 60
    assert "--all" not in everything


def test_an_exact_execution_is_said_to_be_one():
    rows = tuple(row for row in made.rows_of("fp32", 0.0))
    text = printed(comparison_tables(made.comparison(executors=("fp32",), rows=rows)))
    assert "fp32: no difference from fp64 in any layer's forward." in text
    assert "4 layers are exact." in text


def test_what_is_not_finite_is_counted_and_never_drawn_as_a_size():
    broken = made.error(2.0**-12, nonfinite=5, rms=math.inf)
    rows = tuple(
        made.Row("tf32", (path, 0), kind, i, "forward", None, broken, None, None, math.nan)
        for i, (path, kind) in enumerate(made.CALLS)
    )
    compared = made.comparison(executors=("tf32",), rows=rows)
    assert cells(printed(comparison_tables(compared)), "head")[1:4] == ["5", "not", "finite"]
    found = json.loads(json.dumps(comparison_to_json(compared), allow_nan=False))
    assert found["rows"][0]["local"]["nonfinite"] == 5
    assert found["rows"][0]["local"]["rms"] is None


def test_a_verdict_is_a_sentence_with_advice_and_the_other_suspects():
    text = printed(verdict_tables(made.verdict()))
    assert "tf32: Rounding: stem, forward: own error 0.000244 rms, 2.05e+03 times" in text
    assert "→ Switch it off." in text
    assert "floor measured with fp32, threads=1; 7 model runs" in text
    assert "8 places above the floor" in text
    assert "… and 2 more" in text
    assert "gradient of weight" in text
    clean = printed(verdict_tables(made.clean_verdict()))
    assert "No layer errs more than sound executions do (fp32, threads=1)." in clean
    assert "places above" not in clean


def test_kept_layers_come_with_the_code_that_keeps_them():
    text = printed(kept_tables(made.kept()))
    assert "Keep 2 layers of 3 out of bf16, and the budget holds." in text
    for number in ("0.04", "0.008", "0.01", "0.05"):
        assert number in text
    assert "    KEEP_IN_FP32 = [" in text
    assert "torch.bfloat16" in text
    assert "torch.float16" in printed(kept_tables(made.kept(low="fp16")))
    assert "autocast" not in printed(kept_tables(made.kept(low="fp8")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": ()}, "All 3 layers may run in bf16: the budget holds."),
        ({"layers": ("a",)}, "Keep 1 layer of 3 out of bf16, and the budget holds."),
        ({"is_within": False}, "Even with all 2 layers kept out of bf16 the errors exceed the"),
    ],
)
def test_what_a_search_came_to(changes, said):
    assert kept_sentence(made.kept(**changes)).startswith(said)


def test_two_executions_side_by_side():
    text = printed(pairs_tables(made.pairs()))
    assert "The difference starts at stem (Conv2d), forward: given the same bits" in text
    assert "(2^-11 of its size, at most 16,400 ulps)" in text
    assert cells(text, "stem") == ["stem", "forward", "0", "2^-11", "16,400", "◄", "starts"]
    assert "gradient of weight" in text
    assert "a GPU" in text
    assert "Only in here (native): old." in text
    assert "Not compared: wide, whose outputs have the shapes" in text
    assert "same weights" not in text


def test_another_start_is_said_before_anything_else():
    text = printed(pairs_tables(made.pairs(environment=(("weights", "ab", "cd"),))))
    assert "did not begin with the same weights and the same batch" in text


def test_equal_executions_are_said_to_be_equal():
    row = PairRow(("", 0), "Net", 0, "forward", made.EXACT, made.EXACT, False)
    assert pairs_sentence(made.pairs(rows=(row,))) == (
        "here (native) and there (native) are equal to the last bit."
    )
    unstarted = PairRow(("", 0), "Net", 0, "forward", made.EXACT, made.error(0.5), False)
    assert "no layer was given the same bits" in pairs_sentence(made.pairs(rows=(unstarted,)))


def test_json_holds_the_numbers_of_the_analysis():
    compared = made.comparison()
    found = json.loads(json.dumps(comparison_to_json(compared), allow_nan=False))
    assert (found["schema"], found["model"], found["reference_loss"]) == (1, "Net", 2.25)
    assert [each["name"] for each in found["executors"]] == ["fp32", "tf32"]
    assert found["executors"][1]["decisions"]["argmax_flips"] == 2
    assert found["executors"][1]["unmatched"] == [{"path": "extra", "call": 1}]
    assert len(found["rows"]) == len(compared.rows)
    for record, row in zip(found["rows"], compared.rows, strict=True):
        assert record["local"]["rms"] == row.local.rms
        assert record["ratio"] == (None if math.isnan(row.ratio) else row.ratio)
        assert (record["path"], record["direction"]) == (row.call[0], row.direction)


def test_json_holds_no_nan_and_no_infinity():
    endless = made.suspect_of(made.comparison().rows[2], 1.0)
    endless = type(endless)(endless.call, "forward", None, endless.error, math.nan, math.inf)
    judged = made.verdict(
        culprit=endless, floor=Floor(24, ["x"], {(("a", 0), "forward"): math.nan})
    )
    for record in (
        comparison_to_json(made.comparison(losses={"fp64": math.nan, "fp32": math.inf})),
        verdict_to_json(judged),
        verdict_to_json(made.clean_verdict()),
        kept_to_json(made.kept(reached=type(made.kept().reached)(math.inf, math.nan))),
        pairs_to_json(made.pairs()),
    ):
        json.dumps(record, allow_nan=False)
    found = verdict_to_json(judged)
    assert found["culprit"]["times_floor"] is None
    assert found["floor"]["rows"] == [
        {**found["floor"]["rows"][0], "path": "a", "rms": None, "max_abs": None}
    ]


def test_a_name_cannot_steer_the_terminal():
    hostile = "\x1b[31m[red]x\u202e\n"
    names = (("", "Net"), (hostile, "Conv2d"))
    compared = made.comparison(names, model=hostile)
    culprit = compared.of("tf32", "forward")[1]
    parts = [
        *comparison_tables(compared),
        *verdict_tables(made.verdict(compared, culprit=made.suspect_of(culprit))),
        *kept_tables(made.kept(layers=(hostile, hostile), low=hostile)),
        *pairs_tables(made.pairs(first=hostile, environment=((hostile, hostile, hostile),))),
    ]
    text = printed(parts)
    assert "\\x1b[31m[red]x\\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_numbers_that_are_lost_are_counted_and_not_measured():
    bad = made.error(2.0**-12, nonfinite=7)
    rows = [replace(row, local=bad, inherited=bad, total=bad) for row in made.comparison().rows]
    text = printed(comparison_tables(made.comparison(rows=tuple(rows))))
    assert "tf32: 7 of the numbers that (model) makes are NaN or infinite" in text
    assert "the output has 7 that it should not have." in text
    assert " ".join(cells(text, "stem")[1:7]) == "7 not finite 7 not finite"
