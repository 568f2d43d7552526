"""The state and the data that the page gets, as runs grow."""

import json
import shutil
from pathlib import Path

import pytest

from deephochuli.errors import StoreError
from deephochuli.live import _board, _watched
from deephochuli.live._board import Board
from deephochuli.report import _read
from deephochuli.report._payload import build_payload
from deephochuli.store import _courses, open_run
from tests.unit.live.conftest import Growing


def part_of(board: Board, number: int = 0) -> dict:
    part = board.snapshot.runs[number].part
    assert part is not None
    return json.loads(part.data)


def test_data_come_with_the_first_step_and_again_when_there_is_more(tmp_path, monkeypatch):
    board = Board([tmp_path / "run"])
    board.look()
    assert [(run.phase, run.part) for run in board.snapshot.runs] == [("waiting", None)]
    growing = Growing(tmp_path / "run")
    growing.grow()
    board.look()
    first = part_of(board)
    assert first["version"] == 1
    assert first["payload"]["runs"][0]["n_recorded"] == 4
    board.look()
    assert part_of(board) == first
    growing.grow()
    board.look()
    assert part_of(board)["version"] == 2  # reading all of a run the first time delays nothing
    growing.grow()
    board.look()
    assert part_of(board)["version"] == 2  # too soon after the work that the second one was
    assert board.snapshot.runs[0].pulse.n_steps == 12
    monkeypatch.setattr(board._pace, "is_due", lambda: True)
    board.look()
    assert part_of(board)["version"] == 3
    assert part_of(board)["payload"]["runs"][0]["n_recorded"] == 12
    monkeypatch.undo()
    growing.end()
    board.look()
    assert part_of(board)["version"] == 4  # the last word is not delayed
    assert board.snapshot.runs[0].phase == "ended"


def assert_is_its_report(found: dict, folder: Path) -> None:
    """Compare data with those of a report that is made of a run that is opened now."""
    payload, blob = build_payload([open_run(folder)], ["run"], "run")
    assert found["blob"] == blob
    for name in ("runs", "findings", "arrays", "formats"):
        assert found["payload"][name] == json.loads(json.dumps(payload[name])), name


def test_the_data_of_a_run_are_those_of_its_report(growing):
    board = Board([growing.folder])
    board.look()
    assert_is_its_report(part_of(board), growing.folder)


def test_the_data_of_a_run_that_grows_are_always_those_of_its_report(tmp_path, monkeypatch):
    """Through every change of resolution: windows for steps, two stretches become one."""
    monkeypatch.setattr(_read, "MOST_ROWS_READ_IN_FULL", 180)
    monkeypatch.setattr(_courses, "MOST_STRETCHES", 16)
    monkeypatch.setattr(_courses, "FEWEST_STRETCHES", 16)
    growing = Growing(tmp_path / "run")
    board = Board([growing.folder])
    monkeypatch.setattr(board._pace, "is_due", lambda: True)
    seen = set()
    for n_chunks in (1, 2, 1, 1, 3, 1):
        growing.grow(n_chunks)
        board.look()
        found = part_of(board)
        assert_is_its_report(found, growing.folder)
        (run,) = found["payload"]["runs"]
        assert run["n_recorded"] == growing.n_steps
        seen.add((len(run["columns"]["n"]), len(run["bins"]["n"])))
    growing.end()
    board.look()
    assert_is_its_report(part_of(board), growing.folder)
    assert seen == {(4, 4), (12, 12), (16, 4), (10, 5), (16, 8), (9, 9)}


def test_runs_share_the_bound_on_the_size_of_the_page(growing, monkeypatch):
    asked = []
    monkeypatch.setattr(_board, "live_part", lambda *_, n_runs: asked.append(n_runs) or "{}")
    Board([growing.folder, growing.folder.with_name("other")]).look()
    assert asked == [2]


def test_runs_that_come_into_a_folder_of_runs_are_taken_up(tmp_path):
    board = Board([tmp_path / "runs"])
    board.look()
    assert [run.name for run in board.snapshot.runs] == ["runs"]
    for number, name in enumerate(("first", "second", "third")):
        run = Growing(tmp_path / "runs" / name)
        run.grow()
        run.end()
        for _ in range(2):
            board.look()
        assert [run.name for run in board.snapshot.runs] == ["first", "second", "third"][
            : number + 1
        ]
        assert all(run.part for run in board.snapshot.runs)


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [Growing(tmp_path / parent / "run") for parent in ("a", "b")]
    board = Board([run.folder for run in runs])
    board.look()
    assert [run.name for run in board.snapshot.runs] == ["a/run", "b/run"]
    for run in runs:
        run.end()


@pytest.mark.parametrize("fault", [ValueError("what went wrong"), MemoryError("what went wrong")])
def test_data_that_cannot_be_made_are_told_and_the_old_ones_stay(growing, monkeypatch, fault):
    board = Board([growing.folder])
    board.look()
    before = board.snapshot.runs[0].part

    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(_board, "live_part", fail)
    monkeypatch.setattr(board._pace, "is_due", lambda: True)
    growing.grow()
    board.look()
    (run,) = board.snapshot.runs
    assert run.part == before
    assert "what went wrong" in run.note
    monkeypatch.undo()
    growing.end()
    board.look()
    assert board.snapshot.runs[0].note == ""


def test_a_run_that_goes_away_keeps_its_data(growing):
    board = Board([growing.folder])
    board.look()
    shutil.rmtree(growing.folder)
    board.look()
    (run,) = board.snapshot.runs
    assert run.phase == "waiting"
    assert run.part is not None


def test_a_folder_that_cannot_be_listed_is_told_as_a_run_that_cannot_be_read(growing, monkeypatch):
    def refuse(folder):
        raise StoreError(f"{folder} cannot be read: Permission denied.")

    monkeypatch.setattr(_board, "run_folders", refuse)
    monkeypatch.setattr(_watched, "run_folders", refuse)
    board = Board([growing.folder])
    board.look()
    (run,) = board.snapshot.runs
    assert (run.phase, run.part) == ("unreadable", None)
    assert "Permission denied" in run.note
