"""Operators and tensors that `run_as` meets seldom, beside the same computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.arithmetic import get_arithmetic, run_as
from deephochuli.errors import DeepHochuliWarning
from deephochuli.formats import BFLOAT16

LENGTH = 300


class Computing(nn.Module):
    """A function as a module."""

    def __init__(self, compute, **parameters):
        super().__init__()
        self.compute = compute
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, *args):
        return self.compute(self, *args)


def is_bf16(x):
    return torch.equal(x, x.bfloat16().float())


def half_chain(a, b):
    """The chain of fused additions in binary16; each fits into binary64 before it is rounded."""
    total = np.float16(0)
    for left, right in zip(a.tolist(), b.tolist(), strict=True):
        total = np.float16(float(total) + left * right)
    return float(total)


def into(operator, shape):
    """An operator that writes to a tensor that is there."""

    def compute(module, a, b):
        out = torch.zeros(shape)
        operator(a, b, out)
        return out

    return compute


@pytest.mark.parametrize(
    "compute",
    [
        lambda _, a, b: torch.vdot(a, b),
        lambda _, a, b: torch.linalg.vecdot(a, b),
        lambda _, a, b: torch.addbmm(torch.zeros(1, 1), a.view(30, 1, 10), b.view(30, 10, 1)),
        lambda _, a, b: torch.zeros(1, 1).addmm_(a[None], b[:, None]),
        lambda _, a, b: torch.zeros(1, 1, 1).baddbmm_(a[None, None], b[None, :, None]),
        lambda _, a, b: F.bilinear(a[None], torch.ones(1, 1), b[None, :, None]),
        into(lambda a, b, out: torch.mm(a[None], b[:, None], out=out), (1, 1)),
        into(lambda a, b, out: torch.dot(a, b, out=out), ()),
    ],
)
def test_every_way_to_write_a_product_is_emulated(compute):
    generator = torch.Generator().manual_seed(0)
    a, b = ((torch.rand(LENGTH, generator=generator) + 0.5).half().float() for _ in range(2))
    model = Computing(compute)
    with run_as(model, "fp16-sequential"):
        got = model(a, b).item()
    assert got == half_chain(a, b)
    assert got != pytest.approx(float(a.double() @ b.double()), abs=0.01)


def test_a_bilinear_layer_has_the_values_and_gradients_of_torch():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Bilinear(3, 4, 5).double()
    given = [torch.randn(6, n, generator=generator, dtype=torch.float64) for n in (3, 4)]
    leaves = [each.requires_grad_() for each in (*given, *layer.parameters())]
    plain = layer(*given)
    expected = torch.autograd.grad(plain.sin().sum(), leaves)
    with run_as(layer, "fp64-sequential"):
        out = layer(*given)
        gradients = torch.autograd.grad(out.sin().sum(), leaves)
    torch.testing.assert_close(out, plain, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gradients, expected, rtol=1e-13, atol=1e-13)


def test_integers_are_multiplied_as_ever():
    model = Computing(lambda _, a: a @ a)
    a = torch.arange(9).view(3, 3)
    with run_as(model, "fp16-sequential"):
        assert torch.equal(model(a), a @ a)


@pytest.mark.parametrize("arithmetic", ["fp32", "fp32-sequential"])
@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(3, 2), (0, 3)), (nn.Conv2d(3, 2, 2), (0, 3, 4, 4))]
)
def test_a_batch_of_nothing_gives_nothing_and_gradients_of_zero(layer, shape, arithmetic):
    layer.zero_grad()
    with run_as(layer, arithmetic):
        out = layer(torch.zeros(shape))
        out.sum().backward()
    assert out.numel() == 0
    assert all(not p.grad.any() for p in layer.parameters())


def test_the_sum_of_one_number_is_that_number():
    model = Computing(lambda _, x: x.sum().sum() + x.mean().mean())
    with run_as(model, "fp32-sequential"):
        assert model(torch.tensor([1.0, 3.0])).item() == 6.0


def test_weights_that_are_only_looked_up_or_joined_are_narrow_too():
    torch.manual_seed(0)
    table = nn.Embedding(5, 4)
    with run_as(table, "bf16-pure"):
        out = table(torch.arange(5))
    assert torch.equal(out, table.weight.bfloat16().float())
    token = Computing(lambda m, x: torch.cat([m.token, x]), token=torch.randn(1, 4))
    with run_as(token, "bf16-pure"):
        assert is_bf16(token(torch.zeros(2, 4)))


@pytest.mark.parametrize(
    ("arithmetic", "kept"), [("bf16", 1 + 2**-9), ("bf16-pure", 1.0), ("fp32", 1 + 2**-9)]
)
def test_what_a_forward_writes_to_a_weight_stays_in_the_format_of_weights(arithmetic, kept):
    def clamped(module, x):
        with torch.no_grad():
            module.weight.clamp_(min=0)
        return x * module.weight

    model = Computing(clamped, weight=torch.tensor([1 + 2**-9, -2.0]))
    with run_as(model, arithmetic):
        out = model(torch.ones(2))
    assert model.weight.tolist() == [kept, 0.0]
    assert out[1].item() == 0.0


def test_weights_kept_narrow_are_not_taken_for_gradients():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16())  # so that keeping them in BF16 changes nothing
    x = torch.randn(2, 4, requires_grad=True)
    mixed = get_arithmetic("fp8")
    found = []
    for arithmetic in (mixed, replace(mixed, weights=BFLOAT16)):
        with run_as(layer, arithmetic):
            found.append(torch.autograd.grad(layer(x).sum(), x)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_a_weight_of_one_number_and_its_states_are_kept_in_the_format(make):
    model = Computing(lambda m, x: x * m.scale, scale=torch.tensor(1.0))
    optimizer = make(model.parameters(), lr=0.01)
    with run_as(model, "bf16-pure"):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([0.3, 0.7])).square().sum().backward()
            optimizer.step()
    assert is_bf16(model.scale.detach())
    states = {k: v for k, v in optimizer.state[model.scale].items() if v is not None}
    assert all(is_bf16(value) for name, value in states.items() if name != "step")


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_a_binary64_model_is_not_left_in_binary64(arithmetic):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(3, 50, dtype=torch.float64)
    with run_as(model, arithmetic):
        out = model(x)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[arithmetic]
    assert torch.equal(out, out.to(dtype).double())
    assert not torch.equal(out, model(x))


def test_sums_of_narrow_operands_are_formed_in_binary32_in_a_binary64_model():
    layer = nn.Linear(2, 1, bias=False).double()
    nn.init.ones_(layer.weight)
    with run_as(layer, "tf32"):
        assert layer(torch.tensor([[1.0, 2.0**-30]], dtype=torch.float64)).item() == 1.0


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch.func itself
def test_derivatives_in_forward_mode_and_second_ones():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = torch.randn(4, dtype=torch.float64)

    def value(point):
        return model(point).sum()

    expected = torch.func.jvp(value, (x,), (x,))[1], torch.func.hessian(value)(x)
    with run_as(model, "fp64-sequential"):
        got = torch.func.jvp(value, (x,), (x,))[1], torch.func.hessian(value)(x)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    with run_as(model, "bf16"):  # a tangent of zero has no memory that could be rounded
        tangent = torch.func.jvp(value, (x,), (x,))[1]
    assert tangent.item() == pytest.approx(expected[0].item(), rel=0.05)


def test_a_product_that_is_not_emulated_is_named_once():
    model = Computing(lambda _, x: torch.fft.rfft(x).abs() + torch.fft.rfft(x).abs())
    with run_as(model, "bf16"), pytest.warns(DeepHochuliWarning, match="_fft_r2c") as said:
        model(torch.ones(8))
    assert len(said) == 1


def test_a_layer_that_two_places_share_answers_to_both_names():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    x = torch.randn(2, 3)
    outputs = []
    for name in ("0", "2"):
        with run_as(model, None, {name: "bf16"}):
            outputs.append(model(x))
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], model(x))
