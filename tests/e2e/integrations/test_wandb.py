"""What stands in the file of an offline run of Weights & Biases after we have logged to it."""

import os

import numpy as np
import pytest
import torch

# Read when it is imported; nothing here may reach for the network.
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}

import deephochuli as dh
from deephochuli.integrations import Active, Follow, FollowActive, numbers_of
from tests.e2e.integrations.scripts import assert_neutral
from tests.e2e.integrations.wandb_file import read
from tests.unit.integrations.trackers import model_and_optimizer, record, train

wandb = pytest.importorskip("wandb")
from deephochuli.integrations import wandb as board  # noqa: E402 (needs the above)

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _folders_of_its_own(tmp_path, monkeypatch):
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))


def test_the_script_is_recorded_and_trains_the_same(tmp_path):
    folder = assert_neutral("wandb_offline", tmp_path)
    rows, alerts, summary = read(folder)
    assert len([row for row in rows if "loss" in row]) == 58
    assert [row["deephochuli/step"] for row in rows if "deephochuli/step" in row] == [31, 57]
    (alert,) = [a for a in alerts if "swamped" in a[1]]
    (finding,) = [
        f for f in dh.findings(dh.open_run(folder / "run")) if f.kind == "swamped-updates"
    ]
    assert alert[0] == {"critical": "ERROR", "warning": "WARN"}[finding.level]
    assert finding.why in alert[2]
    assert summary["deephochuli/found/swamped-updates"] == finding.title
    (page,) = folder.rglob("media/html/deephochuli/*.html")
    assert "swamped" in page.read_text("utf-8")


def test_rows_of_the_users_own_with_steps_of_their_own_are_all_there(tmp_path):
    model, optimizer = model_and_optimizer(torch.bfloat16, lr=1e-6)
    with wandb.init(project="p", dir=tmp_path) as run:
        follow = Follow(board.Tracker(run, report=False))
        with dh.record(model, optimizer, to=tmp_path / "run", follow=follow) as recording:
            for step in range(100):
                train(model, optimizer, 1, recording, seed=step)
                run.log({"mine": step}, step=step)
    rows, _, _ = read(tmp_path)
    assert [(row["_step"], row["mine"]) for row in rows if "mine" in row] == [
        (step, step) for step in range(100)
    ]
    assert {31, 63, 95, 99} <= {
        row["deephochuli/step"] for row in rows if "deephochuli/step" in row
    }


def test_without_rows_of_the_users_none_of_ours_is_lost(tmp_path):
    with wandb.init(project="p", dir=tmp_path) as run:
        tracker = board.Tracker(run, report=False)
        tracker.begin()
        record(tmp_path / "run", None, 70)
        for each in numbers_of(dh.open_run(tmp_path / "run")):
            tracker.log([each])
    rows, _, _ = read(tmp_path)
    assert [row["deephochuli/step"] for row in rows if "deephochuli/step" in row] == [31, 63, 69]


def test_a_finished_run_reads_back_number_by_number(tmp_path):
    record(tmp_path / "run", None, 40, dtype=torch.bfloat16, lr=1e-4)
    run = dh.open_run(tmp_path / "run")
    with wandb.init(project="p", dir=tmp_path):
        board.log_run(run, report=False)
    rows, _, summary = read(tmp_path)
    expected = numbers_of(run)
    assert [row["deephochuli/step"] for row in rows] == [each.step for each in expected]
    for row, each in zip(rows, expected, strict=True):
        for name, value in each.totals.items():
            assert row[f"deephochuli/{name}"] == value
        for name, value in each.layers.items():
            assert row[f"deephochuli/layers/{name}"] == value
        for name, histogram in each.histograms.items():
            counts, edges = histogram.bins(512)
            drawn = f"deephochuli/exponents/{name}"
            assert row[f"{drawn}.values"] == counts.tolist()
            np.testing.assert_array_equal(row[f"{drawn}.bins"], edges)
    assert summary["deephochuli/n_critical"] == len(
        [finding for finding in dh.findings(run) if finding.level == "critical"]
    )


def test_what_waits_is_shown_before_the_script_finishes_its_run(tmp_path):
    active = Active(["wandb"])
    active.watch_wandb()
    model, optimizer = model_and_optimizer(torch.bfloat16, lr=1e-6)
    wandb.init(project="p", dir=tmp_path)
    with dh.record(model, optimizer, to=tmp_path / "run", follow=FollowActive(active)):
        train(model, optimizer, 10)
        wandb.finish()
        train(model, optimizer, 3)
    active.end()
    rows, alerts, summary = read(tmp_path)
    assert [row["deephochuli/step"] for row in rows if "deephochuli/step" in row] == [9]
    assert "swamped" in summary["deephochuli/found/swamped-updates"]
    assert len(alerts) == 1


def test_without_a_run_it_says_what_to_do(tmp_path):
    record(tmp_path / "run", None, 2)
    with pytest.raises(dh.StoreError, match=r"No wandb run is active\. Call wandb\.init"):
        board.log_run(dh.open_run(tmp_path / "run"))
