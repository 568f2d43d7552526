"""Emulated arithmetic on a GPU: the same bits as on a CPU, forward and backward."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from deephochuli.arithmetic import (
    StochasticKey,
    attention,
    convolution,
    get_arithmetic,
    linear,
    list_block_formats,
    matmul,
    perturbed,
    round_blocks,
    round_to,
    run_as,
    sum_as,
)
from deephochuli.formats import BFLOAT16
from tests.cuda.device import DEVICE, drawn
from tests.reference.rounding.numbers import bits_of

pytestmark = pytest.mark.cuda

NAMES = (
    *("fp16-sequential", "fp32-pairwise", "bf16-blocked", "fp16-chunked", "fp32-exact"),
    *("h100-fp16", "h100-fp8", "h100-tf32", "a100-bf16", "mi300-bf16", "avx512-bf16"),
)
OPERATIONS = {
    "matmul": (lambda a, x, w: matmul(x, w, a), (5, 40), (40, 3)),
    "linear": (lambda a, x, w: linear(x, w, w[:, 0], a), (2, 3, 40), (7, 40)),
    "bmm": (lambda a, x, w: matmul(x, w, a), (3, 4, 20), (3, 20, 5)),
    "sum": (lambda a, x, w: sum_as(x, a, dim=(0, 2)) * sum_as(w, a), (3, 4, 20), (4, 1)),
    "conv2d": (
        lambda a, x, w: convolution(x, w, w[:, 0, 0, 0], 2, 1, 1, 2, a),
        (2, 4, 7, 7),
        (6, 2, 3, 3),
    ),
}


def results(operation, arithmetic, shapes, device, dtype):
    inputs = [
        drawn(*shape, seed=seed, device="cpu").to(device, dtype).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]
    out = operation(arithmetic, *inputs)
    weight = drawn(*out.shape, seed=9, device="cpu").to(device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, inputs, weight)]


def same_bits(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.device.type == DEVICE
        assert other.isfinite().all()
        assert torch.equal(bits_of(one.cpu()), bits_of(other))


@pytest.mark.parametrize("what", OPERATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_products_and_sums(name, what):
    operation, *shapes = OPERATIONS[what]
    given = get_arithmetic(name), shapes
    ours = results(operation, *given, DEVICE, torch.float32)
    same_bits(ours, results(operation, *given, "cpu", torch.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_carriers(dtype):
    name = "bf16-sequential" if dtype is torch.bfloat16 else "fp16-sequential"
    for what in ("matmul", "conv2d"):
        operation, *shapes = OPERATIONS[what]
        given = get_arithmetic(name), shapes
        ours = results(operation, *given, DEVICE, dtype)
        same_bits(ours, results(operation, *given, "cpu", dtype))


def test_attention_but_for_its_softmax():
    """The exponential of a GPU may differ in the last bit from that of a CPU."""
    shapes = 3 * [(2, 3, 6, 8)]

    def operation(arithmetic, q, k, v):
        return attention(q, k, v, arithmetic, is_causal=True)

    given = get_arithmetic("h100-tf32"), shapes
    ours = results(operation, *given, DEVICE, torch.float32)
    theirs = results(operation, *given, "cpu", torch.float32)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=2e-3, atol=2e-3)


# ---- a model run in an arithmetic


class Net(nn.Module):
    """Convolutions, ReLU, linear layers: every operator that is no product rounds exactly."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2)
        self.hidden, self.head = nn.Linear(36, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        return self.head(torch.relu(self.hidden(x)))


class Checkpointed(Net):
    """The same, and a part is computed again in the backward, which has a thread of its own."""

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        x = torch.utils.checkpoint.checkpoint(self.hidden, x, use_reentrant=False)
        return self.head(torch.relu(x))


def trained(kind, arithmetic, device):
    """Outputs, gradients and weights of two steps."""
    torch.manual_seed(0)
    model = kind().to(device)
    optimizer = torch.optim.SGD(model.parameters(), 2.0**-4, foreach=False)
    found = []
    with run_as(model, arithmetic, seed=3):
        for number in range(2):
            optimizer.zero_grad()
            out = model(drawn(3, 2, 8, 8, seed=number, device="cpu").to(device))
            out.backward(drawn(3, 3, seed=7, device="cpu").to(device))
            found += [out.detach(), *[p.grad.clone() for p in model.parameters()]]
            optimizer.step()
    return [*found, *[p.detach() for p in model.parameters()]]


@pytest.mark.parametrize("kind", [Net, Checkpointed])
@pytest.mark.parametrize("name", ["fp16-sequential", "h100-fp16", "h100-fp8", "fp32-blocked"])
def test_a_model_run_as_if_in_an_arithmetic(name, kind):
    same_bits(trained(kind, name, DEVICE), trained(kind, name, "cpu"))


def test_formats_of_weights_and_stochastic_rounding():
    kept = dict.fromkeys(("weights", "activations", "gradients", "optimizer"), BFLOAT16)
    pure = replace(get_arithmetic("fp32-sequential"), name="own", output=None, **kept)
    same_bits(trained(Net, pure, DEVICE), trained(Net, pure, "cpu"))
    random = replace(pure, rounding="stochastic")
    ours = trained(Net, random, DEVICE)
    same_bits(ours, trained(Net, random, "cpu"))
    assert any(not torch.equal(a, b) for a, b in zip(ours, trained(Net, pure, DEVICE), strict=True))


@pytest.mark.parametrize("name", ["tf32", "bf16", "fp8"])
def test_native_sums_are_near(name):
    for one, other in zip(trained(Net, name, DEVICE), trained(Net, name, "cpu"), strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one.cpu(), other, rtol=0.1, atol=0.1)


def test_noise_repeats_and_leaves_the_generators_alone():
    torch.manual_seed(0)
    model, x = Net().to(DEVICE), drawn(3, 2, 8, 8)
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    outputs = []
    for key in (1, 1, 2):
        with perturbed(model, 12, key=key):
            outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert all(map(torch.equal, states, (torch.get_rng_state(), torch.cuda.get_rng_state())))


# ---- rounding


@pytest.mark.parametrize("rounding", ["nearest-even", "toward-zero", "stochastic"])
@pytest.mark.parametrize("fmt", list_block_formats(), ids=str)
def test_every_block_format(fmt, rounding):
    key = StochasticKey(5, 2, 1) if rounding == "stochastic" else None
    for x in (drawn(4, 96), drawn(3, 50) * 2.0**-130, drawn(5, 64).bfloat16(), drawn(33, 7).T):
        for dim in (0, -1):
            ours = round_blocks(x, fmt, dim=dim, rounding=rounding, key=key)
            theirs = round_blocks(x.cpu(), fmt, dim=dim, rounding=rounding, key=key)
            assert torch.equal(bits_of(ours.cpu()), bits_of(theirs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_stochastic_rounding_in_place_and_of_strided_tensors(dtype):
    key = StochasticKey(seed=2**40 + 1, stream=3, step=4)
    fmt = "fp8_e4m3fn"
    whole = drawn(37, 50).to(dtype)
    for view in (lambda x: x, lambda x: x.T, lambda x: x[::3, 5:40:2], lambda x: x[0, 3]):
        x = whole.clone()
        expected = whole.cpu().clone()
        part = view(expected)
        part.copy_(round_to(part.clone(), fmt, rounding="stochastic", key=key))
        assert round_to(view(x), fmt, rounding="stochastic", key=key).shape == view(x).shape
        target = view(x)
        assert round_to(target, fmt, rounding="stochastic", key=key, out=target) is target
        assert torch.equal(bits_of(x.cpu()), bits_of(expected))


def test_stochastic_rounding_does_not_wait_for_the_device():
    x = drawn(1000)
    round_to(x, "bf16", rounding="stochastic", key=1)  # compiles the kernel
    torch.cuda.set_sync_debug_mode("error")
    try:
        rounded = [round_to(x, "bf16", rounding="stochastic", key=key) for key in range(2, 9)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for key, ours in zip(range(2, 9), rounded, strict=True):
        theirs = round_to(x.cpu(), "bf16", rounding="stochastic", key=key)
        assert torch.equal(ours.cpu(), theirs)


def network(x, w):
    """Roundings between operations that a compiler would fuse."""
    a = round_to(x * 1.5, "fp8_e4m3fn", straight_through=True)
    b = round_to(a * w, "bf16", rounding="stochastic", key=3, straight_through=True) + 0.25
    return round_blocks(b.relu(), "mxfp6_e2m3", straight_through=True) * 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_rounding():
    def values(function, device):
        x = drawn(8, 64, device="cpu").to(device).requires_grad_()
        y = function(x, drawn(8, 64, seed=1, device="cpu").to(device))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        return [y.detach(), gradient]

    torch.compiler.reset()
    same_bits(values(torch.compile(network, fullgraph=True), DEVICE), values(network, "cpu"))
    torch.compiler.reset()
