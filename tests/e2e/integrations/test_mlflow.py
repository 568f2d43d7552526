"""What MLflow's own client finds in a local store after we have logged to it."""

import math
import os

import pytest
import torch

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # read when a store is opened

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning
from deephochuli.integrations import Follow, numbers_of
from tests.e2e.integrations.scripts import assert_neutral
from tests.unit.integrations.trackers import record

mlflow = pytest.importorskip("mlflow")
from deephochuli.integrations import mlflow as tracking  # noqa: E402 (needs the above)

pytestmark = pytest.mark.integration


@pytest.fixture
def client(tmp_path):
    """A client of a store of its own."""
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    return mlflow.MlflowClient()


def only_run(client):
    (found,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return found


def history(client, run, name):
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]


def test_the_script_is_recorded_and_trains_the_same(tmp_path):
    folder = assert_neutral("mlflow_local", tmp_path)
    client = mlflow.MlflowClient((folder / "mlruns").as_uri())
    logged, run = only_run(client), dh.open_run(folder / "run")
    assert len(history(client, logged, "loss")) == 2
    assert len(history(client, logged, "deephochuli/updates_unmoved_share")) == 58
    (finding,) = [f for f in dh.findings(run) if f.kind == "swamped-updates"]
    tag = logged.data.tags["deephochuli.swamped-updates"]
    assert tag.startswith(f"{finding.level}: ")
    assert "swamped" in tag
    (page,) = client.list_artifacts(logged.info.run_id, "deephochuli")
    assert page.path == "deephochuli/report.html"
    assert page.file_size > 10_000


def test_a_finished_run_reads_back_number_by_number(tmp_path, client):
    record(tmp_path / "run", None, 40, dtype=torch.bfloat16, lr=1e-4, bad_at=38)
    run = dh.open_run(tmp_path / "run")
    with mlflow.start_run():
        tracking.log_run(run, report=False)
    logged, expected = only_run(client), numbers_of(run)
    names = {name for each in expected for name in each.totals}
    for name in names:
        wanted = [(each.step, each.totals[name]) for each in expected if name in each.totals]
        wanted = [(step, value) for step, value in wanted if not math.isnan(value)]
        assert history(client, logged, f"deephochuli/{name}") == wanted
    last = next(each for each in reversed(expected) if each.layers)
    for name, value in last.layers.items():
        if not math.isnan(value):
            assert history(client, logged, f"deephochuli/layers/{name}")[-1] == (last.step, value)
    assert logged.data.tags["deephochuli.n_critical"] == "2"


def test_the_active_run_is_found_though_numbers_come_from_another_thread(tmp_path, client):
    with mlflow.start_run() as run:
        record(tmp_path / "run", Follow(tracking.Tracker(report=False)), 40)
    logged = client.get_run(run.info.run_id)
    assert len(history(client, logged, "deephochuli/loss")) == 40
    assert not [name for name in logged.data.metrics if "/layers/" in name]


def test_without_a_run_training_goes_on_and_it_is_said_what_to_do(tmp_path, client):
    with pytest.warns(DeepHochuliWarning, match=r"No MLflow run is active\. Call mlflow\.start"):
        assert record(tmp_path / "run", Follow(tracking.Tracker()), 3) == 3
    with pytest.raises(dh.StoreError, match="No MLflow run is active"):
        tracking.log_run(dh.open_run(tmp_path / "run"))
