"""Ranks record alone, and are read as one run."""

import json
import shutil
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning, StoreError, TapError
from deephochuli.kernels import TensorJob, reference_backend
from deephochuli.record._ranks import groups_of
from tests.unit.record.several import batch, net, record_ranks, rows


def test_what_flows_is_added_and_what_all_hold_is_counted_once(tmp_path):
    record_ranks(tmp_path / "run", 3)
    run = dh.open_run(tmp_path / "run")
    together = torch.cat(
        [net().hidden(batch(rank, step)) for rank in range(3) for step in range(6)]
    )
    [expected] = reference_backend().summarise([TensorJob(together.detach(), 1)])
    found = run.whole("relu", "z")
    assert found.key.tolist() == expected.keys.tolist()
    assert found.count.tolist() == expected.counts.tolist()
    assert found.positive.tolist() == expected.channels.positive.tolist()
    assert found.numbers["calls"] == 18
    weight = run.whole("hidden.weight", "w")
    assert (weight.numbers["n"], weight.numbers["calls"]) == (6 * 15, 6)
    assert run.path == tmp_path / "run"
    assert [each.manifest.rank.rank for each in run.ranks] == [0, 1, 2]
    assert run.manifest.ranks.merged == [0, 1, 2]
    assert run.finished
    assert not run.has_writer


def say_same_data(folder, n_ranks):
    """Let the manifests say what a tensor-parallel plan makes them say."""
    for rank in range(n_ranks):
        file = folder / f"rank-{rank}" / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["rank"]["same_data"] = list(range(n_ranks))
        file.write_text(json.dumps(manifest))


def test_what_looks_the_same_on_ranks_with_the_same_data_is_one_tensor(tmp_path):
    record_ranks(tmp_path / "run", 3, inputs=lambda rank, step: batch(0, step))
    say_same_data(tmp_path / "run", 3)
    run = dh.open_run(tmp_path / "run")
    assert rows(run) == rows(run.ranks[0])
    assert run.steps["n_micro_batches"].tolist() == [1] * 6


def test_what_looks_different_there_is_parts_of_a_tensor(tmp_path):
    record_ranks(tmp_path / "run", 3, inputs=lambda rank, step: batch(max(rank, 1), step))
    say_same_data(tmp_path / "run", 3)
    run = dh.open_run(tmp_path / "run")
    merged, alone = rows(run), [rows(rank) for rank in run.ranks]
    tap = ("relu", "z", 4)
    assert merged[tap]["n"] == repr(2 * np.int64(20))  # two ranks have the same, which counts once
    assert merged[tap]["calls"] == alone[0][tap]["calls"]
    assert [merged[tap][name] for name in ("positive", "zero", "nonfinite")] == [None] * 3
    for name in ("n_per_channel", "n_channels", "n_silent_channels"):
        assert run.records().numbers[name].max() == -1
    assert merged["hidden.weight", "w", 4] == alone[0]["hidden.weight", "w", 4]


def test_the_steps_of_ranks_become_one(tmp_path):
    record_ranks(tmp_path / "run", 2)
    run = dh.open_run(tmp_path / "run")
    losses = np.stack([each.steps["loss"] for each in run.ranks])
    assert run.steps["loss"].tolist() == [(a + b) / 2 for a, b in losses.T.tolist()]
    assert run.steps["n_micro_batches"].tolist() == [2] * 6


def test_one_process_is_no_rank(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with dh.record(net(), to=tmp_path / "run"):
        pass
    run = dh.open_run(tmp_path / "run")
    assert (run.ranks, run.manifest.rank, run.path) == ((), None, tmp_path / "run")


def test_ranks_can_be_left_out_or_asked_for(tmp_path, monkeypatch):
    with pytest.raises(TapError, match=r"not one of several ranks.*torchrun"):
        dh.record(net(), to=tmp_path / "asked", ranks=True)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with dh.record(net(), to=tmp_path / "run", ranks=False):
        pass
    assert (tmp_path / "run" / "manifest.json").exists()


def test_a_step_costs_a_rank_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = []
    for ranks in (False, None):
        called = Counter()

        def note(frame, event, argument, called=called):
            called[frame.f_code] += event == "call"

        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        to = tmp_path / str(ranks)
        with dh.record(model, optimizer, to=to, every=1, ranks=ranks) as recording:
            for step in range(3):
                recording.flush()  # so that no chunk is due by its age
                sys.setprofile(note if step == 2 else None)
                model(batch(0, step)).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            sys.setprofile(None)
        found.append(called)
    assert found[0] == found[1]
    assert found[0].total() > 100
    assert (tmp_path / "None" / "rank-1" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (SimpleNamespace(_fsdp_param_group=None), []),  # torch 2.11
        (SimpleNamespace(_fsdp_param_group="group"), ["group"]),
        (SimpleNamespace(_fsdp_param_groups=["one", "two"]), ["one", "two"]),  # since torch 2.12
    ],
)
def test_groups_of_parameters_are_found_under_each_torch(state, expected):
    assert groups_of(state) == expected


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("-1", "2"), ("x", "2"), ("0", "")])
def test_an_environment_that_means_nothing_is_no_rank(tmp_path, monkeypatch, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with dh.record(net(), to=tmp_path / "run"):
        pass
    assert dh.open_run(tmp_path / "run").manifest.rank is None


def test_only_steps_of_all_ranks_are_merged(tmp_path):
    record_ranks(tmp_path / "run", 2, every=lambda rank: (2, 3)[rank], steps=range(14))
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 6, 12]
    [finding] = [f for f in dh.findings(run) if f.kind == "uneven-ranks"]
    assert finding.title.startswith("6 of 9 recorded steps are not of all ranks: rank 1 lacks 4")


def test_a_rank_that_left_nothing_is_named(tmp_path):
    record_ranks(
        tmp_path / "run", 4, only=(0, 1, 3), steps=lambda rank: range(0 if rank == 1 else 3)
    )
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.manifest.ranks.merged == [0, 3]
    [finding] = [f for f in dh.findings(run) if f.kind == "missing-ranks"]
    assert finding.title == "No step of ranks 1 and 2 of 4 was recorded"


def test_what_comes_later_is_merged_later(tmp_path):
    record_ranks(tmp_path / "run", 2, steps=range(3))
    run = dh.open_run(tmp_path / "run")
    merged = tmp_path / "run" / "merged"
    before = {path.name: path.stat().st_mtime_ns for path in merged.glob("chunk-*/*")}
    assert not run.refresh()
    record_ranks(tmp_path / "run", 2, steps=range(3, 5), resume=True)
    assert run.refresh()
    assert run.steps["step"].tolist() == [0, 1, 2, 3, 4]
    # The number of sessions has changed, so that all is merged anew; the rows are those of once.
    found = rows(run)
    shutil.rmtree(merged)
    assert rows(dh.open_run(tmp_path / "run")) == found
    assert before


def test_a_growing_run_is_merged_chunk_by_chunk(tmp_path, monkeypatch):
    """While the ranks of one session write on, what is merged stays, and the rest is added."""
    recordings = []
    for rank in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(rank))
            patch.setenv("WORLD_SIZE", "2")
            model = net()
            recordings.append((rank, model, dh.record(model, to=tmp_path / "run")))

    def go_on(steps, *ranks):
        for rank, model, recording in recordings:
            if rank in ranks:
                for step in steps:
                    model(batch(rank, step))
                recording.flush()

    go_on(range(4), 0, 1)
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]  # without an optimizer the last one is open
    assert run.has_writer
    assert not run.finished
    go_on(range(4, 8), 0)
    run.refresh()
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert not [f for f in dh.findings(run) if f.kind == "uneven-ranks"]  # rank 1 may be slow
    first = tmp_path / "run" / "merged" / "chunk-000000" / "taps.parquet"
    written = first.stat().st_mtime_ns
    go_on(range(4, 8), 1)
    assert run.refresh()
    assert run.steps["step"].tolist() == list(range(7))
    assert first.stat().st_mtime_ns == written
    for _, _, recording in recordings:
        recording.close()
    assert run.refresh()
    assert run.finished
    found = rows(run)
    shutil.rmtree(tmp_path / "run" / "merged")
    assert rows(dh.open_run(tmp_path / "run")) == found


def test_chunks_of_ranks_may_end_at_different_steps(tmp_path):
    def flush_at(rank, step):
        return step in ((2, 3, 9), (1, 5, 6, 7), ())[rank]

    record_ranks(tmp_path / "often", 3, steps=range(10), flush_at=flush_at)
    record_ranks(tmp_path / "once", 3, steps=range(10))
    run = dh.open_run(tmp_path / "often")
    assert [each.n_chunks for each in run.ranks] == [3, 5, 1]
    assert rows(run) == rows(dh.open_run(tmp_path / "once"))


def test_a_step_that_is_recorded_again_is_merged_again(tmp_path):
    record_ranks(tmp_path / "run", 2, steps=range(4))
    before = rows(dh.open_run(tmp_path / "run"))
    other = lambda rank, step: batch(rank, 50 + step)  # noqa: E731 - the shorter form
    record_ranks(tmp_path / "run", 2, steps=range(2, 4), inputs=other, resume=2)
    after = rows(dh.open_run(tmp_path / "run"))
    assert after.keys() == before.keys()
    assert after["relu", "z", 1] == before["relu", "z", 1]
    assert after["relu", "z", 2] != before["relu", "z", 2]


def test_a_folder_that_cannot_be_written_is_merged_elsewhere(tmp_path):
    record_ranks(tmp_path / "run", 2)
    (tmp_path / "run" / "merged").write_text("in the way")
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == list(range(6))
    assert (tmp_path / "run" / "merged").read_text() == "in the way"


def test_a_damaged_chunk_of_a_rank_is_left_out(tmp_path):
    record_ranks(tmp_path / "run", 2, steps=range(3))
    record_ranks(tmp_path / "run", 2, steps=range(3, 5), resume=True)
    file = tmp_path / "run" / "rank-1" / "chunk-000001" / "taps.parquet"
    data = bytearray(file.read_bytes())
    data[60] ^= 255  # inside of a page, which is read late
    file.write_bytes(data)
    with pytest.warns(DeepHochuliWarning, match="chunk-000001"):
        run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]


def test_ranks_of_different_trainings_are_refused(tmp_path):
    record_ranks(tmp_path / "run", 2)
    record_ranks(tmp_path / "run", 3, only=(2,))
    with pytest.raises(StoreError, match="of different trainings: of 2 and 3 ranks"):
        dh.open_run(tmp_path / "run")


def test_a_run_that_only_looks_like_a_rank_is_refused(tmp_path):
    record_ranks(tmp_path / "run", 2)
    file = tmp_path / "run" / "rank-1" / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["rank"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="named like the run of a rank"):
        dh.open_run(tmp_path / "run")


def test_several_runs_of_ranks_lie_in_one_folder(tmp_path):
    from deephochuli.report import open_runs

    record_ranks(tmp_path / "runs" / "b", 2)
    record_ranks(tmp_path / "runs" / "a", 2)
    assert [run.path.name for run in open_runs(tmp_path / "runs")] == ["b", "a"]
    assert [len(run.ranks) for run in open_runs(tmp_path / "runs" / "b")] == [2]
