"""A run goes on after its end, a kill or a full disk, and steps that come again count once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store import Manifest, ModelSummary, RunWriter, StepRow, _lock, open_run
from tests.unit.store.drawn import draw_run, tap_row, write_run
from tests.unit.store.test_damage import ask
from tests.unit.store.test_versions import GOLDEN

LOCK = ".writer.lock"


def run_of(steps, value=1.0, **texts):
    row = tap_row(np.full((1, 1), value), **texts)
    return [(StepRow(step=i, wall_s=0.0, loss=value), [row]) for i in steps]


def write(path: Path, run, *, close: bool = True, **options) -> RunWriter:
    """A session of four steps a chunk; without `close`, as if it were killed."""
    writer = RunWriter(path, Manifest(), **{"chunk_steps": 4, "resume": True} | options)
    for step, rows in run:
        writer.append(step, rows)
    if close:
        writer.close()
    else:
        (path / LOCK).unlink()
    return writer


def values(path: Path) -> dict[int, float]:
    """Loss of each step, as the run has it."""
    steps = open_run(path).steps
    return dict(zip(steps["step"].tolist(), steps["loss"].tolist(), strict=True))


def folders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir())


def plain(found) -> str:
    return json.dumps(found, default=lambda x: x.tolist() if hasattr(x, "tolist") else repr(x))


@pytest.mark.parametrize("close", [True, False])
def test_a_run_goes_on_where_it_ended(tmp_path, close):
    write(tmp_path / "run", run_of(range(8)), close=close)
    write(tmp_path / "run", run_of(range(8, 14), 2.0))
    assert values(tmp_path / "run") == {i: 1.0 if i < 8 else 2.0 for i in range(14)}
    reader = open_run(tmp_path / "run")
    assert (reader.superseded, reader.damaged) == ([], [])
    assert (reader.manifest.n_steps, reader.manifest.n_chunks) == (14, 4)
    assert [s.first_step for s in reader.manifest.sessions] == [None, 8]
    assert [s.ended is not None for s in reader.manifest.sessions] == [close, True]


def test_steps_that_come_again_count_once(tmp_path):
    """A checkpoint at step 6 of 12: chunk 1 is divided, chunk 2 is superseded as a whole."""
    path = tmp_path / "run"
    write(path, run_of(range(12)), close=False)
    before = {p: p.read_bytes() for p in path.rglob("*.parquet")}
    write(path, run_of(range(6, 10), 2.0))
    assert values(path) == {i: 1.0 if i < 6 else 2.0 for i in range(10)}
    reader = open_run(path)
    assert reader.superseded == ["chunk-000001", "chunk-000002"]
    assert reader.scalars("stem", "z")["max_abs"].tolist() == [1.0] * 6 + [2.0] * 4
    whole = reader.whole("stem", "z")
    assert (whole.n_steps, whole.numbers["n"], whole.numbers["sum"]) == (10, 10, 14.0)
    assert reader.manifest.n_steps == 10
    assert {p: p.read_bytes() for p in before} == before  # nothing is deleted


def test_until_the_first_chunk_is_written_the_old_steps_count(tmp_path):
    write(tmp_path / "run", run_of(range(8)), close=False)
    write(tmp_path / "run", run_of([6], 2.0), close=False)
    assert values(tmp_path / "run") == dict.fromkeys(range(8), 1.0)
    write(tmp_path / "run", run_of(range(4, 9), 3.0), close=False)
    assert values(tmp_path / "run") == {i: 1.0 if i < 4 else 3.0 for i in range(8)}


def test_the_step_of_the_checkpoint_can_be_told(tmp_path):
    """Recorded every second step: training goes on at 5, the next recorded step is 6."""
    write(tmp_path / "run", run_of(range(0, 12, 2)))
    write(tmp_path / "run", run_of(range(8, 12, 2), 2.0), resume_step=5)
    assert values(tmp_path / "run") == {0: 1.0, 2: 1.0, 4: 1.0, 8: 2.0, 10: 2.0}
    with pytest.warns(DeepHochuliWarning, match="Step 2 was not recorded: it came after step 4"):
        write(tmp_path / "run", run_of([2]), resume_step=5)


def test_a_third_session_supersedes_parts_of_both(tmp_path):
    path = tmp_path / "run"
    write(path, run_of(range(12)))
    write(path, run_of(range(6, 16), 2.0))
    write(path, run_of(range(3, 5), 3.0))
    assert values(path) == {0: 1.0, 1: 1.0, 2: 1.0, 3: 3.0, 4: 3.0}
    write(path, run_of(range(5, 7), 4.0))
    assert values(path) == {0: 1.0, 1: 1.0, 2: 1.0, 3: 3.0, 4: 3.0, 5: 4.0, 6: 4.0}
    assert [s.first_step for s in open_run(path).manifest.sessions] == [None, 6, 3, 5]


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_a_run_in_pieces_says_what_a_whole_one_says(tmp_path, cut):
    """Everything that drawn rows hold, lists, texts, nan and None, survives being written again."""
    run = draw_run(9)
    other = draw_run(9, seed=3)
    whole = open_run(write_run(tmp_path / "whole", run, chunk_steps=3))
    write(tmp_path / "run", [*run[:cut], *other[cut:]], chunk_steps=3)
    write(tmp_path / "run", run[cut:], chunk_steps=3)
    pieces = open_run(tmp_path / "run")
    found, expected = ask(pieces), ask(whole)
    n_same = 2  # steps and scalars; chunks lie elsewhere
    assert plain(found[:n_same]) == plain(expected[:n_same])
    for tap in whole.taps():
        assert plain(pieces.history(tap.layer, tap.quantity)) == plain(
            whole.history(tap.layer, tap.quantity)
        )
        a, b = (r.whole(tap.layer, tap.quantity) for r in (pieces, whole))
        assert plain([a.key, a.count, a.positive, a.ratio, a.ratio_count]) == plain(
            [b.key, b.count, b.positive, b.ratio, b.ratio_count]
        )
    assert pieces.taps() == whole.taps()


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "run"
    manifest = Manifest(
        model=ModelSummary(class_name="Net", n_parameters=5, n_modules=2), dtypes={"w": "float32"}
    )
    RunWriter(path, manifest).close()
    before = sorted(path.iterdir())
    other = manifest.model_copy(update={"model": ModelSummary(class_name="Net", n_parameters=6)})
    with pytest.raises(StoreError, match=r"of another model: n_parameters 5 there, 6 now; n_mod"):
        RunWriter(path, other, resume=True)
    dtypes = manifest.model_copy(update={"dtypes": {"w": "float16"}})
    with pytest.raises(StoreError, match="other parameters or dtypes, such as 'w'"):
        RunWriter(path, dtypes, resume=True)
    assert sorted(path.iterdir()) == before
    RunWriter(path, manifest.model_copy(update={"seed": 5, "device": "cpu"}), resume=True).close()
    assert open_run(path).manifest.sessions[1].changed == {"seed": 5, "device": "cpu"}


def test_a_run_of_an_older_version_is_not_continued(tmp_path):
    shutil.copytree(GOLDEN / "v1", tmp_path / "run")
    with pytest.raises(StoreError, match=r"schema version 1\): it can be read, but not continued"):
        RunWriter(tmp_path / "run", Manifest(), resume=True)


def test_drafts_are_cleared_and_what_is_there_counts_for_the_cap(tmp_path):
    path = tmp_path / "run"
    write(path, run_of(range(8)))
    (path / ".draft-chunk-000002").mkdir()
    (path / ".draft-chunk-000002" / "taps.parquet").write_bytes(b"half")
    (path / ".manifest.json.tmp").write_bytes(b"half")
    size = sum(p.stat().st_size for p in path.rglob("[!.]*.*") if not p.parent.name.startswith("."))
    with pytest.warns(DeepHochuliWarning, match="the cap of .* is reached"):
        write(path, run_of(range(8, 12)), max_bytes=size + 1000)
    assert folders(path) == ["chunk-000000", "chunk-000001"]
    write(path, run_of(range(8, 12)), max_bytes=2 * size)
    reader = open_run(path)
    assert len(reader.steps["step"]) == 12
    assert "cap of" in reader.manifest.sessions[1].reason
    assert reader.manifest.stopped is None


def test_a_run_that_goes_on_after_an_error_ended_without_one(tmp_path):
    path = tmp_path / "run"
    writer = RunWriter(path, Manifest())
    for step, rows in run_of(range(4)):
        writer.append(step, rows)
    writer.close(RuntimeError("out of memory"))
    assert open_run(path).manifest.raised == "RuntimeError: out of memory"
    write(path, run_of(range(4, 8)))
    assert open_run(path).manifest.raised is None


def test_resuming_where_there_is_nothing_begins_a_run(tmp_path):
    write(tmp_path / "run", run_of(range(3)))
    assert len(open_run(tmp_path / "run").manifest.sessions) == 1


def test_a_damaged_chunk_does_not_keep_a_run_from_going_on(tmp_path):
    path = tmp_path / "run"
    write(path, run_of(range(8)))
    (path / "chunk-000001" / "steps.parquet").write_bytes(b"")
    with pytest.warns(DeepHochuliWarning, match="The run is read without chunk-000001"):
        write(path, run_of(range(8, 12), 2.0))
    with pytest.warns(DeepHochuliWarning, match="without chunk-000001"):
        assert values(path) == {i: 1.0 if i < 4 else 2.0 for i in (*range(4), *range(8, 12))}


class TestOneWriter:
    def test_a_second_one_is_refused_while_the_first_lives(self, tmp_path):
        path = tmp_path / "run"
        code = (
            "import sys, time\nfrom deephochuli.store import Manifest, RunWriter\n"
            "writer = RunWriter(sys.argv[1], Manifest())\nprint('open', flush=True)\ntime.sleep(99)"
        )
        first = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        try:
            with pytest.raises(StoreError, match=f"is being written by process {first.pid} on"):
                RunWriter(path, Manifest(), resume=True)
        finally:
            first.kill()
            # Not waited for: a corpse holds no lock.
            while _lock._started(first.pid) is not None:
                pass
        RunWriter(path, Manifest(), resume=True).close()
        first.wait()
        first.stdout.close()
        assert not (path / LOCK).exists()

    def test_a_second_one_in_the_same_process(self, tmp_path):
        first = RunWriter(tmp_path / "run", Manifest())
        with pytest.raises(StoreError, match="is being written by this process"):
            RunWriter(tmp_path / "run", Manifest(), resume=True)
        first.close()
        RunWriter(tmp_path / "run", Manifest(), resume=True).close()

    @pytest.mark.parametrize(
        ("change", "is_stale"),
        [
            ({"started": "1"}, True),
            ({"boot": "another"}, True),
            ({"pid": 2**22 + 1}, True),
            ({"host": "elsewhere"}, False),
            ({}, False),
        ],
    )
    def test_locks_that_hold_and_locks_that_do_not(self, tmp_path, change, is_stale):
        path = tmp_path / "run"
        RunWriter(path, Manifest()).close()
        owner = {"pid": os.getppid(), "started": _lock._started(os.getppid()) or ""}
        owner |= {"boot": _lock._boot(), "host": _lock.Owner.this().host}
        (path / LOCK).write_text(json.dumps(owner | change))
        if is_stale:
            RunWriter(path, Manifest(), resume=True).close()
            assert not (path / LOCK).exists()
        else:
            with pytest.raises(StoreError, match=r"being written by process .* delete"):
                RunWriter(path, Manifest(), resume=True)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "x"}', "\0" * 9])
    def test_a_lock_that_says_nothing_is_none(self, tmp_path, text):
        RunWriter(tmp_path / "run", Manifest()).close()
        (tmp_path / "run" / LOCK).write_text(text)
        RunWriter(tmp_path / "run", Manifest(), resume=True).close()
