"""Flags come first, then the file, then the defaults, for every command."""

import json

import pytest

from deephochuli.cli import main
from deephochuli.cli._launch import Launch
from deephochuli.cli._main import app


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def says(tmp_path):
    def write(text, name="deephochuli.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def run(*words):
    return main([str(word) for word in words], exits=False)


def plan_of(*words):
    """What `deephochuli run` would do."""
    with pytest.raises(Launch) as caught:
        app(args=["run", *map(str, words)], prog_name="deephochuli")
    return caught.value.plan


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_the_file_of_the_working_folder_is_read(says, capsys):
    assert run("formats", "bf16") == 0
    assert not is_json(capsys.readouterr().out)
    says("[formats]\njson = true\n")
    assert run("formats", "bf16") == 0
    assert is_json(capsys.readouterr().out)


def test_a_named_file_stands_in_place_of_it_and_none_for_no_file(says, capsys):
    says("[formats]\njson = true\n")
    other = says("[formats]\njson = false\n", "other.toml")
    assert run("formats", "bf16", "--config", other) == 0
    assert not is_json(capsys.readouterr().out)
    assert run("formats", "bf16", "--config", "none") == 0
    assert not is_json(capsys.readouterr().out)


def test_flags_come_before_the_file_and_the_file_before_the_defaults(says, tmp_path):
    says('[record]\nto = "kept"\nevery = 7\nselect = ["a.*", "b.*"]\nwatch = ["swamped"]\n')
    (tmp_path / "train.py").touch()
    plan = plan_of("train.py")
    assert (plan.folder.name, plan.options["every"]) == ("kept", "7")
    assert plan.options["select"] == ("a.*", "b.*")
    assert plan.options["watch"] == ("swamped",)
    plan = plan_of("--to", "other", "--every", "log", "--select", "c.*", "train.py")
    assert (plan.folder.name, plan.options["every"]) == ("other", "log")
    assert plan.options["select"] == ("c.*",)  # in place of those of the file, not beside them
    plan = plan_of("--config", "none", "--to", "third", "train.py")
    assert (plan.options["every"], plan.options["select"]) == ("auto", ())


def test_what_follows_a_script_is_the_scripts_own(says, tmp_path):
    says("[run]\nquiet = true\n")
    (tmp_path / "train.py").touch()
    plan = plan_of("--to", "x", "train.py", "--config", "mine.yaml", "--quiet")
    assert plan.script.arguments == ("--config", "mine.yaml", "--quiet")
    assert plan.quiet


def test_a_faulty_file_is_one_message(says, capsys):
    says("[formats]\njsn = true\n")
    assert run("formats") == 2
    assert "line 2, [formats] jsn: no such setting. Did you mean 'json'?" in capsys.readouterr().err


def test_a_named_file_that_is_not_there_is_told(capsys):
    assert run("formats", "--config", "nothing.toml") == 2
    assert "nothing.toml cannot be read" in capsys.readouterr().err


def test_help_is_shown_beside_a_faulty_file(says, capsys):
    says("[formats\n")
    assert run("formats", "--help") == 0
    assert "--config" in capsys.readouterr().out


def test_enums_and_lists_of_a_file_are_those_of_the_options(says, healthy, damaged, capsys):
    says('[diff]\nfail_on = "difference"\nreplicate = ["nobody"]\njson = true\n')
    assert run("diff", healthy, damaged) == 2
    assert "No run is called 'nobody'" in capsys.readouterr().err
    says('[diff]\nfail_on = "difference"\njson = true\n')
    assert run("diff", healthy, damaged) == 1
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["key"] == "parting"


def test_a_found_file_names_no_code(says, capsys):
    says('[compare]\narithmetic = ["evil.py:make"]\n')
    assert run("compare", "model.py:make") == 2
    assert "would be imported" in capsys.readouterr().err


def test_init_writes_a_file_that_reads_and_never_over_another(tmp_path, capsys):
    assert run("init") == 0
    before = (tmp_path / "deephochuli.toml").read_text()
    assert "[record]" in before
    assert run("formats", "bf16") == 0
    assert run("init") == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "deephochuli.toml").read_text() == before
    assert run("init", "second.toml") == 0
    assert (tmp_path / "second.toml").read_text() == before


def test_init_prints_the_schema(tmp_path, capsys):
    assert run("init", "--schema") == 0
    assert "record" in json.loads(capsys.readouterr().out)["properties"]
    assert not list(tmp_path.iterdir())
