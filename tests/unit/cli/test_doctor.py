import json
import subprocess
import sys

import pytest

from deephochuli.cli import main

SOURCE = """
import torch
from torch import nn

def build():
    return nn.Linear(4, 4)

def trapped():
    model = nn.Linear(8, 8).to(torch.bfloat16)
    return model, torch.optim.AdamW(model.parameters())

def scaled():
    model, optimizer = trapped()
    return model, [optimizer], torch.amp.GradScaler("cpu")

def task():
    model, optimizer = trapped()
    return {"model": model, "batch": torch.ones(1, 8), "optimizer": optimizer}

def task_in_order():
    named = task()
    return named["model"], named["batch"], torch.sum, named["optimizer"]

ready = nn.Linear(2, 2)
number = 3

def broken():
    raise RuntimeError("no data")
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file of the user's, which may be found by its path or by its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my_models.py").write_text(SOURCE)
    yield tmp_path / "my_models.py"
    for name in set(sys.modules) - before:
        if name.startswith("my_models"):
            del sys.modules[name]


def kinds(capsys, *words):
    assert main(["doctor", *map(str, words), "--json"], exits=False) == 0
    found = json.loads(capsys.readouterr().out)
    return {finding["kind"] for finding in found["findings"]}


def test_the_machine_alone(capsys):
    assert main(["doctor"], exits=False) == 0
    shown = capsys.readouterr().out
    assert "FP32 matrix product on cpu" in shown
    assert "torch.backends.mkldnn.matmul.fp32_precision" in shown
    assert "Nothing was found" in shown


def test_json_holds_everything(source, capsys):
    assert main(["doctor", "my_models:trapped", "--json"], exits=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["examined"]) == (1, "my_models:trapped")
    assert found["machine"][0].keys() == {"topic", "setting", "value", "meaning", "applies"}
    assert found["dtypes"][0] | {"device": "cpu"} == found["dtypes"][0]
    assert found["dtypes"][0]["n_elements"] == 72


@pytest.mark.parametrize("way", ["my_models:{}", "my_models.py:{}", "./my_models.py:{}"])
def test_ways_to_name_a_model(source, capsys, way):
    assert kinds(capsys, way.format("build")) == set()
    assert kinds(capsys, way.format("ready")) == set()
    assert "frozen-average" in kinds(capsys, way.format("trapped"))


def test_an_absolute_path_and_a_scaler(source, capsys):
    found = kinds(capsys, f"{source}:scaled")
    assert {"frozen-average", "scaler-with-bfloat16"} <= found


def test_tables_show_dtypes_findings_and_advice(source, capsys):
    assert main(["doctor", "my_models.py:trapped"], exits=False) == 0
    shown = capsys.readouterr().out
    assert "bfloat16" in shown
    assert "0.999 acts as 1" in shown
    assert "→" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["my_models:trapped"], 0),
        (["my_models:trapped", "--fail-on", "critical"], 1),
        (["my_models:build", "--fail-on", "warning"], 0),
        (["--fail-on", "warning"], 0),
    ],
)
def test_exit_codes(source, capsys, words, code):
    assert main(["doctor", *words], exits=False) == code


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("model.pt", "pickles"),
        ("weights.bin", "pickles"),
        ("no_such_module:build", "no module 'no_such_module'"),
        ("no_such_file.py:build", "no file no_such_file.py"),
        ("my_models:biuld", "Did you mean 'build'"),
        ("my_models:number", "Cannot examine a int"),
        ("my_models:broken", "RuntimeError: no data"),
        ("my_models.py", "is no model"),
        ("nothing", "Cannot find 'nothing'"),
        (":build", "Cannot find ':build'"),
        ("missing.safetensors", "Cannot find"),
        (".", "No file with the suffix .safetensors"),
    ],
)
def test_wrong_use_is_one_message(source, capsys, model, said):
    assert main(["doctor", model], exits=False) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_module_that_fails_says_so(source, capsys):
    source.with_name("my_models_broken.py").write_text("import no_such_dependency\n")
    for way in ("my_models_broken:build", "my_models_broken.py:build"):
        assert main(["doctor", way], exits=False) == 2
        assert "no_such_dependency" in capsys.readouterr().err
    with pytest.raises(Exception, match="no_such_dependency"):
        main(["doctor", "my_models_broken:build", "--debug"], exits=False)


def test_a_file_takes_no_other_modules_place(source, capsys):
    random = sys.modules["random"]
    source.with_name("random.py").write_text(SOURCE)
    assert kinds(capsys, "random.py:build") == set()
    assert sys.modules["random"] is random


def test_help_loads_nothing_heavy():
    code = (
        "from deephochuli.cli import main; main(['doctor', '--help'], exits=False)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["task", "task_in_order"])
def test_the_callable_of_compare_serves_too(source, capsys, name):
    assert "frozen-average" in kinds(capsys, f"my_models:{name}")
    assert kinds(capsys, f"my_models:{name}") == kinds(capsys, "my_models:trapped")
