"""Modules become programs that compute the same, and what cannot is refused by name."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deephochuli.errors import PiecesError
from deephochuli.pieces import count, count_path
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._trace import trace


class Functional(nn.Module):
    """Everything that is written without modules."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.slope = nn.Parameter(torch.rand(3))

    def forward(self, x):
        y = torch.relu(x @ self.weight.t()) + 0.5 * x - 1
        y = 1 - y / 3
        y = torch.cat([y, -x], dim=1).view(x.size(0), 3, 4).permute(0, 2, 1).transpose(1, 2)
        y = functional.prelu(y, self.slope)
        y = functional.leaky_relu(y, 0.2).abs() - y.clamp(min=-0.2, max=0.7)
        y = torch.maximum(y, y.mean(dim=2, keepdim=True)) + y.max(dim=2, keepdim=True)[0]
        y = functional.hardsigmoid(y) + functional.relu6(y) + functional.softshrink(y, 0.1)
        y += y.clamp_max(0.3)
        y.mul_(2)
        first, second = y.chunk(2, dim=2)
        return torch.sub(first, second, alpha=2).flatten(1)


class Product(Functional):
    """The same, and a product at its end, which is not piecewise linear."""

    def forward(self, x):
        y = super().forward(x)
        return y.sum(dim=1, keepdim=True) * y


class Products(Functional):
    """Other ways of writing products with constants."""

    def forward(self, x):
        y = torch.addmm(self.weight[0], x, self.weight)
        y = functional.pad(y, (1, 2)).unsqueeze(1).squeeze(1)
        return y[:, ::2] - functional.hardtanh(y[:, 4:], -0.3, 0.4).sum(-1, keepdim=True)


class Residual(nn.Module):
    """A block with batch norm and a shortcut, in place where it can be."""

    def __init__(self, n):
        super().__init__()
        self.conv = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(n)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.norm(self.conv(x)) + x)


def image_net(*layers):
    return nn.Sequential(*layers), (2, 9, 8)


MODELS = {
    "functional": lambda: (Functional(), (6,)),
    "products": lambda: (Products(), (6,)),
    "convolutions": lambda: image_net(
        nn.Conv2d(2, 4, 3, stride=2, padding=(1, 2), dilation=(2, 1), groups=2),
        nn.ReLU(),
        nn.Conv2d(4, 3, (1, 2), padding="same"),
        nn.Flatten(),
    ),
    "pooling": lambda: image_net(
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(2, 1, 1, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.MaxPool2d(2, 1, dilation=1),
    ),
    "sequences": lambda: (
        nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.MaxPool1d(2, padding=1), nn.AvgPool1d(2), nn.BatchNorm1d(4)
        ),
        (2, 12),
    ),
    "volumes": lambda: (
        nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU6(), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1)),
        (1, 5, 4, 4),
    ),
    "residual": lambda: image_net(nn.Conv2d(2, 4, 1), Residual(4), nn.AdaptiveAvgPool2d(1)),
    "tokens": lambda: (nn.Sequential(nn.Linear(4, 3), nn.Hardtanh(), nn.Linear(3, 2)), (5, 4)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", MODELS)
def test_a_program_computes_what_its_module_does(name):
    torch.manual_seed(0)
    model, shape = MODELS[name]()
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(7, *shape, dtype=torch.float64)
    program = trace(model, x, None, HANDLERS)
    with torch.no_grad():
        expected = model.double()(x).reshape(7, -1).numpy()
    np.testing.assert_allclose(program.evaluate(x.reshape(7, -1).numpy()), expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", MODELS)
def test_bounds_hold_and_the_exact_count_is_one_of_those_possible(name):
    torch.manual_seed(1)
    model, shape = MODELS[name]()
    model.eval()
    generator = torch.Generator().manual_seed(3)
    x0, x1 = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    plain, exact = count(model, x0, x1), count(model, x0, x1, exact=True)
    assert exact.is_certain
    assert exact.n_regions in plain.regions
    assert exact.n_pieces in plain.pieces


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.GELU()), "pieces of '1': 'gelu' is not among"),
        (Product(), "a product of two tensors"),
        (nn.Sequential(nn.BatchNorm1d(3)), r"'0' \(BatchNorm1d\) is in training mode"),
        (nn.Sequential(nn.Dropout(0.1)), r"'0' \(Dropout\) is in training mode, where it is ran"),
        (nn.LayerNorm(3), "'layer_norm' is not among"),
    ],
)
def test_what_is_not_piecewise_linear_is_refused_by_name(model, message):
    n = 6 if isinstance(model, Product) else 3
    with pytest.raises(PiecesError, match=message):
        count(model, torch.zeros(n), torch.ones(n))


class Calls(nn.Module):
    """A module that does what it is told."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def assigned(x):
    y = torch.zeros(1, 3, dtype=x.dtype)
    y[0] = x[0]
    return y


def added_to_a_constant(x):
    y = torch.zeros(1, 3, dtype=x.dtype)
    y += x
    return y


def changed_behind_a_view(x):
    y = x + 0
    view = y[:, :2]
    y.mul_(2)
    return view + 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x, "'gt' is not among"),
        (lambda x: x * 2 if float(x[0, 0]) > 0 else x, "is not among"),
        (assigned, "'__setitem__' is not among"),
        (added_to_a_constant, "'add_' on a tensor that does not follow from the input"),
        (changed_behind_a_view, "changed in place behind a view"),
        (lambda x: torch.ones(3), "does not follow from the input"),
        (lambda x: (x, 2 * x), "returns 2 tensors"),
        (lambda x: x * torch.rand(1, dtype=x.dtype), "not compute the same function"),
        (lambda x: torch.relu(x, out=torch.zeros(1, 3)), "TypeError"),
    ],
)
def test_what_cannot_be_followed_is_refused(function, message):
    with pytest.raises(PiecesError, match=message):
        count(Calls(function), torch.zeros(3), torch.ones(3))


def bad(value):
    layer = nn.Linear(3, 3)
    layer.weight.data[0, 0] = value
    return nn.Sequential(layer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value):
    with pytest.raises(
        PiecesError, match=r"'0\.weight' holds 1 of 9 numbers that are NaN or infin"
    ):
        count(bad(value), torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize(
    ("x0", "x1", "message"),
    [
        (torch.zeros(3), torch.zeros(3), "the same point"),
        (torch.zeros(3), torch.zeros(4), r"different shapes: \(3,\) and \(4,\)"),
        (torch.zeros(4), torch.ones(4), r"does not accept an input of shape \(4,\)"),
        (torch.zeros(3), torch.full((3,), float("nan")), "NaN or infinity"),
    ],
)
def test_ends_that_make_no_segment_are_refused(x0, x1, message):
    with pytest.raises(PiecesError, match=message):
        count(nn.Linear(3, 3), x0, x1)


def test_a_path_needs_two_points_and_a_layer_its_name():
    with pytest.raises(PiecesError, match="two points or more; got 1"):
        count_path(nn.ReLU(), [torch.zeros(1)])
    model = nn.Sequential()
    model.add_module("fc1", nn.ReLU())
    with pytest.raises(PiecesError, match=r"no layer 'fc'.*Did you mean 'fc1'"):
        count(model, torch.zeros(1), torch.ones(1), layer="fc")


def test_outputs_that_cancel_are_no_mismatch():
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        weight = torch.rand(32, 1, generator=rng, dtype=torch.float64) + 0.1
        bias, last = torch.rand(2, 32, generator=rng, dtype=torch.float64)
        other = torch.randperm(32, generator=rng)
        model = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 1, bias=False)).double()
        with torch.no_grad():
            model[0].weight.copy_(torch.cat([weight, weight[other]]))
            model[0].bias.copy_(torch.cat([bias, bias[other]]))
            model[2].weight.copy_(torch.cat([last, -last[other]])[None])
        assert count(model, torch.tensor([0.1]), torch.tensor([0.9])).n_regions == 1
