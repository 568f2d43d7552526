"""What a run answers by itself: the numbers of the analyses, as sheets, and by the command line."""

import json

import pytest
import torch
from torch import nn

from deephochuli.analysis import dead_units, run_sheets, underflow, updates
from deephochuli.analysis.barrier import barrier_of_run
from deephochuli.cli import main
from deephochuli.record import record
from deephochuli.store import open_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A net in half precision with three dead channels, small gradients and small steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).half()
    with torch.no_grad():
        model[0].bias[:3] = -60
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    x = torch.randn(64, 8).half()
    path = tmp_path_factory.mktemp("runs") / "half"
    with record(model, optimizer, to=path):
        for _ in range(6):
            optimizer.zero_grad()
            (model(x).float().square().mean() * 1e-4).backward()
            optimizer.step()
    return path


def column(sheet, name):
    (table,) = sheet.tables
    place = table.columns.index(name)
    return [row[place] for row in table.rows]


def test_dead_channels_are_those_of_the_analysis(folder):
    run = open_run(folder)
    sheet = run_sheets.death(run)
    assert column(sheet, "dead") == [3]
    assert sheet.answer.startswith("3 of 16 channels are silent at the end")
    (life,) = dead_units.lives(run)
    (series,) = sheet.figures[0].series
    assert series.y == tuple(life.silent.mean(axis=1).tolist())
    assert sheet.findings == tuple(dead_units.find(run))
    assert sheet.findings


def test_updates_are_counted_as_recorded(folder):
    run = open_run(folder)
    sheet = run_sheets.swamping(run)
    found = updates.stagnations(run)
    assert column(sheet, "unmoved") == [each.share for each in found]
    lost = sum(each.unmoved for each in found)
    assert 0 < lost
    assert sheet.answer.startswith(f"{lost} of {sum(each.updatable for each in found)} updates")


def test_gradients_and_small_pre_activations(folder):
    run = open_run(folder)
    sheet = run_sheets.backward(run)
    hit = [each for each in underflow.underflows(run) if each.damaged_share > 0]
    assert hit
    assert sheet.answer.startswith(f"{len(hit)} of ")
    assert max(column(sheet, "flushed or subnormal")) == max(each.damaged_share for each in hit)
    assert run_sheets.barrier(run) == barrier_of_run(run).sheet()


def test_a_run_without_anything_says_so(tmp_path):
    model = nn.Linear(3, 1)
    with record(model, to=tmp_path / "bare"):
        model(torch.ones(2, 3)).sum().backward()
    run = open_run(tmp_path / "bare")
    assert run_sheets.death(run).answer.startswith("The run has no ReLU layer")
    assert run_sheets.swamping(run).answer.startswith("The run has no updates")
    assert not run_sheets.death(run).figures


def test_the_command_asks_a_run_everything_it_can_answer(folder, tmp_path, capsys):
    assert main(["examine", str(folder), "--json"], exits=False) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    keys = [each["key"] for each in answers]
    assert keys == ["barrier-run", "death", "swamping", "backward"]
    page = tmp_path / "run.html"
    assert main(["examine", str(folder), "-q", "death", "--html", str(page)], exits=False) == 0
    assert "3 of 16 channels" in capsys.readouterr().out
    assert "3 of 16 channels" in page.read_text()


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("kink", "'kink' needs the model, not a run. A run answers barrier, death"),
        ("kinks", "'kinks' is no question. A run answers barrier"),
    ],
)
def test_what_a_run_cannot_answer_is_told(folder, capsys, question, says):
    assert main(["examine", str(folder), "-q", question], exits=False) == 2
    assert says in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_told(tmp_path, capsys):
    assert main(["examine", str(tmp_path)], exits=False) == 2
    assert str(tmp_path) in capsys.readouterr().err
