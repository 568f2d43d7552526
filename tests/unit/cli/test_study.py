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


def test_an_estimate_measures_nothing(call, tmp_path):
    code, out, _ = call("study", "toy", "--estimate", "--workers", "2")
    assert code == 0
    assert "12 of 12 points to measure: about 2 min of CPU time, about 39 s on 2 workers." in out
    assert "the study's own guess" in out
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_knows_what_was_measured(call):
    call("study", "toy", "--quick", "-j", "1")
    code, out, _ = call("study", "toy", "--estimate", "-j", "3", "--json")
    estimate = json.loads(out)
    (toy_cost,) = estimate["studies"]
    assert code == 0
    assert (toy_cost["n_known"], toy_cost["n_timed"], estimate["n_workers"]) == (3, 3, 3)
    assert 0 < estimate["elapsed_seconds"] < estimate["cpu_seconds"] < 1


def test_workers_of_a_cluster_that_nobody_named(call):
    code, out, _ = call("study", "toy", "--estimate", "--engine", "ray", "--address", "auto")
    assert code == 0
    assert "--workers N tells the time that passes" in out


def test_what_is_left_is_told_before_it_starts(call):
    _, _, err = call("study", "toy", "--quick", "-j", "1")
    assert "3 of 3 points to measure: about 6 s of CPU time, about 6 s on 1 worker." in err
    _, _, err = call("study", "toy", "--quick", "-j", "1")
    assert "to measure" not in err


def test_an_address_needs_the_engine_that_knows_it(call):
    code, _, err = call("study", "toy", "--address", "auto")
    assert code == 2
    assert "add --engine ray" in err


def test_a_study_of_ones_own_lies_in_the_current_folder(call, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "cubes", raising=False)
    (tmp_path / "cubes.py").write_text(
        "from dataclasses import replace\n"
        "from tests.unit.studies.toy import STUDY\n"
        "CUBES = replace(STUDY, name='cubes')\n"
    )
    code, out, _ = call("study", "cubes:CUBES", "--quick", "-j", "1")
    assert code == 0
    assert out.splitlines()[-1] == "runs/studies/cubes.html"
    assert len(list((tmp_path / "runs/studies/points/cubes").iterdir())) == 3
    code, _, err = call("study", "cubes:CUBES", "cubes:replace")
    assert code == 2
    assert "no Study" in err
