"""Public-style scripts, unmodified but for one line, with the trainers and trackers themselves."""

from functools import partial
from pathlib import Path

import pytest
import torch

import deephochuli as dh
from tests.e2e.integrations import tensorboard_log, wandb_file
from tests.e2e.one_line import SCRIPTS, installed, losses, run, with_the_line

pytestmark = pytest.mark.integration
PUBLIC = SCRIPTS / "public"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The package as it would be installed."""
    return installed(tmp_path_factory.mktemp("installed"))


def weights(folder: Path):
    return torch.load(folder / "model.pt", weights_only=True)


def both(name, tmp_path, path, *words, **variables):
    """Run a script as it is and with the line, which must train the same; folder of the latter."""
    folders = [tmp_path / "plain", tmp_path / "line"]
    for folder in folders:
        folder.mkdir()
    start = partial(run, path=path, **variables)
    plain = start(PUBLIC / f"{name}.py", folders[0], *words)
    line = start(with_the_line(PUBLIC / f"{name}.py", folders[1]), folders[1], *words)
    assert losses(plain)
    assert losses(line) == losses(plain)
    torch.testing.assert_close(weights(folders[1]), weights(folders[0]), rtol=0, atol=0)
    assert "deephochuli: recorded" in line.stderr
    return folders[1]


def only_run(folder: Path, name: str):
    (path,) = (folder / "runs").glob(f"*/{name}")
    return dh.open_run(path)


def title(run, kind="swamped-updates"):
    (found,) = [finding for finding in dh.findings(run) if finding.kind == kind]
    return found.title


def shown_steps(log):
    return [event.step for event in log.Scalars("deephochuli/updates_unmoved_share")]


def assert_findings_are_shown(log, run):
    ((_, listed),) = tensorboard_log.texts(log, "deephochuli/findings")
    assert title(run) in listed


def test_a_loop_with_tensorboard(tmp_path, path):
    folder = both("tensorboard_loop", tmp_path, path)
    run, log = only_run(folder, "Sequential"), tensorboard_log.read(folder / "board")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(40))
    assert len(log.Scalars("loss")) == 40
    assert shown_steps(log) == list(range(40))
    assert_findings_are_shown(log, run)


def test_two_models_with_wandb_that_nobody_finishes(tmp_path, path):
    folder = both("wandb_loop", tmp_path, path, WANDB_MODE="offline", WANDB_SILENT="true")
    rows, alerts, summary = wandb_file.read(folder)
    assert len([row for row in rows if "loss" in row]) == 40
    runs = {name: only_run(folder, name) for name in ("Sequential", "Sequential-2")}
    assert {each[1] for each in alerts} == {title(run)[:63] for run in runs.values()}
    assert summary["deephochuli/found/swamped-updates"] == title(runs["Sequential"])
    assert summary["deephochuli-Sequential-2/found/swamped-updates"] == title(runs["Sequential-2"])


def test_a_loop_with_mlflow(tmp_path, path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = both("mlflow_loop", tmp_path, path)
    client = mlflow.MlflowClient((folder / "mlruns").as_uri())
    (logged,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    share = client.get_metric_history(logged.info.run_id, "deephochuli/updates_unmoved_share")
    assert [each.step for each in share] == list(range(40))
    assert title(only_run(folder, "Sequential")) in logged.data.tags["deephochuli.swamped-updates"]


def test_a_loop_with_accelerate(tmp_path, path):
    run = only_run(both("accelerate_loop", tmp_path, path), "Sequential")
    assert run.steps["step"].tolist() == list(range(20))
    assert set(run.steps["n_micro_batches"].tolist()) == {2}


@pytest.mark.parametrize(
    ("script", "half", "whole", "resume", "model"),
    [
        ("lightning_fit", "1", "2", "checkpoints/last.ckpt", "Net"),
        ("trainer_fit", "10", "20", "resume", "GPT2LMHeadModel"),
    ],
)
def test_a_trainer_and_a_checkpoint(tmp_path, path, script, half, whole, resume, model):
    plain, line = tmp_path / "plain", tmp_path / "line"
    plain.mkdir()
    line.mkdir()
    start = partial(run, path=path, HF_HUB_OFFLINE="1")
    expected = start(PUBLIC / f"{script}.py", plain, whole)
    copy = with_the_line(PUBLIC / f"{script}.py", line)
    first, second = start(copy, line, half), start(copy, line, whole, resume)
    assert losses(first) + losses(second) == losses(expected)
    torch.testing.assert_close(weights(line), weights(plain), rtol=0, atol=0)
    recorded = only_run(line, model)  # of both processes, and of nothing else
    assert recorded.finished
    assert recorded.steps["step"].tolist() == list(range(20))
    assert [session.first_step for session in recorded.manifest.sessions] == [None, 10]
    printed = [float.fromhex(text.split()[1]) for text in losses(expected)]
    assert recorded.steps["loss"].tolist() == pytest.approx(printed, rel=1e-2)  # BF16 means
    found = {each.parent for each in line.rglob("events.out.tfevents*")}
    logs = [tensorboard_log.read(folder) for folder in sorted(found)]
    assert [step for log in logs for step in shown_steps(log)] == list(range(20))
    assert_findings_are_shown(logs[-1], recorded)
