"""Where the runs of a session lie: chosen late, never over something else, one for all ranks."""

import os

import pytest
import torch.distributed as dist

import deephochuli.record
from deephochuli.errors import StoreError
from deephochuli.session import Home, default_home


def test_nothing_is_made_before_it_is_needed(tmp_path):
    home = Home(tmp_path / "runs" / "a")
    home.leave()
    assert not list(tmp_path.iterdir())
    assert home() == home() == tmp_path / "runs" / "a"
    assert home().is_dir()
    home.leave()
    assert not home().exists()


def test_what_is_there_is_not_touched(tmp_path):
    for name in ("a", "a-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("precious")
    (tmp_path / "a-3").write_text("a file")
    (tmp_path / "a-4").mkdir()  # empty
    assert Home(tmp_path / "a")() == tmp_path / "a-4"


def test_two_sessions_at_once_have_two_folders(tmp_path):
    homes = [Home(tmp_path / "a") for _ in range(3)]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run").mkdir()
    assert homes[0]() == tmp_path / "a-2"
    (homes[0]() / "run").mkdir()
    assert homes[1]() == tmp_path / "a-3"


def test_the_working_folder_is_that_of_the_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = default_home("train")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert home().parent == tmp_path / "runs"
    assert home().name.startswith("train-2")


def test_one_that_goes_on_lives_where_it_was_unless_it_lives_already(tmp_path):
    home = Home(tmp_path / "new")
    home.go_on_in(tmp_path / "old")
    home.go_on_in(tmp_path / "older")
    assert home() == tmp_path / "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_made_for_lack_of_rights(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="No runs can be written"):
        Home(tmp_path / "a" / "b")()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"No runs can be written to .*file"):
        Home(tmp_path / "file" / "a")()


def test_ranks_take_the_folder_of_the_one_that_comes_first(tmp_path, monkeypatch):
    store = dist.HashStore()
    monkeypatch.setattr(deephochuli.record, "rank_here", lambda: (1, 2))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: store)
    first, second = Home(tmp_path / "a"), Home(tmp_path / "b")
    assert [first(), second()] == [tmp_path / "a"] * 2
    given = Home(tmp_path / "c", is_given=True)
    assert given() == tmp_path / "c"


def test_ranks_that_cannot_agree_are_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(deephochuli.record, "rank_here", lambda: (1, 2))
    with pytest.raises(StoreError, match=r"to = 'runs/NAME' in the table \[record\]"):
        Home(tmp_path / "a")()
