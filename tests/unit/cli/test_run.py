"""What ``deephochuli run`` refuses before a script starts; tests/e2e/test_run.py has the rest."""

import itertools

import pytest

from deephochuli.cli import main
from deephochuli.config import is_schedule
from deephochuli.errors import TapError
from deephochuli.session import commit_of
from deephochuli.taps import parse_schedule


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "There is no script 'nowhere.py'"),
        (["--every", "0", "x.py"], "'0' chooses no steps"),
        (["--select", "re:(", "x.py"], "no regular expression"),
        (["--to", "full", "x.py"], "full is not empty"),
        (["--to", "x.py/below", "x.py"], "No runs can be written"),
        (["--max-bytes", "0", "x.py"], "--max-bytes"),
        (["--fail-on", "note", "x.py"], "--fail-on"),
        ([], "SCRIPT"),
    ],
)
def test_wrong_use_is_refused_before_the_script_starts(
    tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("raise RuntimeError('started')")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    assert main(["run", *words], exits=False) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "x.py"]


def could_be_schedules():
    """Everything short that is made of the signs of a schedule."""
    for length in range(6):
        for signs in itertools.product("013:,", repeat=length):
            yield "".join(signs)
    yield from (" log ", "Log", "1 0", " 7 ", "0:3 , 5:9:2", "²", "0:٣", "-1", "5:5", "9:3", "1e3")


def test_a_schedule_is_told_from_others_without_torch():
    """The check repeats the grammar of `parse_schedule`, which cannot be imported early."""
    for text in could_be_schedules():
        try:
            parse_schedule(text)
        except TapError:
            assert not is_schedule(text), text
        else:
            assert is_schedule(text), text


def test_the_commit_is_read_from_files_of_git(tmp_path):
    one, two = "1" * 40, "2" * 40
    git = tmp_path / "repo" / ".git"
    inside = tmp_path / "repo" / "src"
    (git / "refs" / "heads").mkdir(parents=True)
    inside.mkdir()
    (git / "HEAD").write_text(f"{one}\n")
    assert commit_of(inside) == one
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit_of(inside) is None  # no commit yet
    (git / "packed-refs").write_text(f"# pack-refs\n{one} refs/heads/main\n")
    assert commit_of(inside) == one
    (git / "refs" / "heads" / "main").write_text(f"{two}\n")
    assert commit_of(inside) == two
    tree = tmp_path / "tree"
    tree.mkdir()
    (git / "worktrees" / "tree").mkdir(parents=True)
    (git / "worktrees" / "tree" / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "worktrees" / "tree" / "commondir").write_text("../..\n")
    (tree / ".git").write_text(f"gitdir: {git / 'worktrees' / 'tree'}\n")
    assert commit_of(tree) == two
    (git / "HEAD").write_bytes(b"\xff\xfe")
    assert commit_of(inside) is None


def test_what_can_be_watched_for_is_what_there_is_a_trigger_for():
    from deephochuli.cli._run_options import Event
    from deephochuli.record import TRIGGERS

    assert {event.value for event in Event} == set(TRIGGERS)
