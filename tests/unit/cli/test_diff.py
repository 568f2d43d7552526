"""``deephochuli diff`` says where runs part, in tables, as JSON and on a page."""

import json

import pytest

from deephochuli.cli import main
from tests.unit.cli.conftest import tap


@pytest.fixture
def other(write):
    return write("other", tap("fc", "w", [1.0, -0.5, 0.75]), tap("fc", "g", [0.25, -2.0]))


def run(*words):
    return main(["diff", *map(str, words)], exits=False)


def test_the_place_and_the_step_are_printed(healthy, other, capsys):
    assert run(healthy, other) == 0
    out = capsys.readouterr().out
    assert "other parts from healthy at step 0, in the backward pass, first at fc:g" in out
    assert "--html" in out


def test_json_and_a_page_hold_the_same_answer(healthy, other, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(healthy, other, "--json", "--html", page, "--title", "Nightly") == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert "first at fc:g" in answer["answer"]
    assert "Nightly" in page.read_text("utf-8")
    assert "Where and when runs part" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("names", "fail_on", "code"),
    [
        (("healthy", "healthy2"), "difference", 0),
        (("healthy", "other"), "difference", 1),
        (("healthy", "other"), "critical", 0),
    ],
)
def test_exit_codes(write, healthy, other, names, fail_on, code):
    write("healthy2", tap("fc", "w", [1.0, -0.5, 0.75]), tap("fc", "g", [0.25, -0.125]))
    assert run(*(healthy.parent / name for name in names), "--fail-on", fail_on) == code


def test_a_folder_of_runs_stands_for_them(write, tmp_path, healthy, other, capsys):
    assert run(tmp_path) == 0
    assert "healthy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rename", "fc"], "expected OLD=NEW"),
        (["--rename", "=fc"], "expected OLD=NEW"),
        (["--rename", "conv=fc"], "No layer of a compared run is called 'conv'"),
        (["--replicate", "othr"], "No run is called 'othr'. Did you mean 'other'?"),
    ],
)
def test_wrong_use_is_told(healthy, other, words, message, capsys):
    assert run(healthy, other, *words) == 2
    assert message in capsys.readouterr().err


def test_one_run_is_not_enough(healthy, capsys):
    assert run(healthy) == 2
    assert "give 2 to 8; got 1" in capsys.readouterr().err
