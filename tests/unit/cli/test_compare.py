"""``deephochuli compare``: what it prints, what it writes, and one message for every wrong use."""

import json
import shutil
import subprocess
import sys

import pytest

from deephochuli.cli import main

SOURCE = """
import threading
import torch
from torch import nn

def net(width=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 4))

def parts():
    model = net()
    torch.manual_seed(1)
    return model, torch.randn(5, 6)

def loss_of(output):
    return output.square().mean()

def with_loss():
    return *parts(), loss_of

def everything():
    model, batch = parts()
    return model, batch, loss_of, torch.optim.SGD(model.parameters(), lr=0.1)

def as_dict():
    model, batch, loss, optimizer = everything()
    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer}

def faulty():
    model = net()
    model[1].eps = 1e-2
    return model

def faulty_dict():
    return {"model": faulty(), "batch": None}

class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = net()[:2], net()[2:]

    def forward(self, x):
        return self.second(self.first(x))

def other_batch():
    return net(), torch.full((5, 6), 2.0)

def other_shape():
    return net(), torch.ones(7, 6)

def other_weights():
    model, batch = parts()
    model[0].bias.data[0] += 1
    return model, batch

def not_a_number():
    model, batch = parts()
    return model, batch * float("nan")

def locked():
    model, batch = parts()
    model.lock = threading.Lock()
    return model, batch

def clumsy():
    return net(), torch.ones(5, 7)

def wide(): return net(16)
def renamed(): return Renamed()
def renamed_parts(): return Renamed(), parts()[1]
def alone(): return net()
def too_many(): return (*everything(), 1)
def no_model(): return 3, torch.ones(2)
def no_optimizer(): return (*with_loss(), "sgd")
def no_loss(): return (*parts(), 0.5)
def misspelled(): return {"model": net(), "batsh": torch.ones(5, 6)}
def empty_dict(): return {"model": net()}
def broken(): raise RuntimeError("no data")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file of the user's; its callables are named as lab.py:NAME."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab.py").write_text(SOURCE)
    return folder


@pytest.fixture(autouse=True)
def here(source, monkeypatch):
    monkeypatch.chdir(source)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name in ("lab", "_examined_lab")]:
        del sys.modules[name]


def run(capsys, *words, code=0):
    assert main(["compare", *map(str, words)], exits=False) == code
    return capsys.readouterr()


def found(capsys, *words):
    return json.loads(run(capsys, *words, "--json").out)


@pytest.fixture
def saved(source, capsys):
    """Executions saved by name, each made once."""

    def save(name, model="parts", execution="native"):
        if not (source / name).exists():
            run(capsys, f"lab.py:{model}", "--save", name, "--as", execution)
        return name

    return save


@pytest.mark.parametrize("name", ["parts", "with_loss", "everything", "as_dict"])
def test_ways_to_give_a_model(capsys, name):
    compared = found(capsys, f"lab.py:{name}", "-a", "split=5")["comparison"]
    assert (compared["model"], compared["reference"]) == ("Sequential", "fp64")
    layers = {row["layer"] for row in compared["rows"]}
    assert layers == {"(model)", "0", "1", "2", "3"}
    directions = {row["direction"] for row in compared["rows"]}
    has_updates = name in ("everything", "as_dict")
    assert directions == {"forward", "backward", "gradient"} | (
        {"update"} if has_updates else set()
    )


def test_tables_and_how_to_get_the_page(capsys):
    shown = run(capsys, "lab:everything", "-a", "fp32", "-a", "bf16").out
    assert "Sequential, compared with fp64" in shown
    assert "bf16: the largest own error arises in" in shown
    assert shown.splitlines()[-1] == "Everything as a page: add --html comparison.html"


def test_the_numbers_are_those_of_the_analysis(capsys):
    """The error of BF16 is about 2^-9, that of FP32 about 2^-25, and the ratio says so."""
    rows = found(capsys, "lab.py:parts", "-a", "fp32", "-a", "bf16")["comparison"]["rows"]
    own = {
        row["executor"]: row["local"]["rel_l2"]
        for row in rows
        if (row["layer"], row["direction"]) == ("0", "forward")
    }
    assert 2.0**-27 < own["fp32"] < 2.0**-23
    assert 2.0**-11 < own["bf16"] < 2.0**-7
    ratios = {row["ratio"] for row in rows if row["executor"] == "fp32" and row["ratio"]}
    assert ratios == {1.0}


def test_a_verdict_names_the_layer_that_differs(capsys, source):
    words = ("lab.py:with_loss", "--verdict", "lab.py:faulty", "--html", "page.html")
    shown = run(capsys, *words).out
    assert "lab.py:faulty: Not rounding, look here: 1, forward" in shown
    assert "setting eps is 0.01" in shown
    assert shown.splitlines()[-1] == "page.html"
    assert "setting eps is 0.01" in (source / "page.html").read_text("utf-8")


def test_exit_codes_say_what_was_found(capsys, saved):
    words = ("lab.py:parts", "-a", "native")
    run(capsys, *words, "--verdict", "native", "--fail-on", "suspect", code=0)
    run(capsys, *words, "--verdict", "lab.py:faulty_dict", "--fail-on", "suspect", code=1)
    run(capsys, *words, "--fail-on", "flips", code=0)
    run(capsys, *words, "-a", "lab.py:other_weights", "--fail-on", "flips", code=1)
    a, b, c = saved("plain"), saved("plain-again"), saved("half", execution="autocast-bf16")
    run(capsys, a, b, "--fail-on", "difference", code=0)
    run(capsys, a, c, "--fail-on", "difference", code=1)


def test_layers_to_keep(capsys):
    words = ("lab.py:with_loss", "--keep", "bf16", "--output-budget", 1e-4, "--gradient-budget", 1)
    kept = found(capsys, *words)["kept"]
    assert kept["low"] == "bf16"
    assert kept["layers"]
    assert kept["budget"] == {"output": 1e-4, "gradient": 1.0}
    assert kept["is_within"]
    assert "torch.bfloat16" in kept["snippet"]
    assert [each["name"] for each in found(capsys, *words)["comparison"]["executors"]] == [
        *("fp32", "bf16")
    ]


def test_two_equal_executions(capsys, saved):
    shown = run(capsys, saved("plain"), saved("plain-again")).out
    assert "plain (native) and plain-again (native) are equal to the last bit." in shown


def test_two_executions_part_at_the_first_layer(capsys, saved):
    words = saved("plain"), saved("half", execution="autocast-bf16")
    pairs = found(capsys, *words)["pairs"]
    assert pairs["start"]["layer"] == "0"
    assert "weights" not in {row["name"] for row in pairs["environment"]}
    assert {row["parameter"] for row in pairs["rows"] if row["direction"] == "gradient"} == {
        *("weight", "bias")
    }


def test_two_executions_beside_the_model(capsys, saved, source):
    words = (saved("plain"), saved("half", execution="autocast-bf16"), "--model", "lab.py:parts")
    both = found(capsys, *words, "--html", "pairs.html")
    assert both["comparison"]["executors"][0]["name"] == "plain (native)"
    ratios = [
        row["ratio"]
        for row in both["comparison"]["rows"]
        if (row["executor"], row["layer"]) == ("half (autocast-bf16)", "0") and row["ratio"]
    ]
    assert min(ratios) > 1000
    assert "half (autocast-bf16)" in (source / "pairs.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["other_weights", "other_batch"])
def test_executions_that_did_not_begin_alike_are_found_out(capsys, saved, name):
    other = saved(name, model=name)
    shown = run(capsys, saved("plain"), other).out
    assert "did not begin with the same weights and the same batch" in shown


def test_executions_of_other_shapes(capsys, saved):
    shown = run(capsys, saved("plain"), saved("wider", model="other_shape")).out
    assert "Not compared: (model), whose inputs have the shapes [(5, 6)] and [(7, 6)]" in shown


def test_a_model_of_other_shapes_says_what_is_not_compared(capsys):
    shown = run(capsys, "lab.py:parts", "-a", "lab.py:wide").out
    assert "Not compared, being on one side only or of another shape: 0, 1, 2, 3." in shown
    compared = found(capsys, "lab.py:parts", "-a", "native")["comparison"]
    assert compared["executors"][0]["unmatched"] == []


def test_a_saved_execution_that_is_damaged(capsys, saved, source):
    plain = saved("plain")
    shutil.copytree(source / plain, source / "damaged", dirs_exist_ok=True)
    (source / "damaged" / "trace.json").write_text("{")
    assert "is damaged" in run(capsys, plain, "damaged", code=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lab.py:parts", "-a", "tf23"], "Did you mean 'tf32'"),
        (["lab.py:parts", "--reference", "fp46"], "Did you mean 'fp64'"),
        (["lab.py:parts", "--keep", "bf61"], "Did you mean 'bf16'"),
        (["lab.py:parts", "--verdict", "natve"], "Did you mean 'native'"),
        (["lab.py:parts", "-a", "fp32", "-a", "fp32"], "Two executions are called 'fp32'"),
        (["lab.py:parts", "-a", "lab.py:renamed"], "no layer in common besides the model itself"),
        (["lab.py:not_a_number", "-a", "native"], "The reference is not finite"),
        (["lab.py:locked", "-a", "native"], "cannot be copied"),
        (["lab.py:clumsy", "-a", "native"], "Executing 'lab.py:clumsy' failed: RuntimeError"),
        (["lab.py:parts", "-a", "native", "--max-gib", "1e-7"], "Give a smaller batch"),
        (["lab.py:parts", "-a", "split=9"], "split=9 needs at least 9 samples"),
        (["lab.py:parts", "--keep", "bf16", "--output-budget", "0"], "must be positive"),
        (["lab.py:parts", "--max-gib", "0"], "--max-gib must be positive"),
        (["lab.py:alone"], "returns Sequential; a batch is needed too"),
        (["lab.py:too_many"], "returns a tuple of 5"),
        (["lab.py:no_model"], "returns a int as model"),
        (["lab.py:no_optimizer"], "returns a str as optimizer"),
        (["lab.py:no_loss"], "returns a float as loss"),
        (["lab.py:misspelled"], "the key 'batsh'. Did you mean 'batch'"),
        (["lab.py:empty_dict"], "a dict without 'batch'"),
        (["lab.py:broken"], "RuntimeError: no data"),
        (["lab.py:prats"], "Did you mean 'parts'"),
        (["nowhere.py:parts"], "There is no file nowhere.py"),
        (["nothing"], "Cannot find 'nothing'"),
        (["lab.py:parts", "-a", "lab.py:no_model"], "returns int, which is no model"),
        (["."], "is one folder; give two saved executions"),
        (["missing", "."], "missing is no saved execution"),
        (["a", "b", "c"], "takes a model, or two saved executions; got 3 names"),
        (["a", "b", "-a", "fp32"], "-a, --verdict and --keep need a model"),
        (["a", "b", "--save", "c"], "--save takes one model"),
        (["lab.py:parts", "--save", "x", "-a", "fp32"], "--save executes once"),
        (["lab.py:parts", "--save", "."], ". is there already"),
        (["lab.py:parts", "--as", "native"], "--as goes with --save"),
        (["lab.py:parts", "--model", "lab.py:parts"], "--model goes with two saved"),
    ],
)
def test_wrong_use_is_one_message(capsys, words, said):
    shown = run(capsys, *words, code=2)
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_gpu_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for words in (["-a", "cuda"], ["-a", "cuda:1"], ["--verdict", "cuda-tf32"]):
        shown = run(capsys, "lab.py:parts", *words, code=2)
        assert "needs a CUDA device" in shown.err
        assert "--save" in shown.err


def test_saved_executions_without_a_common_layer(capsys, saved):
    words = saved("plain"), saved("renamed", model="renamed_parts")
    assert "have no layer in common" in run(capsys, *words, code=2).err


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="failed: RuntimeError"):
        main(["compare", "lab.py:clumsy", "-a", "native", "--debug"], exits=False)


def test_the_mark_of_weights_and_batch_depends_on_every_bit():
    import torch
    from torch import nn

    from deephochuli.cli._fingerprint import fingerprint

    model, batch = nn.Linear(2, 2), torch.ones(3, 2)
    first = fingerprint(model, batch)
    assert fingerprint(model, (batch.clone(),)) == first
    assert fingerprint(model, batch.bfloat16())["batch"] != first["batch"]
    changed = batch.clone()
    changed[0, 0] += 2.0**-23
    assert fingerprint(model, changed)["batch"] != first["batch"]
    with torch.no_grad():
        model.bias[0] += 1
    assert fingerprint(model, batch)["weights"] != first["weights"]


def test_help_loads_nothing_heavy():
    code = (
        "from deephochuli.cli import main; main(['compare', '--help'], exits=False)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
