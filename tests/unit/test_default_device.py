"""Tensors of our own lie on the CPU, or where the user's do, whatever torch's default device is.

`torch.set_default_device("cuda")` is common; the device "meta" has no numbers at all, so that any
tensor of ours that lands there is found out.
"""

import copy

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.arithmetic import get_arithmetic, matmul, round_blocks, round_to, run_as

ARITHMETICS = ("fp16-sequential", "fp32-exact", "fp64-sequential", "h100-fp8", "avx512-bf16")


def total(out, *_):
    return out.square().sum()


def record(model, x, folder):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with dh.record(model, optimizer, to=folder / "run"):
        total(model(x)).backward()
        optimizer.step()
    assert {tap.quantity for tap in dh.open_run(folder / "run").taps()} >= {"z", "w", "g", "dw"}


def emulate(model, x, folder):
    for name in ARITHMETICS:
        assert matmul(x, x.T, get_arithmetic(name)).isfinite().all()
    with run_as(model, "fp16-sequential"):
        total(model(x)).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def round_(model, x, folder):
    assert round_to(x, "fp16", rounding="stochastic", key=1).isfinite().all()
    assert round_blocks(x, "nvfp4", tensor_scale="amax").isfinite().all()
    assert dh.Sketch.of(x.to(torch.float8_e4m3fn)).n == x.numel()


def follow_bias(model, x, folder):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with dh.RoundingBias(model, optimizer, every=1, outputs=True) as bias:
        for _ in range(3):
            optimizer.zero_grad()
            total(model(x)).backward()
            optimizer.step()
    assert bias.result().rows


JOBS = {
    "record": record,
    "emulate": emulate,
    "round": round_,
    "bias": follow_bias,
    "compare": lambda model, x, _: dh.compare(model, x, ["bf16", "split=5"]),
    "swamping": lambda model, x, _: dh.swamping(model, x, n_outputs=3),
    "significance": lambda model, x, _: dh.significance(model, x, n_samples=2, max_elements=5),
    "kink": lambda model, x, _: dh.kink(model, x, total),
    "barrier": lambda model, x, _: dh.barrier(model, x),
    "death": lambda model, x, _: dh.death(model, x),
    "backward": lambda model, x, _: dh.backward(model, x, ["fp16"], loss=total),
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4))


@pytest.mark.parametrize("name", JOBS)
def test_nothing_lands_on_the_default_device(net, name, tmp_path):
    model, x = copy.deepcopy(net), torch.ones(5, 6).cumsum(1)
    with torch.device("meta"):
        JOBS[name](model, x, tmp_path)
