"""``deephochuli study``: verdicts in the terminal, a page, JSON, and exit codes."""

import json
import sys

import pytest

from deephochuli.cli import main
from deephochuli.studies import _catalogue
from tests.unit.studies import toy


@pytest.fixture(autouse=True)
def _only_the_toy(monkeypatch, tmp_path):
    monkeypatch.setattr(_catalogue, "_HOMES", {"toy": "toy", "boy": "boy"})
    monkeypatch.setitem(sys.modules, "deephochuli.studies.toy", toy)
    monkeypatch.setitem(sys.modules, "deephochuli.studies.boy", toy)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys):
    """Run the command line; its exit code, and what it said on both streams."""

    def run(*words):
        code = main(words, exits=False)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_study_prints_verdicts_and_the_page(call, tmp_path):
    code, out, _ = call("study", "toy", "--quick", "--jobs", "1")
    assert code == 0
    assert "The sum is 5." in out
    assert "confirmed" in out
    page = tmp_path / "runs/studies/toy.html"
    assert out.splitlines()[-1] == "runs/studies/toy.html"
    assert "Squares add up." in page.read_text()


def test_results_are_kept_and_found_again(call, tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("TOY_LOG", str(log))
    for _ in range(2):
        code, out, _ = call("study", "toy", "-j", "1", "--to", "kept", "--json")
        assert code == 0
    assert len(log.read_text().splitlines()) == 12
    (answer,) = json.loads(out)["answers"]
    assert answer["claims"][0]["measured"] == "506"


def test_a_document_gets_the_answers(call, tmp_path):
    document = tmp_path / "findings.md"
    document.write_text("<!-- study toy -->\n<!-- end -->\n")
    code, _, _ = call("study", "toy", "--quick", "-j", "1", "--markdown", str(document))
    assert code == 0
    assert "The sum is 5." in document.read_text()


def test_points_that_fail_end_with_a_code_of_their_own(call, monkeypatch):
    monkeypatch.setenv("TOY_FAILS_AT", "7")
    code, _, err = call("study", "toy", "-j", "1")
    assert code == 3
    assert "1 of 12 points could not be measured" in err
    assert "unlucky" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["study"], "Name a study, or 'all'. There are: toy, boy."),
        (["study", "toys"], "There is no study 'toys'. Did you mean 'toy' or 'boy'?"),
    ],
)
def test_wrong_use(call, words, says):
    code, _, err = call(*words)
    assert code == 2
    assert says in err


def test_the_list_names_questions_and_points(call):
    code, out, _ = call("study", "--list")
    assert code == 0
    assert "What do squares add up to?" in out
    assert "12" in out
