"""A model on a CPU and on a GPU, with and without TF32: compared, judged, and left as it was."""

import json
import math
import sys

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.analysis.compare import executor_of
from deephochuli.cli import main
from tests.cuda.device import DEVICE, drawn, perceptron

pytestmark = pytest.mark.cuda

TF32 = f"{DEVICE}-tf32"
IEEE = f"{DEVICE}-ieee"


class Net(nn.Module):
    """A convolution and a linear layer with long sums, and dropout."""

    def __init__(self, p=0.25):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(32, 16, 3, padding=1), nn.Dropout(p)
        self.relu, self.head = nn.ReLU(), nn.Linear(1024, 64)

    def forward(self, x):
        return self.head(self.drop(self.relu(self.conv(x))).flatten(1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def batch():
    return drawn(64, 32, 8, 8, device="cpu")


def flags():
    return [
        each.fp32_precision
        for each in (
            *(torch.backends, torch.backends.cuda.matmul, torch.backends.cudnn),
            *(torch.backends.cudnn.conv, torch.backends.cudnn.rnn),
        )
    ]


def own_errors(comparison, executor):
    return {
        (row.layer, row.direction): row.local.rel_l2
        for row in comparison.of(executor)
        if row.layer in ("conv", "head") and row.direction != "gradient"
    }


def test_a_gpu_beside_a_cpu_and_tf32_beside_ieee(net, batch):
    before = flags()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    ways = ["fp32", IEEE, TF32, DEVICE, "bf16"]
    found = dh.compare(net, batch, ways, optimizer=optimizer)
    assert flags() == before
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())
    assert not any(found.unmatched.values())
    assert all(math.isclose(a, found.losses["fp64"], rel_tol=0.02) for a in found.losses.values())
    cpu, ieee, tf32 = (own_errors(found, way) for way in ("fp32", IEEE, TF32))
    for place, error in ieee.items():
        assert error < 2.0**-18, place  # K = 288 and 1024 of u = 2^-24, with room
        assert cpu[place] < 2.0**-18, place
    head, conv = (tf32[layer, "forward"] for layer in ("head", "conv"))
    assert 2.0**-14 < head < 2.0**-10
    assert head > 20 * ieee["head", "forward"]
    # The switch allows TF32 in convolutions, and cuDNN may still take a kernel that computes in
    # FP32; on an H200 it does for this small one, with an error of 2.9e-7.
    assert ieee["conv", "forward"] / 4 < conv < 2.0**-10
    assert {row.direction for row in found.of(DEVICE)} >= {"forward", "backward", "update"}


def test_dropout_drops_the_same_elements_on_both(net, batch):
    found = dh.compare(net, batch, ["fp32", IEEE])
    for way in ("fp32", IEEE):
        (row,) = (row for row in found.of(way, "forward") if row.layer == "drop")
        assert row.total.zeros == row.total.sign_flips == 0
        assert row.total.rel_l2 < 1e-5


def test_a_model_that_lies_on_the_gpu(net, batch):
    there, x = net.to(DEVICE), batch.to(DEVICE)
    ways = ["cpu", "native", "autocast-bf16", "autocast-fp16", "split=2", "channels-last"]
    found = dh.compare(there, x, [*ways, "h100-tf32"], loss=lambda out: out.square().mean())
    assert all(parameter.device.type == DEVICE for parameter in there.parameters())
    assert all(parameter.grad is None for parameter in there.parameters())
    for way in ways:
        assert own_errors(found, way)["head", "forward"] < 0.01


def test_the_generators_of_the_user_go_on(net, batch):
    torch.manual_seed(5)
    torch.rand(3, device=DEVICE)
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    dh.compare(net, batch, [DEVICE])
    dh.significance(net.to(DEVICE), batch.to(DEVICE), n_samples=2)
    dh.swamping(net, batch.to(DEVICE), n_outputs=4)
    dh.kink(net, batch.to(DEVICE), lambda out, _: out.sum())
    assert all(map(torch.equal, states, (torch.get_rng_state(), torch.cuda.get_rng_state())))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("way", ["compiled", "compiled-whole"])
def test_compiled_code(way):
    torch.compiler.reset()
    model = perceptron()
    found = dh.compare(model, drawn(8, 64), [way])
    rows = found.of(way, "forward")
    assert rows
    assert all(row.local.rel_l2 < 1e-3 for row in rows if row.local.n)
    torch.compiler.reset()


# ---- verdicts


def test_a_sound_gpu_is_clean(net, batch):
    assert dh.verdict(net, batch, IEEE).kind == "clean"


def test_tf32_is_rounding_and_is_named(net, batch):
    found = dh.verdict(net, batch, TF32)
    assert found.kind == "rounding"
    # "head" where cuDNN takes a kernel in FP32 for the convolution before it.
    assert found.culprit.layer in ("conv", "head")
    assert "tf32" in str(found).lower()


def test_a_fault_is_none(net, batch):
    torch.manual_seed(0)
    other = Net().to(DEVICE)
    other.head.bias.data[3] += 0.01
    found = dh.verdict(net.to(DEVICE), batch.to(DEVICE), other)
    assert found.kind == "not rounding"
    assert found.culprit.layer == "head"


# ---- the machine


def measured():
    return {fact.setting: fact.value for fact in dh.doctor().machine if fact.topic == "measured"}


@pytest.mark.parametrize(("precision", "bits"), [("ieee", "FP32, p = 24"), ("tf32", "p = 11")])
def test_the_doctor_measures_what_products_use(precision, bits):
    library = torch.backends.cuda.matmul
    before = library.fp32_precision
    library.fp32_precision = precision
    try:
        found = measured()
    finally:
        library.fp32_precision = before
    assert found[f"FP32 matrix product on {DEVICE}"].endswith(bits)
    assert found[f"FP32 linear layer on {DEVICE}"].endswith(bits)
    assert found[f"bfloat16 sum on {DEVICE}"] == "wider than its inputs"


def test_significance_on_a_gpu():
    bits = dh.significance(perceptron(), drawn(8, 64), n_samples=4)
    assert [row.layer for row in bits.of("a")] == ["0", "1", "2", "3", "4"]
    again = dh.significance(perceptron(), drawn(8, 64), n_samples=4)
    assert [str(row) for row in bits.layers] == [str(row) for row in again.layers]


# ---- the command

LAB = """
import torch
from torch import nn

def parts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 4))
    return model, torch.randn(8, 256)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    (tmp_path / "lab.py").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name in ("lab", "_examined_lab")]:
        del sys.modules[name]


def said(capsys, *words):
    assert main(["compare", "lab.py:parts", *words, "--json"], exits=False) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("lab")
def test_the_command(capsys):
    words = ("-a", DEVICE, "-a", TF32)
    rows = said(capsys, *words)["comparison"]["rows"]
    assert {row["executor"] for row in rows} == {DEVICE, TF32}


@pytest.mark.usefixtures("lab")
def test_a_run_saved_on_the_gpu_is_compared_with_one_of_the_cpu(capsys, tmp_path):
    for way, name in (("native", "here"), (DEVICE, "there")):
        words = ["compare", "lab.py:parts", "--save", name, "--as", way]
        assert main(words, exits=False) == 0
    capsys.readouterr()
    assert main(["compare", "here", "there", "--json"], exits=False) == 0
    assert json.loads(capsys.readouterr().out)


def test_executors_that_need_a_gpu_are_there():
    found = [executor_of(name).device for name in ("cuda", "cuda:0", "cuda-tf32")]
    assert found == ["cuda", "cuda:0", "cuda"]
