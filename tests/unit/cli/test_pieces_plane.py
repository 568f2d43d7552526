"""``deephochuli pieces --plane``: regions as text, JSON and a page."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from deephochuli.cli import main
from tests.unit.pieces.planar import hat

CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])


@pytest.fixture(autouse=True)
def _model(monkeypatch, tmp_path):
    builders = SimpleNamespace(strips=lambda: (hat(), CORNERS), bare=hat)
    monkeypatch.setitem(sys.modules, "planar_models", builders)
    monkeypatch.chdir(tmp_path)


def test_the_regions_of_the_batch(capsys, tmp_path):
    words = ["pieces", "planar_models:strips", "--plane", "--html", "plane.html"]
    assert main(words, exits=False) == 0
    assert "4 regions (4 affine pieces) of 3 units" in capsys.readouterr().out
    assert "4 activation regions" in (tmp_path / "plane.html").read_text()


def test_json_holds_corners_and_maps(capsys):
    words = ["pieces", "planar_models:bare", "--plane", "--random", "1", "--shape", "2", "--json"]
    assert main(words, exits=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_regions"] == len(found["regions"])
    assert sum(each["area"] for each in found["regions"]) == pytest.approx(1)


def test_exact_arithmetic_is_named_wherever_the_answer_is(capsys, tmp_path):
    words = ["pieces", "planar_models:strips", "--plane", "--exact"]
    assert main([*words, "--html", "plane.html"], exits=False) == 0
    assert "on an area of 4, in exact arithmetic" in capsys.readouterr().out
    assert "every cut is decided in exact arithmetic" in (tmp_path / "plane.html").read_text()
    assert main([*words, "--json"], exits=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["is_exact"], found["n_regions"], found["pieces"]["high"]) == (True, 4, 4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["planar_models:strips", "--third-sample", "7"], "no sample 7"),
        (["planar_models:bare", "--from", "a.npy", "--to", "b.npy"], "There is no file a.npy"),
    ],
)
def test_wrong_use(words, says, capsys):
    assert main(["pieces", *words, "--plane"], exits=False) == 2
    assert says in capsys.readouterr().err
