"""The addends that are gathered are those that torch adds: their sums are its results."""

import pytest
import torch
from torch import nn

from deephochuli.analysis.swamping._capture import Capture

CONVOLUTIONS = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3), (2, 4, 7, 6)),
    "conv3d": (nn.Conv3d(2, 4, 2, padding=1), (2, 2, 4, 3, 4)),
    "groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 5, 5)),
    "stride": (nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(1, 0)), (2, 3, 8, 9)),
    "dilation": (nn.Conv2d(3, 4, 3, dilation=(2, 1), padding=2), (2, 3, 8, 7)),
    "all": (nn.Conv2d(4, 4, 3, stride=2, dilation=2, padding=3, groups=2), (2, 4, 9, 9)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 5, 4)),
    "same": (nn.Conv2d(3, 4, 3, padding="same"), (2, 3, 6, 5)),
    "circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 6, 5)),
    "no bias": (nn.Conv2d(3, 4, 3, bias=False), (2, 3, 6, 5)),
}


def captured(model, x):
    """Sums of the gathered addends of every reduction, the output and the gradients."""
    seen = {}

    def sink(layer, operator, direction, reduction):
        a, b = reduction.gather(torch.arange(reduction.n_outputs))
        assert a.shape == (reduction.n_outputs, reduction.n_addends)
        sums = a.double() if b is None else a.double() * b.double()
        seen.setdefault((layer, reduction.name), []).append(sums.sum(1))

    model = model.double()
    x = x.double().requires_grad_()
    capture = Capture(model, sink)
    capture.places.follow()
    try:
        with capture:
            out = model(x)
            weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).double()
            wanted = [x, *model.parameters()]
            gradients = torch.autograd.grad((out * weights).sum(), wanted)
    finally:
        capture.places.forget()
    names = ["input", *(name for name, _ in model.named_parameters())]
    return seen, out.detach(), dict(zip(names, gradients, strict=True))


def close(sums, tensor):
    (found,) = sums
    return torch.allclose(found, tensor.flatten(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution(name):
    layer, shape = CONVOLUTIONS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    seen, out, gradients = captured(layer, x)
    if layer.bias is not None:
        assert close(seen["", "bias add"], out)
        assert close(seen["", "bias gradient"], gradients["bias"])
        out = out - layer.bias.detach().view(-1, *[1] * (out.dim() - 2))
    assert close(seen["", "forward"], out)
    assert close(seen["", "weight gradient"], gradients["weight"])
    if name != "circular":  # the gradient of the padding comes on top
        assert close(seen["", "input gradient"], gradients["input"])


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer(shape, bias):
    layer = nn.Linear(5, 6, bias=bias)
    seen, out, gradients = captured(layer, torch.randn(shape))
    if bias:
        assert close(seen["", "bias add"], out)
        assert close(seen["", "bias gradient"], gradients["bias"])
    assert close(seen["", "forward"], out - (layer.bias.detach() if bias else 0))
    assert close(seen["", "input gradient"], gradients["input"])
    (weight,) = seen["", "weight gradient"]
    views = (gradients["weight"].flatten(), gradients["weight"].T.flatten())
    assert any(torch.allclose(weight, view) for view in views)


@pytest.mark.parametrize(
    ("layer", "shape", "n_rows"),
    [
        (nn.BatchNorm1d(3), (8, 3, 5), 3),
        (nn.BatchNorm2d(3), (4, 3, 5, 2), 3),
        (nn.LayerNorm((3, 4)), (6, 3, 4), 6),
        (nn.GroupNorm(2, 4), (3, 4, 5, 2), 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_a_normalisation(layer, shape, n_rows):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
    seen, _, gradients = captured(layer, x)
    (mean,), (variance,) = seen["", "mean"], seen["", "variance"]
    x = x.double()
    if isinstance(layer, nn.LayerNorm | nn.GroupNorm):
        flat = x.reshape(n_rows, -1)
    else:
        flat = x.transpose(0, 1).flatten(1)
    assert torch.allclose(mean, flat.sum(1))
    assert torch.allclose(variance, flat.var(1, unbiased=False) * flat.shape[1])
    assert close(seen["", "weight gradient"], gradients["weight"])
    assert close(seen["", "bias gradient"], gradients["bias"])


def test_a_normalisation_that_only_applies_its_averages_has_no_sums():
    seen, _, _ = captured(nn.BatchNorm1d(3).eval(), torch.randn(8, 3))
    assert not {name for _, name in seen} & {"mean", "variance"}


class Residual(nn.Module):
    """Adds what it got to what it made, once in place."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        out = self.inner(x) + x
        self.first = out.detach().clone()
        out += x
        return out


def test_residual_additions_and_joints_of_gradients():
    model = Residual()
    seen, out, _ = captured(model, torch.randn(3, 4))
    first, second = seen["", "residual add"]
    assert torch.allclose(first, model.first.flatten())
    assert torch.allclose(second, out.flatten())


def test_products_of_activations():
    class Scores(nn.Module):
        def forward(self, x):
            return x @ x.transpose(-1, -2)

    seen, out, _ = captured(Scores(), torch.randn(2, 3, 4))
    assert close(seen["", "forward"], out)
