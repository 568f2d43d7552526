"""When chunks are written, where they may go, and that nothing ever disturbs the training."""

import errno
import json
import os
import pathlib
import warnings

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store import Manifest, RunWriter, StepRow, _chunk, _files, _writer, open_run
from tests.unit.store.drawn import draw_run, tap_row, write_run

STEP = StepRow(step=0, wall_s=0.0)


def folders(path: pathlib.Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir())


def small_run(n_steps: int):
    row = tap_row(np.ones((1, 1)))
    return [(StepRow(step=i, wall_s=0.0), [row]) for i in range(n_steps)]


def append_all(writer: RunWriter, run) -> None:
    for step, rows in run:
        writer.append(step, rows)


def finish(writer: RunWriter, run) -> None:
    append_all(writer, run)
    writer.flush()
    writer.close()


def test_chunks_have_their_number_of_steps(tmp_path):
    reader = open_run(write_run(tmp_path / "run", small_run(10), chunk_steps=4))
    rollups = reader.rollups()
    assert rollups.chunk.tolist() == [0, 1, 2]
    assert rollups.n_steps.tolist() == [4, 4, 2]
    assert folders(tmp_path / "run") == ["chunk-000000", "chunk-000001", "chunk-000002"]


def test_chunks_double_so_that_there_are_few(tmp_path, monkeypatch):
    monkeypatch.setattr(_writer, "_CHUNKS_PER_DOUBLING", 3)
    reader = open_run(write_run(tmp_path / "run", small_run(45), chunk_steps=2))
    assert reader.rollups().n_steps.tolist() == [2, 2, 2, 4, 4, 4, 8, 8, 8, 3]
    assert _writer._CHUNKS_PER_DOUBLING == 3


@pytest.mark.parametrize(
    ("most", "lengths"), [(5, [2, 2, 4, 4, 5, 5, 5, 3]), (1, [2] * 15)], ids=["capped", "asked"]
)
def test_chunks_double_up_to_a_cap_but_have_the_steps_asked_for(
    tmp_path, monkeypatch, most, lengths
):
    monkeypatch.setattr(_writer, "_CHUNKS_PER_DOUBLING", 2)
    monkeypatch.setattr(_writer, "_MOST_CHUNK_STEPS", most)
    reader = open_run(write_run(tmp_path / "run", small_run(30), chunk_steps=2))
    assert reader.rollups().n_steps.tolist() == lengths


def test_an_old_chunk_is_written_however_short(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_writer.time, "monotonic", lambda: now[0])
    with RunWriter(tmp_path / "run", Manifest(), chunk_seconds=30) as writer:
        for step, rows in small_run(8):
            writer.append(step, rows)
            now[0] += 12
    assert open_run(tmp_path / "run").rollups().n_steps.tolist() == [4, 4]


def test_flush_writes_the_open_chunk_and_close_is_safe_twice(tmp_path):
    writer = RunWriter(tmp_path / "run", Manifest())
    writer.append(*small_run(1)[0])
    assert folders(tmp_path / "run") == []
    writer.flush()
    writer.flush()
    assert folders(tmp_path / "run") == ["chunk-000000"]
    assert not open_run(tmp_path / "run").finished
    writer.close()
    writer.close()
    writer.append(*small_run(2)[1])
    writer.flush()
    reader = open_run(tmp_path / "run")
    assert reader.finished
    assert (reader.manifest.n_steps, reader.manifest.n_chunks) == (1, 1)
    assert reader.manifest.ended >= reader.manifest.created
    assert not writer.is_open


def test_memory_is_bounded_by_the_buffer(tmp_path):
    run = draw_run(12)
    with RunWriter(tmp_path / "run", Manifest(), chunk_steps=100, buffer_bytes=60_000) as writer:
        most = 0
        for step, rows in run:
            writer.append(step, rows)
            most = max(most, writer._buffered)
        drafts = [name for name in folders(tmp_path / "run") if name.startswith(".")]
    assert 0 < most < 60_000
    assert len(drafts) == 1
    assert open_run(tmp_path / "run").n_chunks == 1


def test_an_exception_in_the_training_closes_the_run(tmp_path):
    def train():
        with RunWriter(tmp_path / "run", Manifest()) as writer:
            writer.append(*small_run(1)[0])
            raise RuntimeError("theirs")

    with pytest.raises(RuntimeError, match="theirs"):
        train()
    assert open_run(tmp_path / "run").finished


@pytest.mark.parametrize("name", ["a b", "s3:run", "ümlaut 🧠", "-dash", "per%20cent", "a'\"$(x)"])
def test_odd_names_of_folders(tmp_path, name):
    path = tmp_path / name / "deeper" / "run"
    reader = open_run(write_run(path, small_run(3)))
    assert reader.steps["step"].tolist() == [0, 1, 2]
    assert len(reader.rollups()) == 1


def test_a_folder_name_that_is_no_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe"
    reader = open_run(write_run(pathlib.Path(os.fsdecode(path)), small_run(2)))
    assert len(reader.rollups()) == 1


def test_a_relative_path_and_a_later_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with RunWriter("runs/a", Manifest()) as writer:
        writer.append(*small_run(1)[0])
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert open_run(tmp_path / "runs" / "a").finished


def test_odd_texts_in_rows(tmp_path):
    texts = ["</script>", "nul\x00", "‮rtl", "x" * 10_000, "", "half \ud83d", "line\nbreak"]
    rows = [tap_row(np.ones((1, 1)), layer=t, role=t, dtype=t[:9]) for t in texts]
    reader = open_run(write_run(tmp_path / "run", [(STEP, rows)]))
    expected = {t.encode("utf-8", "backslashreplace").decode() for t in texts}
    assert {tap.layer for tap in reader.taps()} == expected
    assert {tap.role for tap in reader.taps()} == expected


class TestWhereARunMayGo:
    def test_an_empty_folder_and_one_with_drafts_of_a_dead_attempt(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "b" / ".draft-chunk-000000").mkdir(parents=True)
        (tmp_path / "b" / ".draft-chunk-000000" / "taps.parquet").write_bytes(b"half")
        (tmp_path / "b" / ".manifest.json.tmp").write_bytes(b"half")
        for name in ("a", "b"):
            assert open_run(write_run(tmp_path / name, small_run(1))).n_chunks == 1

    def test_a_folder_with_a_run(self, tmp_path):
        write_run(tmp_path / "run", small_run(1))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(StoreError, match=r"already holds a run.*another folder"):
            RunWriter(tmp_path / "run", Manifest())
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_folder_with_other_files(self, tmp_path):
        for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
            (tmp_path / name).touch()
        with pytest.raises(StoreError, match=r"'a.txt', 'b.txt', 'c.txt', \.\.\."):
            RunWriter(tmp_path, Manifest())
        assert len(list(tmp_path.iterdir())) == 4

    def test_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "run"):
            with pytest.raises(StoreError, match=r"No run can be written to .*Choose a folder"):
                RunWriter(path, Manifest())

    def test_a_folder_without_permission(self, tmp_path, monkeypatch):
        def deny(self, *args, **kwargs):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(pathlib.Path, "mkdir", deny)
        with pytest.raises(StoreError, match="Permission denied"):
            RunWriter(tmp_path / "run", Manifest())


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def flaky_disk(*args, **kwargs):
    raise OSError(errno.EIO, "Input/output error")


class TestNothingReachesTheTraining:
    """Each fault is said once; chunks before it stay, nothing half does."""

    def check(self, path, writer, run, reason):
        with pytest.warns(DeepHochuliWarning, match=reason) as caught:
            finish(writer, run[4:])
        assert len(caught) == 1
        assert not writer.is_open
        assert folders(path) == ["chunk-000000"]

    @pytest.fixture
    def begun(self, tmp_path):
        run = small_run(16)
        writer = RunWriter(tmp_path / "run", Manifest(), chunk_steps=4)
        append_all(writer, run[:4])
        return tmp_path / "run", writer, run

    def test_a_full_disk(self, begun, monkeypatch):
        path, writer, run = begun
        monkeypatch.setattr(os, "fsync", full_disk)
        self.check(path, writer, run, "No space left on device")
        reader = open_run(path)
        assert reader.manifest.stopped is None  # even that did not fit
        assert reader.steps["step"].tolist() == [0, 1, 2, 3]

    def test_a_full_disk_with_room_for_the_manifest(self, begun, monkeypatch):
        path, writer, run = begun
        monkeypatch.setattr(_writer.ChunkDraft, "complete", full_disk)
        self.check(path, writer, run, "stopped after step 7.*4 recorded steps in 1 chunks are kept")
        manifest = open_run(path).manifest
        assert manifest.stopped == "after step 7: OSError: [Errno 28] No space left on device"
        assert (manifest.finished, manifest.n_steps, manifest.n_chunks) == (True, 4, 1)

    @pytest.mark.parametrize("name", ["mkdir", "rename", "open"])
    def test_a_fault_of_a_file_operation(self, begun, monkeypatch, name):
        path, writer, run = begun
        monkeypatch.setattr(pathlib.Path, name, full_disk)
        self.check(path, writer, run, "No space left on device")

    def test_memory_that_is_not_there(self, begun, monkeypatch):
        def no_memory(*args):
            raise MemoryError

        path, writer, run = begun
        monkeypatch.setattr(_writer, "step_frame", no_memory)
        self.check(path, writer, run, "MemoryError")

    def test_a_folder_that_disappears(self, begun):
        path, writer, run = begun
        path.rename(path.with_name("moved"))
        with pytest.warns(DeepHochuliWarning, match="No such file") as caught:
            finish(writer, run[4:])
        assert len(caught) == 1
        assert open_run(path.with_name("moved")).n_chunks == 1

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"count": np.array([1, 2])}, "'key' and 'count' differ in length"),
            ({"key": np.array([3, 3], np.uint16), "count": np.array([1, 1])}, "increase strictly"),
            ({"count": np.array([0])}, "count below 1"),
            ({"key": np.array([-1])}, "TypeError"),
            ({"ratio": np.array([1], np.int16)}, "'ratio' and 'ratio_count' differ"),
            ({"positive": np.array([1])}, "'positive' and 'zero' differ in length"),
            (
                dict.fromkeys(("positive", "zero", "nonfinite"), np.array([1])),
                "more counted elements than 'n_per_channel'",
            ),
            (
                dict.fromkeys(("positive", "zero", "nonfinite"), np.array([0, 0])),
                "do not divide its elements",
            ),
            ({"calls": None}, "TypeError"),
        ],
        ids=lambda x: x if isinstance(x, str) else "",
    )
    def test_a_row_that_contradicts_itself_is_left_out(self, begun, fault, reason):
        path, writer, run = begun
        bad = tap_row(np.ones((1, 1)), layer="culprit", **fault)
        for i in (5, 6):
            run[i] = (run[i][0], [bad, *run[i][1]])
        with pytest.warns(DeepHochuliWarning, match=f"1 rows left out.*{reason}") as caught:
            finish(writer, run[4:])
        assert len(caught) == 1
        reader = open_run(path)
        assert reader.steps["step"].tolist() == list(range(16))
        assert [tap.layer for tap in reader.taps()] == ["stem"]
        (noted,) = reader.manifest.faults
        assert noted.endswith("(2 times)")
        assert reader.manifest.stopped is None
        if "Error" not in reason:
            assert "'culprit', quantity 'z'" in noted

    def test_a_tap_that_comes_twice_is_kept_once(self, begun):
        path, writer, run = begun
        run[5] = (run[5][0], run[5][1] * 2)
        with pytest.warns(DeepHochuliWarning, match="'stem', quantity 'z': it comes twice in one"):
            finish(writer, run[4:])
        assert open_run(path).scalars("stem", "z")["n"].tolist() == [1] * 16

    def test_a_step_that_does_not_increase_is_left_out(self, begun):
        path, writer, run = begun
        run[5] = (run[3][0], run[5][1])
        with pytest.warns(
            DeepHochuliWarning, match="Step 3 was not recorded: it came after step 4"
        ):
            finish(writer, run[4:])
        assert open_run(path).steps["step"].tolist() == [0, 1, 2, 3, 4, *range(6, 16)]

    def test_a_chunk_that_cannot_be_written_is_lost_alone(self, begun, monkeypatch):
        """A fault that passes: the next chunk is written again."""
        path, writer, run = begun
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", flaky_disk)
            with pytest.warns(
                DeepHochuliWarning, match="Steps up to 7 could not be written.*Input/output"
            ):
                append_all(writer, run[4:8])
        assert writer.is_open
        finish(writer, run[8:])
        reader = open_run(path)
        assert reader.steps["step"].tolist() == [0, 1, 2, 3, *range(8, 16)]
        assert reader.finished
        assert not reader.damaged
        assert "Steps up to 7" in reader.manifest.faults[0]

    def test_recording_ends_when_chunk_after_chunk_fails(self, begun, monkeypatch):
        path, writer, run = begun
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", flaky_disk)
            with pytest.warns(DeepHochuliWarning, match="goes on with a gap") as caught:
                append_all(writer, run[4:])
        assert len(caught) == 1
        assert not writer.is_open
        writer.close()
        reader = open_run(path)
        assert reader.n_chunks == 1
        assert "Input/output error" in reader.manifest.stopped
        assert reader.manifest.sessions[0].reason == reader.manifest.stopped

    @pytest.mark.parametrize(
        ("place", "name"),
        [(_files, "make_durable"), (_chunk, "merge_by_tap"), (_chunk, "step_table")],
    )
    def test_interruption_by_the_user_leaves_nothing_half(self, begun, monkeypatch, place, name):
        def interrupt(*args):
            raise KeyboardInterrupt

        path, writer, run = begun
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                append_all(writer, run[4:8])
        assert folders(path) == ["chunk-000000"]
        finish(writer, run[8:12])
        reader = open_run(path)
        assert reader.finished
        assert reader.steps["step"].tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_files_are_on_the_disk_before_the_chunk_gets_its_name(tmp_path, monkeypatch):
    done: list[str] = []
    rename, make_durable = pathlib.Path.rename, _files.make_durable
    writer = RunWriter(tmp_path / "run", Manifest())
    monkeypatch.setattr(
        _files, "make_durable", lambda path: (done.append(path.name), make_durable(path))
    )
    monkeypatch.setattr(
        pathlib.Path, "rename", lambda old, new: (done.append("rename"), rename(old, new))
    )
    append_all(writer, small_run(1))
    writer.flush()
    names = ("rollup", "sketches", "steps", "taps")
    files = ["chunk.json", *(f"{name}.parquet" for name in names)]
    assert sorted(done[:5]) == files
    assert done[5:] == [".draft-chunk-000000", "rename", "run"]


def test_the_cap_is_kept(tmp_path):
    run = draw_run(40)
    free = write_run(tmp_path / "free", run, chunk_steps=4)
    size = sum(p.stat().st_size for p in free.rglob("*.parquet"))
    cap = size // 2
    writer = RunWriter(tmp_path / "capped", Manifest(), chunk_steps=4, max_bytes=cap)
    with pytest.warns(DeepHochuliWarning, match=rf"cap of {cap:,} bytes is reached") as caught:
        finish(writer, run)
    assert len(caught) == 1
    assert cap * 0.7 < sum(p.stat().st_size for p in (tmp_path / "capped").rglob("*.*")) <= cap
    reader = open_run(tmp_path / "capped")
    assert reader.n_chunks == reader.manifest.n_chunks == 4
    assert "cap of" in reader.manifest.stopped
    assert reader.finished


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_writes_nothing(tmp_path):
    writer = RunWriter(tmp_path / "run", Manifest(), chunk_steps=2)
    (first, *_), run = small_run(1), small_run(3)
    writer.append(*first)
    child = os.fork()
    if not child:
        try:
            writer.append(*run[1])
            writer.flush()
            writer.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert folders(tmp_path / "run") == []
    assert not json.loads((tmp_path / "run" / "manifest.json").read_text())["finished"]
    writer.append(*run[2])
    writer.close()
    assert open_run(tmp_path / "run").steps["step"].tolist() == [0, 2]


def test_a_writer_that_is_never_closed_says_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunWriter(tmp_path / "run", Manifest()).append(*small_run(1)[0])
    assert not open_run(tmp_path / "run").finished
