import json
import os
import shutil

import pytest

from deephochuli.live import Phase, Watched
from tests.unit.live.conftest import Growing


def test_a_run_is_waited_for_then_grows_then_ends(tmp_path):
    run = Watched(tmp_path / "run")
    assert (run.look(), run.phase, run.n_steps) == (False, Phase.WAITING, 0)
    growing = Growing(tmp_path / "run")
    assert run.look()
    assert (run.phase, run.n_steps) == (Phase.RECORDING, 0)
    assert run.note.startswith("No recorded step can be read yet")
    assert not run.look()
    growing.grow(2)
    assert run.look()
    assert (run.phase, run.note, run.n_steps) == (Phase.RECORDING, "", 8)
    assert run.version == 2
    growing.end()
    assert run.look()
    assert (run.phase, run.is_over, run.n_steps) == (Phase.ENDED, True, 8)
    assert not run.look()


def test_a_run_that_ended_without_a_step_says_so(tmp_path):
    Growing(tmp_path / "run").end()
    run = Watched(tmp_path / "run")
    run.look()
    assert (run.phase, run.n_steps) == (Phase.ENDED, 0)
    assert run.note == "It holds no recorded step: training ended before one was due."


def test_an_error_that_ended_the_training_is_said(tmp_path):
    growing = Growing(tmp_path / "run")
    growing.end(RuntimeError("out of memory"))
    run = Watched(tmp_path / "run")
    run.look()
    assert run.phase is Phase.ENDED
    assert run.note == "The training ended with an error: RuntimeError: out of memory"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_killed_recording_is_told_from_one_that_goes_on(tmp_path):
    child = os.fork()
    if not child:
        Growing(tmp_path / "run").grow()
        os._exit(0)  # as a kill would: nothing is closed
    os.waitpid(child, 0)
    run = Watched(tmp_path / "run")
    run.look()
    assert (run.phase, run.is_over, run.n_steps) == (Phase.INTERRUPTED, True, 4)
    assert "no process writes it" in run.note


def test_looking_changes_nothing_in_the_folder(growing):
    before = {path: path.stat().st_mtime_ns for path in growing.folder.rglob("*")}
    run = Watched(growing.folder)
    run.look()
    run.look()
    assert {path: path.stat().st_mtime_ns for path in growing.folder.rglob("*")} == before


def test_a_folder_that_holds_another_run_is_opened_anew(tmp_path):
    first = Growing(tmp_path / "run")
    first.grow(3)
    first.end()
    run = Watched(tmp_path / "run")
    run.look()
    shutil.rmtree(tmp_path / "run")
    run.look()
    assert (run.phase, run.reader) == (Phase.WAITING, None)
    second = Growing(tmp_path / "run")
    second.grow()
    assert run.look()
    assert (run.phase, run.n_steps) == (Phase.RECORDING, 4)
    second.end()


def test_of_a_folder_of_runs_the_last_one_is_watched(tmp_path):
    for name in ("z-first", "a-second"):
        run = Growing(tmp_path / "runs" / name)
        run.grow()
        run.end()
    watched = Watched(tmp_path / "runs")
    watched.look()
    assert watched.path.name == "a-second"


@pytest.mark.parametrize("damage", ["{", json.dumps({"schema_version": 999})])
def test_what_cannot_be_read_is_said_and_looked_at_again(growing, damage):
    manifest = growing.folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(damage)
    run = Watched(growing.folder)
    assert run.look()
    assert (run.phase, run.reader) == (Phase.UNREADABLE, None)
    assert str(growing.folder) in run.note
    manifest.write_text(whole)
    assert run.look()
    assert (run.phase, run.n_steps) == (Phase.RECORDING, 4)


def test_a_damaged_chunk_is_left_out_without_a_warning(growing):
    growing.grow()
    for path in (growing.folder / "chunk-000001").iterdir():
        path.write_bytes(b"")
    run = Watched(growing.folder)
    run.look()
    assert run.n_steps == 4
    assert run.reader is not None
    assert [damage.chunk for damage in run.reader.damaged] == ["chunk-000001"]


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("x")
    run = Watched(tmp_path / "file")
    run.look()
    assert run.phase is Phase.UNREADABLE
    assert "not a run folder" in run.note
