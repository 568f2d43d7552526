"""``deephochuli examine``: what it asks, prints and writes, and one message for every wrong use."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

from deephochuli.cli import _questions, main
from deephochuli.cli._questions import QUESTIONS, Asked, Question, answered, value_of
from deephochuli.errors import CompareError
from tests.unit.report.test_sheets_page import data_of

SOURCE = """
import torch
from torch import nn

def parts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))
    return model, torch.rand(8, 64)

def everything():
    model, batch = parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, batch, lambda output: output.square().mean(), optimizer

def failing():
    return nn.Linear(3, 3), torch.ones(2, 5)

def batches():
    return [torch.rand(8, 64) for _ in range(2)]

def batches_and_loss():
    return batches(), lambda output, target: output.mean()

def number():
    return 3
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words], exits=False)
    said = capsys.readouterr()
    return code, said.out, said.err


FAST = ("--set", "n_samples=3", "--set", "n_outputs=16")


def test_two_questions_are_answered_in_the_terminal_as_json_and_as_a_page(source, capsys, tmp_path):
    page = tmp_path / "page.html"
    code, out, err = run(capsys, "examine", f"{source}:everything", *FAST, "--html", page)
    assert (code, err) == (0, "")
    assert out.index("Swamping") < out.index("Significant bits") < out.index(str(page))
    answers = data_of(page)["answers"]
    assert [answer["key"] for answer in answers] == ["swamping", "significance"]
    assert answers[0]["answer"][:40] in " ".join(out.split())
    code, out, _ = run(capsys, "examine", f"{source}:everything", *FAST, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["answers"] == answers


def test_questions_about_steps_need_an_optimizer_and_get_one(source, capsys):
    words = ("-q", "rounding-bias", "-q", "assumptions", "-a", "bf16-pure", "--json")
    more = ("--set", "n_steps=3", "--set", "n_draws=1")
    code, out, _ = run(capsys, "examine", f"{source}:everything", *words, *more)
    first, second = json.loads(out)["answers"]
    assert code == 0
    assert first["answer"].startswith("0 of 12 wagers gave an alarm")
    assert "the bound is" in second["answer"]
    code, _, err = run(capsys, "examine", f"{source}:parts", *words, *more)
    assert code == 2
    assert "The question 'rounding-bias' needs optimizer" in err


def test_each_arithmetic_is_a_sheet(source, capsys):
    code, out, _ = run(
        *(capsys, "examine", f"{source}:parts", "-q", "swamping", "-a", "bf16", "-a", "fp16"),
        *("--set", "n_outputs=8", "--json"),
    )
    first, second = json.loads(out)["answers"]
    assert code == 0
    assert (first["key"], second["key"]) == ("swamping", "swamping-2")
    assert first["question"].endswith("in bf16?")
    assert second["question"].endswith("in fp16?")


def test_options_reach_the_analysis(source, capsys):
    words = ("examine", f"{source}:parts", "-q", "significance", "--json")
    _, three, _ = run(capsys, *words, "--set", "n_samples=3")
    _, four, _ = run(capsys, *words, "--set", "n_samples=4")
    assert json.loads(three)["answers"][0]["notes"][0].startswith("3 runs")
    assert json.loads(four)["answers"][0]["notes"][0].startswith("4 runs")


def test_findings_can_fail_the_command(source, capsys):
    words = ("examine", f"{source}:parts", "-q", "swamping", *FAST[2:])
    low = ("--set", "format=e4m3", "--set", 'orders=["sequential"]')
    assert run(capsys, *words, *low, "--fail-on", "warning")[0] == 1
    assert run(capsys, *words, "--set", "format=fp64", "--fail-on", "critical")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-q", "swampin"), "There is no question 'swampin'. Did you mean 'swamping'"),
        (("--set", "samples=3"), "No question asked takes 'samples'. Did you mean 'n_samples'"),
        (("--set", "seed=3"), "No question asked takes 'seed'."),
        (("--set", "n_samples"), "--set 'n_samples': expected NAME=VALUE"),
        (("--set", "n_samples=x"), "n_samples='x' does not fit the question 'significance'"),
        (("-q", "significance", "-a", "bf16"), "'significance' is about the model as it is"),
        (("-a", "bf17"), "Unknown arithmetic 'bf17'"),
        (("--data", "SOURCE:number"), "returns a int, which holds no batches. Expected"),
        (("--data", "SOURCE:missing"), "the module has no 'missing'"),
    ],
)
def test_wrong_use_is_one_message(source, capsys, words, message):
    words = [word.replace("SOURCE", str(source)) for word in words]
    code, out, err = run(capsys, "examine", f"{source}:parts", *words)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert message in err
    assert "Traceback" not in err


def test_a_model_that_fails_is_one_message(source, capsys):
    code, _, err = run(capsys, "examine", f"{source}:failing", "-q", "swamping")
    assert code == 2
    assert f"Executing '{source}:failing' failed: RuntimeError" in err


def test_help_names_every_question(capsys):
    code, out, _ = run(capsys, "examine", "--help")
    text = " ".join(out.split()).replace("- ", "-")  # lines break at hyphens too
    assert code == 0
    assert all(f"{name}: {question.asks}" in text for name, question in QUESTIONS.items())


def test_help_imports_no_torch():
    code = (
        "import sys; from deephochuli.cli import main; main(['examine', '--help'], exits=False);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Found:
    """What a made analysis returns: its arguments, where a sheet should be."""

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments

    def sheet(self) -> dict[str, object]:
        return self.arguments


def with_data(model, data, arithmetics=("fp32",), *, loss=None, optimizer=None, seed=0, share=0.5):
    return Found(**locals())


def with_batch(model, batch, needed, *, arithmetic=None):
    return Found(**locals())


@pytest.fixture
def made(monkeypatch):
    """Two questions whose analyses tell their arguments."""
    functions = {"with-data": with_data, "with-batch": with_batch}
    monkeypatch.setattr(_questions, "QUESTIONS", {n: Question("", "", "") for n in functions})
    monkeypatch.setattr(_questions, "_function", functions.__getitem__)


ASKED = Asked(model="m", batch="b", loss=len, optimizer="o", seed=7)


@pytest.mark.usefixtures("made")
def test_an_analysis_gets_what_it_names():
    (found,) = answered("with-data", ASKED, [], {"share": "1"})
    assert {key: found[key] for key in ("model", "data", "optimizer", "seed", "share")} == {
        **{"model": "m", "data": ["b"], "optimizer": "o", "seed": 7, "share": 1.0},
    }
    assert found["loss"]("abc", None) == 3  # of the output alone
    assert found["arithmetics"] == ("fp32",)
    (found,) = answered("with-data", ASKED, ["bf16", "fp16"], {})
    assert found["arithmetics"] == ["bf16", "fp16"]
    each = answered("with-batch", ASKED, ["bf16", "fp16"], {"needed": '"x"'})
    assert [found["arithmetic"] for found in each] == ["bf16", "fp16"]
    assert each[0]["needed"] == "x"


@pytest.mark.usefixtures("made")
def test_data_bring_their_own_loss_and_without_one_nothing_steps():
    asked = Asked(model="m", batch="b", loss=len, optimizer="o", data=[1, 2])
    (found,) = answered("with-data", asked, [], {})
    assert (found["data"], found["loss"], found["optimizer"]) == ([1, 2], None, None)
    asked = Asked(model="m", batch="b", data=[1], data_loss=max, optimizer="o")
    (found,) = answered("with-data", asked, [], {})
    assert (found["loss"], found["optimizer"]) == (max, "o")


@pytest.mark.usefixtures("made")
def test_what_is_lacking_is_named():
    with pytest.raises(CompareError, match="'with-batch' needs needed, which was not given"):
        answered("with-batch", ASKED, [], {})


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [(3, "5", 5), (0.5, "1", 1.0), (True, "false", False), (None, "bf16", "bf16"), (None, "3", 3)],
)
def test_a_text_becomes_a_value_of_the_kind_of_the_default(default, text, value):
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, default=default)
    found = value_of("q", parameter, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("default", "text"), [(3, "0.5"), (3, "true"), (0.5, "half"), (True, "1"), (False, "yes")]
)
def test_a_text_of_another_kind_is_refused(default, text):
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, default=default)
    with pytest.raises(CompareError, match=f"x='{text}' does not fit the question 'q': expected"):
        value_of("q", parameter, text)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered_by_something_with_a_sheet(name):
    function = _questions._function(name)
    (result,) = [function.__annotations__["return"]]
    home = sys.modules[function.__module__]
    assert callable(getattr(home.__dict__[result], "sheet", None))


@pytest.mark.slow
def test_every_question_about_a_model_runs(source, capsys):
    names = [word for name in QUESTIONS for word in ("-q", name)]
    code, out, err = run(capsys, "examine", f"{source}:everything", *names, *FAST, "--json")
    assert (code, err) == (0, "")
    assert [answer["key"] for answer in json.loads(out)["answers"]] == list(QUESTIONS)
