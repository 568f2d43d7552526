"""What TensorBoard's own reader finds in the logs that we write."""

import numpy as np
import pytest
import torch

import deephochuli as dh
from deephochuli.integrations import Follow, numbers_of, tensorboard
from tests.e2e.integrations.scripts import assert_neutral
from tests.e2e.integrations.tensorboard_log import read, texts
from tests.unit.integrations.trackers import record

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

pytestmark = pytest.mark.integration


def test_the_script_is_recorded_and_trains_the_same(tmp_path):
    folder = assert_neutral("tensorboard_loop", tmp_path)
    log, run = read(folder / "board"), dh.open_run(folder / "run")
    assert len(log.Scalars("loss")) == 2
    assert [e.step for e in log.Scalars("deephochuli/updates_unmoved_share")] == list(range(58))
    ((_, alert),) = texts(log, "deephochuli/alerts/swamped-updates")
    (finding,) = [f for f in dh.findings(run) if f.kind == "swamped-updates"]
    assert alert.startswith(f"**{finding.level}: ")
    assert finding.why in alert
    ((step, listed),) = texts(log, "deephochuli/findings")
    assert step == 57
    assert f"- **{finding.level}**: {finding.title}" in listed


def test_a_finished_run_reads_back_number_by_number(tmp_path):
    record(tmp_path / "run", None, 40, dtype=torch.bfloat16, lr=1e-4, bad_at=38)
    run = dh.open_run(tmp_path / "run")
    tensorboard.log_run(run, tmp_path / "board")
    log, expected = read(tmp_path / "board"), numbers_of(run)
    for name in ("loss", "lr", "nonfinite", "gradients_zero_share", "updates_unmoved_share"):
        found = [(e.step, np.float32(e.value)) for e in log.Scalars(f"deephochuli/{name}")]
        wanted = [(n.step, np.float32(n.totals[name])) for n in expected if name in n.totals]
        np.testing.assert_array_equal(found, wanted)
    ends = [n for n in expected if n.layers]
    assert [n.step for n in ends] == [31, 39]
    for name in ends[0].layers:
        found = {e.step: np.float32(e.value) for e in log.Scalars(f"deephochuli-layers/{name}")}
        wanted = {n.step: np.float32(n.layers[name]) for n in ends if name in n.layers}
        assert found == wanted


def test_histograms_hold_the_exact_count_of_every_binade(tmp_path):
    record(tmp_path / "run", None, 10, dtype=torch.float16)
    run = dh.open_run(tmp_path / "run")
    tensorboard.log_run(run, tmp_path / "board", quantities=["g"])
    log = read(tmp_path / "board")
    assert {tag.split("/")[1] for tag in log.Tags()["histograms"]} == {"g"}
    (event,) = log.Histograms("deephochuli-exponents/g/0.weight")
    found = event.histogram_value
    expected = dh.Sketch.from_counts(
        *(getattr(run.whole("0.weight", "g"), name) for name in ("key", "count")), 0, 0, 0, 0
    ).binades()
    # TensorBoard's own rule: a bucket holds what is above the limit before and up to its own.
    counted = {
        round(limit - 0.5): n for limit, n in zip(found.bucket_limit, found.bucket, strict=True)
    }
    assert {e: n for e, n in counted.items() if n} == expected
    assert found.num == sum(expected.values())
    assert found.sum == sum(e * n for e, n in expected.items())
    assert (found.min, found.max) == (min(expected), max(expected))


def test_while_it_is_recorded_the_same_is_written(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "live")) as writer:
        record(tmp_path / "run", Follow(tensorboard.Tracker(writer)), 40)
    tensorboard.log_run(dh.open_run(tmp_path / "run"), tmp_path / "after")
    live, after = read(tmp_path / "live"), read(tmp_path / "after")
    assert live.Tags() == after.Tags()

    def pairs(log, kind, tag):
        values = [getattr(e, "value", getattr(e, "histogram_value", None)) for e in kind(log, tag)]
        return [(e.step, repr(v)) for e, v in zip(kind(log, tag), values, strict=True)]

    for name in ("Scalars", "Histograms"):
        kind = getattr(accumulator.EventAccumulator, name)
        for tag in after.Tags()[name.lower()]:
            assert pairs(live, kind, tag) == pairs(after, kind, tag)
