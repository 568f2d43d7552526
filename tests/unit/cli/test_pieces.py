"""``deephochuli pieces``: what it prints and writes, and one message for every wrong use."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deephochuli.cli import main
from deephochuli.pieces import count

SOURCE = """
import torch
from torch import nn

def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))

def with_batch():
    return model(), (torch.rand(4, 64, generator=torch.Generator().manual_seed(1)), torch.ones(4))

def as_dict():
    return {"model": model(), "batch": torch.rand(4, 64)}

def meeting():
    return nn.Sequential(nn.Linear(64, 8, bias=False), nn.ReLU())

def smooth():
    return nn.Sequential(nn.Linear(64, 2), nn.GELU())

def number():
    return 3
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def said(capsys, *words):
    code = main(["pieces", *map(str, words)], exits=False)
    return code, capsys.readouterr()


def test_the_table_says_who_bends(source, capsys):
    code, out = said(capsys, f"{source}:with_batch")
    assert code == 0
    assert "activation regions" in out.out
    assert "certain: no rounding error can change either count" in out.out
    assert "reach the output" in out.out
    assert "--html" in out.out


def test_json_has_every_breakpoint_and_equals_the_api(source, capsys, tmp_path):
    x0, x1 = np.linspace(-1, 1, 64), np.cos(np.arange(64.0))
    np.save(tmp_path / "a.npy", x0)
    save_file({"x": torch.from_numpy(x1)}, tmp_path / "b.safetensors")
    ends = "--from", tmp_path / "a.npy", "--to", tmp_path / "b.safetensors"
    code, out = said(capsys, f"{source}:model", *ends, "--json", "--exact")
    found = json.loads(out.out)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        *(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4), torch.nn.ReLU()),
        torch.nn.Linear(4, 2),
    )
    expected = count(net, torch.from_numpy(x0), torch.from_numpy(x1))
    assert code == 0
    assert found["n_regions"] == expected.n_regions == len(found["breakpoints"]) + 1
    assert [each["t"] for each in found["breakpoints"]] == expected.t.tolist()
    assert found["certain"] is True
    first = expected.origin(0)
    assert (found["breakpoints"][0]["layer"], found["breakpoints"][0]["unit"]) == (
        first.layer,
        first.unit,
    )


def test_random_ends_repeat_and_an_inner_layer_is_counted_alone(source, capsys):
    words = f"{source}:model", "--random", 3, "--json"
    first, second = said(capsys, *words, "--shape", 64)[1], said(capsys, *words, "--shape", 64)[1]
    assert first.out == second.out
    code, out = said(capsys, *words, "--shape", 8, "--layer", 2)
    assert code == 0
    assert json.loads(out.out)["n_regions"] == 1


def test_samples_of_digits_and_of_a_dict(source, capsys):
    code, out = said(capsys, f"{source}:as_dict", "--data", "digits", "--samples", 3, 5, "--json")
    assert code == 0
    assert json.loads(out.out)["n_regions"] > 1


def test_open_places_are_told_and_decided(source, capsys, tmp_path):
    np.save(tmp_path / "a.npy", -0.3 * np.ones(64))
    np.save(tmp_path / "b.npy", np.ones(64))
    ends = "--from", tmp_path / "a.npy", "--to", tmp_path / "b.npy"
    _, plain = said(capsys, f"{source}:meeting", *ends)
    assert "Open places are decided by --exact" in plain.out
    _, exact = said(capsys, f"{source}:meeting", *ends, "--exact")
    assert "2 activation regions, 2 affine pieces" in exact.out
    assert "1 place decided in exact arithmetic" in exact.out


def test_a_page_is_written(source, capsys, tmp_path):
    page = tmp_path / "pieces.html"
    code, out = said(capsys, f"{source}:with_batch", "--html", page)
    assert code == 0
    assert str(page) in out.out
    assert "The function and its bends on the segment" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("model", (), "The ends of the segment are missing"),
        ("model", ("--from", "a.npy"), "--from and --to go together"),
        ("model", ("--random", 1, "--data", "digits"), "--random and --data contradict"),
        ("model", ("--random", 1), "--random needs the shape"),
        ("model", ("--random", 1, "--shape", "3,x"), "'3,x' is no shape"),
        ("model", ("--data", "digit"), "Did you mean 'digits'"),
        ("model", ("--data", "digits", "--shape", "3,3"), "An image of 'digits' has 64 numbers"),
        ("model", ("--from", "none.npy", "--to", "none.npy"), "There is no file none.npy"),
        ("model", ("--from", "a.txt", "--to", "a.txt"), "a.txt is not read: expected one of .npy"),
        ("with_batch", ("--samples", 0, 9), "no sample 9 in the model's batch: it has 4"),
        ("with_batch", ("--samples", 1, 1), "the same point"),
        ("smooth", ("--data", "digits"), "'gelu' is not among"),
        ("number", ("--data", "digits"), "returns int, which is no model"),
        ("model", ("--data", "digits", "--layer", "9"), "no layer '9'"),
    ],
)
def test_wrong_use_is_one_message(source, capsys, model, words, message):
    code, out = said(capsys, f"{source}:{model}", *words)
    assert code == 2
    assert message in out.err
    assert "Traceback" not in out.err


def test_a_file_with_two_tensors_is_refused(source, capsys, tmp_path):
    path = tmp_path / "two.safetensors"
    save_file({"a": torch.ones(64), "b": torch.ones(64)}, path)
    code, out = said(capsys, f"{source}:model", "--from", path, "--to", path)
    assert code == 2
    assert "holds 2 tensors; expected one" in out.err
