"""Tensors of every kind pass through a model; the training must not notice that it is looked at."""

import warnings
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.errors import DeepHochuliWarning
from deephochuli.record import record
from deephochuli.store import open_run
from tests.faults.training import EVERYTHING, bits, mostly_slow

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Output:
    logits: torch.Tensor
    extra: object = None


class Deep(dict):
    """A mapping that holds itself."""

    def __init__(self, x):
        super().__init__(x=x)
        self["self"] = self


class Hostile(dict):
    """A mapping that cannot be read."""

    def items(self):
        raise RuntimeError("no")


def special(value):
    def change(x):
        x = x.clone()
        x[0, 0] = value
        return x

    return change


# What a layer does to its input before it hands it on: every kind of value, shape and layout.
INPUTS = {
    "plain": lambda x: x,
    "NaN": special(float("nan")),
    "infinite": special(float("inf")),
    "minus infinite": special(float("-inf")),
    "subnormal": lambda x: x * 1e-42,
    "huge": lambda x: x * 1e38,
    "zeros": lambda x: x * 0.0,
    "empty batch": lambda x: x[:0],
    "one row": lambda x: x[:1],
    "0-d": lambda x: x.sum(),
    "1-d": lambda x: x[0],
    "5-d": lambda x: x[None, None, None],
    "transposed": lambda x: x.t().contiguous().t(),
    "strided": lambda x: x.repeat(1, 2)[:, ::2],
    "expanded": lambda x: x[:1].expand(4, 4),
    "broadcast scalar": lambda x: x.sum().expand(4, 4),
    "overlapping": lambda x: x.reshape(-1).as_strided((4, 4), (1, 1)),
    "view with an offset": lambda x: torch.cat([x, x]).narrow(0, 1, 4),
    "float64": lambda x: x.double(),
    "bfloat16": lambda x: x.bfloat16(),
    "float16": lambda x: x.half(),
    "detached": lambda x: x.detach(),
    "leaf": lambda x: x.detach().requires_grad_(),
    "negative view": lambda x: torch.view_as_complex(x.view(4, 2, 2)).conj().imag.repeat(1, 2),
    "parameter": lambda x: nn.Parameter(x.detach().clone()),
}


class Passes(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.first, self.change, self.relu = nn.Linear(4, 4), change, nn.ReLU()

    def forward(self, x):
        y = self.relu(self.change(self.first(x)))
        return F.gelu(y).float().sum() + self.first(x).square().mean()


# What a model returns beside its loss.
OUTPUTS = {
    "tuple": lambda x: (x, x),
    "named tuple": lambda x: Pair(x, x),
    "dict": lambda x: {"x": x, 3: x},
    "dataclass": lambda x: Output(x, {"deep": [x, (x,)]}),
    "dataclass type": lambda x: Output,
    "None": lambda x: None,
    "text": lambda x: "text",
    "number": lambda x: 3.0,
    "nested": lambda x: [[[[[[[x]]]]]]],
    "holds itself": Deep,
    "cannot be read": lambda x: Hostile(x=x),
    "generator": lambda x: (part for part in (x, x)),
    "complex": lambda x: torch.complex(x, x),
    "integers": lambda x: x.long(),
    "bools": lambda x: x > 0,
    "sparse": lambda x: x.to_sparse(),
    "sparse rows": lambda x: x.detach().to_sparse_csr(),
    "quantized": lambda x: torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8),
    "meta": lambda x: torch.empty(4, 4, device="meta"),
    "nested tensor": lambda x: torch.nested.nested_tensor([x.detach()[0], x.detach()[1, :2]]),
    "jagged": lambda x: torch.nested.nested_tensor([x.detach()], layout=torch.jagged),
    "float8 e4m3fn": lambda x: x.detach().to(torch.float8_e4m3fn),
    "float8 e5m2": lambda x: x.detach().to(torch.float8_e5m2),
    "float8 e8m0": lambda x: x.detach().abs().to(torch.float8_e8m0fnu),
    "subclass": lambda x: x.as_subclass(type("Own", (torch.Tensor,), {})),
    "inference": lambda x: x.detach().clone(),
    "mkldnn": lambda x: x.detach().to_mkldnn(),
    "uninitialized": lambda x: nn.UninitializedParameter(),
    "huge list": lambda x: [x.detach()] * 300,
}


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.first, self.inner = nn.Linear(4, 4), Makes(make)

    def forward(self, x):
        y = torch.tanh(self.first(x))
        return y.sum(), self.inner(y)


class Makes(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.make(x * self.weight)


def train(model, recording=None, optimizer=None, n_steps=3):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    for i in range(n_steps):
        x = torch.randn(4, 4, generator=torch.Generator().manual_seed(i))
        loss = model(x)
        loss = loss[0] if isinstance(loss, tuple) else loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.detach().clone() for p in model.parameters()]


def same(one, other):
    losses = bits(torch.tensor(one[0])) == bits(torch.tensor(other[0]))
    return losses and all(bits(a) == bits(b) for a, b in zip(one[1], other[1], strict=True))


def check(tmp_path, build, most=0, **options):
    """Train with and without a recording; return what was said."""
    torch.manual_seed(0)
    expected = train(build())
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with record(model, optimizer, to=tmp_path / "run", select=EVERYTHING, **options):
            found = train(model, optimizer=optimizer)
    assert same(found, expected)
    said = [str(w.message) for w in caught if w.category is DeepHochuliWarning]
    assert len(said) <= most, said
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]
    return said


@pytest.mark.parametrize("name", mostly_slow(INPUTS))
@pytest.mark.filterwarnings("ignore:.*quantize:DeprecationWarning")
def test_what_goes_into_an_activation(tmp_path, name):
    assert check(tmp_path, lambda: Passes(INPUTS[name])) == []


@pytest.mark.parametrize("name", mostly_slow(OUTPUTS))
@pytest.mark.filterwarnings("ignore")  # torch calls some of these layouts prototypes
def test_what_a_layer_returns(tmp_path, name):
    said = check(tmp_path, lambda: Returns(OUTPUTS[name]), most=1)
    assert bool(said) == (name == "cannot be read"), said


class Gradients(nn.Module):
    """A layer whose gradient is replaced by something else on its way."""

    def __init__(self, change):
        super().__init__()
        self.first, self.relu, self.change = nn.Linear(4, 4), nn.ReLU(), change
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        y = self.first(x)
        y.register_hook(self.change)
        return self.relu(y).sum()


GRADIENTS = {
    "left alone": lambda g: None,
    "NaN": lambda g: g * float("nan"),
    "infinite": lambda g: g * float("inf"),
    "zero": lambda g: g * 0,
    "subnormal": lambda g: g * 1e-42,
    "strided": lambda g: g.t().contiguous().t(),
    "expanded": lambda g: g[:1].expand(4, 4),
}


@pytest.mark.parametrize("name", mostly_slow(GRADIENTS))
def test_gradients(tmp_path, name):
    assert check(tmp_path, lambda: Gradients(GRADIENTS[name])) == []


class Frozen(nn.Module):
    """Parameters of every dtype and shape that do not want a gradient, and one that does."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.relu = nn.ReLU()
        self.kept = nn.ParameterList(
            nn.Parameter(value, requires_grad=False)
            for value in (
                torch.ones(3, dtype=torch.int64),
                torch.ones(3, dtype=torch.complex64),
                torch.ones(0),
                torch.tensor(2.0),
                torch.ones(3).to(torch.float8_e4m3fn),
                torch.ones(2, 2, dtype=torch.bool),
                torch.eye(3).to_sparse(),
            )
        )

    def forward(self, x):
        return self.relu(self.first(x)).sum()


def test_parameters_of_every_kind(tmp_path):
    def build():
        return Frozen()

    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.first.parameters(), 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record(model, optimizer, to=tmp_path / "run", select=EVERYTHING):
            losses, _ = train(model, optimizer=optimizer)
    torch.manual_seed(0)
    model = build()
    assert train(model, optimizer=torch.optim.SGD(model.first.parameters(), 0.01))[0] == losses
