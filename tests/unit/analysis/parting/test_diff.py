"""Whole runs beside each other: how they were made, their losses, their findings, the answer."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch

from deephochuli.analysis.parting import diff
from deephochuli.analysis.parting._training import finding_changes
from deephochuli.errors import CompareError
from deephochuli.report import sheets_to_json
from deephochuli.store import Manifest, ModelSummary, OptimizerSummary, RunWriter, StepRow
from tests.unit.analysis.runs import tap

N_STEPS = 6


def manifest(**changed):
    given = {
        "versions": {"deephochuli": "1", "torch": "2"},
        "device": "cpu",
        "seed": 0,
        "flags": {"tf32_matmul": False},
        "dtypes": {"fc.weight": "float32"},
        "model": ModelSummary(class_name="Net", n_parameters=4),
        "optimizer": OptimizerSummary(class_name="SGD", groups=[{"lr": 0.1}]),
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Manifest(**{**given, **changed})


@pytest.fixture
def write(tmp_path):
    """A run whose gradient at fc is `value` in each step, and times `times` from step `since`."""

    def make(name, *, since=99, times=2.0, loss=1.0, lr=0.1, layer="fc", every=1, **changed):
        with RunWriter(tmp_path / name, manifest(**changed)) as writer:
            for step in range(0, N_STEPS, every):
                scale = times if step >= since else 1.0
                tensor = torch.tensor([0.25, -0.5, 1.0, 2.0]) * scale
                row = StepRow(step=step, wall_s=0.0, loss=loss + step, lr=lr)
                writer.append(row, [tap(layer, "g", tensor), tap(f"{layer}.weight", "w", tensor)])
        return tmp_path / name

    return make


def test_equal_runs_are_called_equal(write):
    found = diff([write("a"), write("b")])
    assert found.pairs[0].verdict == "equal"
    assert "b is recorded exactly as a at all 6 common steps" in str(found)
    assert found.changes == found.findings == ()
    assert [table.key for table in found.sheet().tables] == ["runs"]


def test_the_answer_names_step_and_place(write):
    found = diff([write("a"), write("b", since=3)])
    pair = found.pairs[0]
    assert (pair.first.first_step, pair.first.layer, pair.first.quantity) == (3, "fc", "g")
    assert pair.verdict == "beyond"  # values twice as large share no key with those before
    assert "b parts from a at step 3, in the backward pass, first at fc:g" in str(found)
    assert [each.kind for each in found.findings] == ["runs-part"]
    assert found.findings[0].level == "warning"
    assert found.findings[0].code == ""  # every step was recorded


def test_steps_of_one_run_only_are_counted(write):
    found = diff([write("a"), write("b", every=2, since=3)])
    pair = found.pairs[0]
    assert pair.steps == (0, 2, 4)
    assert pair.n_alone == (3, 0)
    assert (pair.first.last_equal, pair.first.first_step) == (2, 4)
    assert 'every="2:5"' in found.findings[0].code


def test_what_was_made_differently_is_listed(write):
    found = diff(
        [
            write("a"),
            write("b", seed=1, flags={"tf32_matmul": True}),
            write("c", dtypes={"fc.weight": "bfloat16"}, optimizer=None),
        ]
    )
    changed = {change.name: change.values for change in found.changes}
    assert changed["seed"] == ("0", "1", "0")
    assert changed["flag tf32_matmul"] == ("off", "on", "off")
    assert changed["dtype fc.weight"] == ("float32", "float32", "bfloat16")
    assert changed["optimizer"] == ("SGD", "SGD", "none")
    assert changed["lr of group 0"] == ("0.1", "0.1", "–")
    assert [change.name for change in found.pairs[0].changes] == ["flag tf32_matmul", "seed"]


def test_many_parameters_of_another_dtype_are_one_change(write):
    names = [f"fc{i}.weight" for i in range(20)]
    one, other = dict.fromkeys(names, "float32"), dict.fromkeys(names, "bfloat16")
    found = diff([write("a", dtypes=one), write("b", dtypes=other)])
    assert [(c.name, c.values) for c in found.changes] == [
        ("dtype of 20 parameters", ("float32", "bfloat16"))
    ]


def test_runs_that_differ_by_their_seed_are_replicates_for_the_others(write):
    runs = [write("a"), write("b", seed=1), write("c", seed=2, since=3)]
    found = diff(runs)
    assert [pair.replicates for pair in found.pairs] == [("a", "c"), ("a", "b")]
    assert [pair.replicates for pair in diff(runs, replicates=()).pairs] == [(), ()]
    assert diff([*runs, write("d", seed=3, lr=0.2)]).pairs[0].replicates == ("a", "c")
    named = diff(runs, replicates=["b"])
    assert [pair.replicates for pair in named.pairs] == [(), ("a", "b")]


def test_a_repetition_with_the_same_seed_does_not_tell_what_another_seed_does(write):
    found = diff([write("a"), write("again"), write("b", seed=1), write("c", seed=2)])
    assert [pair.replicates for pair in found.pairs] == [("a", "b", "c"), ("a", "c"), ("a", "b")]


def test_sums_of_other_devices_and_versions_are_not_compared(write):
    found = diff(
        [
            write("a"),
            write("b", device="cuda:0"),
            write("c", versions={"deephochuli": "2"}),
            write("d", versions={"deephochuli": "1"}),
        ]
    )
    assert [pair.with_sums for pair in found.pairs] == [False, False, True]


def test_losses_and_settings_are_laid_side_by_side(write):
    pair = diff([write("a"), write("b", loss=9.0, lr=0.2)]).pairs[0]
    assert pair.losses.first_step == 0
    assert pair.losses.final == (6.0, 14.0)
    (change,) = pair.settings
    assert (change.name, change.step, change.values, change.n_steps) == ("lr", 0, (0.1, 0.2), 6)
    assert pair.verdict == "bits"
    assert "in the losses or settings" in str(diff([write("c"), write("d", lr=0.2)]))


def test_a_loss_that_is_lost_is_critical(write):
    found = diff([write("a"), write("b", loss=float("inf"))])
    assert [(each.kind, each.level) for each in found.findings] == [("runs-loss", "critical")]


def test_findings_that_are_new_or_gone_are_told(write):
    healthy, broken = write("a"), write("b", since=2, times=float("nan"))
    found = diff([healthy, broken])
    assert [c.status for c in found.pairs[0].findings if c.kind == "non-finite"] == ["new"]
    told = [f for f in found.findings if f.kind == "runs-new-finding"]
    assert told[0].level == "critical"
    assert told[0].title.startswith("New in b: ")
    assert {c.status for c in diff([broken, healthy]).pairs[0].findings} == {"gone"}


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (("warning", 0.5), ("critical", 0.1), "worse"),
        (("warning", 0.5), ("note", 0.9), "better"),
        (("warning", 0.5), ("warning", 0.6), "worse"),
        (("warning", 0.5), ("warning", 0.4), "better"),
        (("warning", 0.5), ("warning", 0.54), "same"),
    ],
)
def test_a_finding_is_worse_by_its_level_first_and_by_its_harm_next(write, before, after, status):
    found = diff([write("a"), write("b", since=2)])
    kept = found.findings[0]
    one, other = (replace(kept, level=level, score=score) for level, score in (before, after))
    (change,) = finding_changes([one], [other])
    assert (change.status, change.before, change.after) == (status, one, other)
    pair = replace(found.pairs[0], findings=(change,))
    told = [f for f in replace(found, pairs=(pair,)).findings if f.kind == "runs-worse-finding"]
    assert [f.level for f in told] == ([after[0]] if status == "worse" else [])


def test_layers_that_cannot_be_aligned_are_listed_with_a_way_out(write):
    found = diff([write("a"), write("b", layer="module.fc")])
    assert {each.layer for each in found.pairs[0].unaligned} == {
        *("fc", "fc.weight", "module.fc", "module.fc.weight")
    }
    (finding,) = found.findings
    assert finding.kind == "runs-unaligned"
    assert "--rename module.fc=fc" in finding.code
    assert "no layer of one name" in str(found)
    healed = diff([write("c"), write("d", layer="module.fc")], rename={"module.": ""})
    assert healed.pairs[0].verdict == "equal"


def test_an_empty_run_has_no_common_step(tmp_path, write):
    with RunWriter(tmp_path / "empty", manifest()):
        pass
    found = diff([write("a"), tmp_path / "empty"])
    assert "no recorded step in common" in str(found)
    sheets_to_json([found.sheet()])


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (1, {}, "give 2 to 8; got 1"),
        (9, {}, "give 2 to 8; got 9"),
        (2, {"names": ["a"]}, "Expected 2 different names"),
        (2, {"names": ["a", "a"]}, "Expected 2 different names"),
        (2, {"replicates": ["runb"]}, "No run is called 'runb'"),
    ],
)
def test_what_cannot_be_compared_is_refused(write, count, options, message):
    run = write("a")
    with pytest.raises(CompareError, match=message):
        diff([run] * count, **options)


def test_the_sheet_holds_every_place_and_is_valid(write):
    found = diff([write("a"), write("b", since=3), write("c", since=1)], replicates=())
    (record,) = sheets_to_json([found.sheet()])["answers"]
    json.dumps(record, allow_nan=False)
    keys = [table["key"] for table in record["tables"]]
    assert keys[:3] == ["runs", "places-1", "places-2"]
    assert [len(table["rows"]) for table in record["tables"][1:3]] == [2, 2]
    assert {figure["key"] for figure in record["figures"]} >= {"losses", "map-1", "distances-2"}


def test_long_runs_are_read_place_by_place_with_the_same_answer(write, monkeypatch):
    runs = [write("a"), write("b", since=3), write("c", seed=1)]
    at_once = [pair.taps for pair in diff(runs).pairs]
    monkeypatch.setattr("deephochuli.analysis.parting._rows.MOST_ROWS", 1)
    assert [pair.taps for pair in diff(runs).pairs] == at_once


def test_eight_runs_are_laid_beside_the_first(write):
    run = write("a")
    found = diff([run] * 8, names=list("abcdefgh"))
    assert [(pair.reference, pair.other) for pair in found.pairs] == [("a", n) for n in "bcdefgh"]
    assert {pair.verdict for pair in found.pairs} == {"equal"}
