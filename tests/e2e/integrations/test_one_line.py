"""Public-style scripts, unmodified but for one line, with the trainers and trackers themselves."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import deephochuli as dh
from tests.e2e.integrations import tensorboard_log, wandb_file
from tests.e2e.one_line import SCRIPTS, installed, losses, run, run_here, with_the_line

pytestmark = pytest.mark.integration
PUBLIC = SCRIPTS / "public"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The package as it would be installed."""
    return installed(tmp_path_factory.mktemp("installed"))


def weights(folder: Path):
    return torch.load(folder / "model.pt", weights_only=True)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Threads as in a process of its own, and nothing that reaches for a network."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for name in ("DEEPHOCHULI_AUTO", "DEEPHOCHULI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(n_threads)


def both(name, tmp_path, start=run_here, words=((),), plain=run_here):
    """Run a script as it is and with the line.

    Args:
        name: The script.
        tmp_path: Where to.
        start: Runs the one with the line.
        words: Arguments of each time that the script with the line is run. Several times are one
            training with a checkpoint, which the last argument names; without it, it is whole.
        plain: Runs the one as it is.

    Returns:
        The folder of the one with the line, and the losses. Both must have trained the same.
    """
    as_it_is, line = tmp_path / "plain", tmp_path / "line"
    as_it_is.mkdir()
    line.mkdir()
    expected = plain(PUBLIC / f"{name}.py", as_it_is, *words[-1][: len(words[0])])
    copy = with_the_line(PUBLIC / f"{name}.py", line)
    done = [start(copy, line, *each) for each in words]
    assert losses(expected)
    assert [loss for each in done for loss in losses(each)] == losses(expected)
    torch.testing.assert_close(weights(line), weights(as_it_is), rtol=0, atol=0)
    assert all(" in runs/" in each.stderr for each in done)
    return line, [float.fromhex(text.split()[1]) for text in losses(expected)]


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


def test_a_loop_with_tensorboard(tmp_path):
    folder, _ = both("tensorboard_loop", tmp_path)
    run, log = only_run(folder, "Sequential"), tensorboard_log.read(folder / "board")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(40))
    assert len(log.Scalars("loss")) == 40
    assert shown_steps(log) == list(range(40))
    assert_findings_are_shown(log, run)


def test_two_models_with_wandb_that_nobody_finishes(tmp_path, path):
    pytest.importorskip("wandb")
    variables = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    start = partial(run, path=path, **variables)
    folder, _ = both("wandb_loop", tmp_path, start, plain=start)
    rows, alerts, summary = wandb_file.read(folder)
    assert len([row for row in rows if "loss" in row]) == 40
    runs = {name: only_run(folder, name) for name in ("Sequential", "Sequential-2")}
    assert {each[1] for each in alerts} == {title(run)[:63] for run in runs.values()}
    assert summary["deephochuli/found/swamped-updates"] == title(runs["Sequential"])
    assert summary["deephochuli-Sequential-2/found/swamped-updates"] == title(runs["Sequential-2"])


def test_a_loop_with_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    folder, _ = both("mlflow_loop", tmp_path)
    client = mlflow.MlflowClient((folder / "mlruns").as_uri())
    (logged,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    share = client.get_metric_history(logged.info.run_id, "deephochuli/updates_unmoved_share")
    assert [each.step for each in share] == list(range(40))
    assert title(only_run(folder, "Sequential")) in logged.data.tags["deephochuli.swamped-updates"]


def test_a_loop_with_accelerate(tmp_path):
    pytest.importorskip("accelerate")
    folder, _ = both("accelerate_loop", tmp_path)
    run = only_run(folder, "Sequential")
    assert run.steps["step"].tolist() == list(range(20))
    assert set(run.steps["n_micro_batches"].tolist()) == {2}


def check_trainer(folder, printed, model):
    """One run of both processes and of nothing else, in the folder of the first, and in boards."""
    run = only_run(folder, model)
    assert run.finished
    assert run.steps["step"].tolist() == list(range(20))
    assert [session.first_step for session in run.manifest.sessions] == [None, 10]
    assert run.steps["loss"].tolist() == pytest.approx(printed, rel=1e-2)  # printed in BF16
    # By file: within one second, both processes log to one folder.
    found = sorted(folder.rglob("events.out.tfevents*"), key=lambda file: file.stat().st_mtime_ns)
    logs = [tensorboard_log.read(each) for each in found]
    assert [step for log in logs for step in shown_steps(log)] == list(range(20))
    assert_findings_are_shown(logs[-1], run)


def test_lightning_and_a_checkpoint(tmp_path, path):
    """In processes of their own: Lightning finds the callback where the package is installed."""
    pytest.importorskip("lightning.pytorch")
    start = partial(run, path=path)
    words = [("1",), ("2", "checkpoints/last.ckpt")]
    check_trainer(*both("lightning_fit", tmp_path, start, words), "Net")


def test_the_trainer_of_transformers_and_a_checkpoint(tmp_path):
    pytest.importorskip("accelerate")
    check_trainer(
        *both("trainer_fit", tmp_path, words=[("10",), ("20", "resume")]), "GPT2LMHeadModel"
    )
