"""What an output was computed from, structural outputs, and origins."""

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.analysis.barrier import count, counted
from deephochuli.analysis.barrier._count import by_channel, near_threshold
from deephochuli.analysis.barrier._operands import operands_of

# torch says that it copies the input for a kernel of even length, which is what is to be followed.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

LAYERS = {
    "linear": (nn.Linear(7, 5), (6, 3, 7)),
    "conv1d": (nn.Conv1d(2, 4, 3, stride=2, padding=1), (3, 2, 11)),
    "conv2d": (
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1)),
        (2, 4, 7, 8),
    ),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, bias=False), (2, 4, 5, 6)),
    "same": (nn.Conv2d(3, 2, (4, 3), padding="same", dilation=(1, 2)), (2, 3, 6, 5)),
    "circular": (nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), (2, 3, 6, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2, padding="valid"), (2, 2, 4, 3, 5)),
    "one example": (nn.Conv2d(2, 3, 3), (2, 6, 6)),
}


def called(name, seed=0, holes=0.0):
    layer, shape = LAYERS[name]
    layer = layer.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        x[torch.rand(shape, generator=generator) < holes] = 0
        return layer, x, layer(x)


def everywhere(layer, x, z):
    operands = operands_of(layer, x, z)
    flat = by_channel(z, len(operands.places))
    index = np.unravel_index(np.arange(flat.numel()), flat.shape)
    return operands, flat, operands.at(*index)


@pytest.mark.parametrize("name", LAYERS)
def test_every_output_is_the_sum_of_its_products(name):
    layer, x, z = called(name)
    _, flat, sources = everywhere(layer, x, z)
    assert np.allclose(sources.exact, flat.reshape(-1).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("pruned", [False, True])
def test_structural_outputs_are_those_without_a_nonzero_product(name, pruned):
    layer, x, z = called(name, holes=0.93)
    if pruned:
        with torch.no_grad():
            layer.weight[torch.rand(layer.weight.shape) < 0.5] = 0
    operands, flat, sources = everywhere(layer, x, layer(x).detach() if pruned else z)
    mask = operands.structural()
    has_product = ((sources.inputs != 0) & (sources.weights != 0)).any(1)
    expected = ~has_product.reshape(flat.shape)
    assert expected.any()
    assert np.array_equal(mask.expand(flat.shape).numpy(), expected)
    tally = count(flat, near_threshold(flat), 64, operands=operands)
    assert tally.n_structural.tolist() == expected.sum((0, 2)).tolist()
    assert (tally.n + tally.n_structural).tolist() == [flat[:, 0].numel()] * flat.shape[1]
    values = flat.abs().numpy()[~expected]
    assert tally.near.sum() == (values < tally.near_below).sum()
    assert tally.blocks.size.sum() == tally.n.sum()


def test_exact_values_are_multiples_of_the_grid_of_their_operands():
    layer, x, _ = called("linear")
    with torch.no_grad():
        layer.weight.copy_((layer.weight * 8).round() / 8)
        x = (x * 16).round() / 16
    _, _, sources = everywhere(layer, x, layer(x).detach())
    assert sources.grid.max() < 2.0**-20  # that of the biases, which are not coarse
    layer.bias.data.zero_()
    _, _, sources = everywhere(layer, x, layer(x).detach())
    for grid, row in zip(sources.grid, sources.inputs * sources.weights, strict=True):
        assert not np.remainder(row, grid).any()
        assert np.remainder(row, 2 * grid).any()


def test_equal_inputs_have_one_origin_whatever_the_channel_or_the_sign_of_zero():
    layer, x, z = called("linear")
    x[1] = x[0]
    x[0, 0, 0], x[1, 0, 0] = 0.0, -0.0
    _, _, sources = everywhere(layer, x, z)
    origin = sources.origin.reshape(6, 3, 5)
    assert (origin == origin[:, :, :1]).all()
    assert (origin[0] == origin[1]).all()
    assert len(np.unique(origin)) == 15


def test_the_threshold_is_a_power_of_two_below_a_sixteenth_of_the_rms():
    z = 3.0 * torch.randn(10000, generator=torch.Generator().manual_seed(0))
    assert near_threshold(z) == 2.0**-3
    assert near_threshold(torch.zeros(3)) == near_threshold(torch.zeros(0)) == 2.0**-1022


def test_a_call_more_keeps_no_more_than_before():
    layer, x, z = called("linear")
    first = counted(layer, x, z, 8.0, 16, None)
    again = counted(layer, x, z, 8.0, 16, first)
    assert again.n.tolist() == (2 * first.n).tolist()
    assert again.small.magnitude.tolist() == first.small.magnitude.tolist()
    assert again.small.times.tolist() == [2] * len(first.small)
