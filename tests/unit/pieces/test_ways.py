"""Functions that are written in odd ways have the pieces of the same function written plainly."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.errors import PiecesError
from deephochuli.pieces import count, plane
from deephochuli.pieces._affine import Conv
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._norms import norms_of
from deephochuli.pieces._trace import trace


class Calls(nn.Module):
    """A module that does what it is told, with a convolution of coarse numbers."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(1, 2, 2, bias=False, dtype=torch.float64)
        generator = torch.Generator().manual_seed(4)
        numbers = torch.randn(2, 1, 2, 2, generator=generator, dtype=torch.float64)
        self.conv.weight.data = (numbers * 2).round() / 2

    def forward(self, x):
        return self.function(self.conv, x)


def images(coarse):
    """Two images; coarse ones make bends meet, so that places are open."""
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return (x * 2).round() / 2 if coarse else x


def patches(conv, x):
    return conv(x.reshape(4, 1, 4, 4)).relu().reshape(1, -1)


def patches_one_by_one(conv, x):
    parts = x.reshape(4, 1, 4, 4)
    return torch.cat([conv(parts[i : i + 1]).relu().reshape(1, -1) for i in range(4)], 1)


PAIRS = {
    "patches": (patches, patches_one_by_one),
    "no batch": (lambda conv, x: conv(x[0]).relu(), lambda conv, x: conv(x).relu()),
    "max-pooling without batch": (
        lambda conv, x: F.max_pool2d(conv(x)[0], 2, ceil_mode=True),
        lambda conv, x: F.max_pool2d(conv(x), 2, ceil_mode=True),
    ),
    "pooling without batch": (
        lambda conv, x: F.avg_pool2d(conv(x)[0], 2, 1).relu(),
        lambda conv, x: F.avg_pool2d(conv(x), 2, 1).relu(),
    ),
    "adaptive pooling without batch": (
        lambda conv, x: F.adaptive_avg_pool2d(conv(x)[0], (3, None)).relu(),
        lambda conv, x: F.adaptive_avg_pool2d(conv(x), (3, 7)).relu(),
    ),
    "names of numpy": (
        lambda conv, x: torch.max(conv(x), axis=2)[0].sum(axis=1, keepdims=True).relu(),
        lambda conv, x: torch.max(conv(x), 2)[0].sum(1, True).relu(),
    ),
    "names of arguments": (
        lambda conv, x: torch.relu(input=torch.flatten(input=conv(x), start_dim=1)),
        lambda conv, x: conv(x).flatten(1).relu(),
    ),
    "maximum": (
        lambda conv, x: torch.max(conv(x), other=-x[:, :, 1:, 1:]),
        lambda conv, x: torch.maximum(conv(x), -x[:, :, 1:, 1:]),
    ),
    "no dimension": (
        lambda conv, x: conv(x).relu().sum(dim=()) + conv(x).amax(dim=()),
        lambda conv, x: conv(x).relu().sum() + conv(x).amax(),
    ),
    "bounds at infinity": (
        lambda conv, x: F.hardtanh(conv(x).clamp(-1, math.inf), -math.inf, 2.0),
        lambda conv, x: conv(x).clamp(min=-1).clamp(max=2.0),
    ),
    "constants like the input": (
        lambda conv, x: conv(x + torch.ones_like(x) * torch.ones(1).to(x).expand_as(x)).relu(),
        lambda conv, x: conv(x + 1).relu(),
    ),
    "no bounds": (
        lambda conv, x: conv(x).clamp(-math.inf).relu(),
        lambda conv, x: conv(x).relu(),
    ),
}


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_both_ways_have_the_same_pieces(name, coarse):
    odd, plain = (Calls(each) for each in PAIRS[name])
    ends = images(coarse)
    found, expected = count(odd, *ends), count(plain, *ends)
    assert expected.n_regions > 5
    assert expected.n_regions in found.regions
    assert expected.n_pieces in found.pieces
    found, expected = count(odd, *ends, exact=True), count(plain, *ends, exact=True)
    assert (found.n_regions, found.n_pieces) == (expected.n_regions, expected.n_pieces)
    np.testing.assert_allclose(found.t, expected.t, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.is_bend, expected.is_bend)


def test_several_images_have_a_bound_for_each_of_their_units():
    program = trace(Calls(patches), images(coarse=False), None, HANDLERS)
    (op,) = (step.op for step in program.steps if isinstance(step.op, Conv))
    matrix = op.linear([np.eye(64)])
    norms = norms_of(op)
    np.testing.assert_allclose(norms.unit, np.linalg.norm(matrix, axis=0), rtol=1e-5)
    assert matrix.shape == (64, op.size)
    assert np.linalg.norm(matrix, 2) <= norms.spectral


@pytest.mark.parametrize("divisor", [3.0, 0.3, -7.0, torch.tensor(0.1), 6])
def test_a_quotient_by_one_number_is_not_rounded(divisor):
    # x / d - x / d' with d = 2 d' is a multiple of x / d, and adding it twice leaves nothing.
    def nothing(conv, x):
        return torch.relu(x / divisor + x / divisor - x / (divisor * 0.5))

    x0, x1 = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, -1.0])
    assert count(Calls(nothing), x0, x1, exact=True).n_regions == 1
    found = count(Calls(lambda conv, x: torch.relu(x / divisor)), x0, x1)
    np.testing.assert_allclose(found.t, [0.25, 2 / 3], rtol=1e-15)


@pytest.mark.slow  # loads the compiler
def test_a_compiled_module_has_the_pieces_of_the_module():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    x0, x1 = torch.full((3,), -1.0), torch.ones(3)
    compiled = torch.compile(module, backend="eager")
    np.testing.assert_array_equal(count(compiled, x0, x1).t, count(module, x0, x1).t)


def test_numbers_that_lie_columnwise_are_counted():
    # The largest along the channels lies columnwise, and one more column fills a block of eight.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(2, 2, 7, dtype=torch.float64)
    found = count(Calls(lambda conv, x: model(x.amax(1))), *x)
    also = count(Calls(lambda conv, x: model(torch.maximum(x[:, 0], x[:, 1]))), *x)
    np.testing.assert_allclose(found.t, also.t, atol=1e-14)


class Halves(nn.Module):
    """Two linear layers, whose numbers are used as they are told."""

    def __init__(self, function):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.first, self.second = nn.Linear(3, 8).double(), nn.Linear(8, 8).double()
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def with_a_head_that_nobody_reads(halves, x):
    y = halves.first(x).relu()
    halves.second(0 * y)  # has one piece
    return y


@pytest.mark.parametrize(
    ("function", "plain"),
    [
        (with_a_head_that_nobody_reads, lambda halves, x: halves.first(x).relu()),
        (
            lambda halves, x: halves.second((z := halves.first(x)).relu() - 0.5 * z).relu(),
            lambda halves, x: halves.second(0.5 * halves.first(x).abs()).relu(),
        ),
    ],
)
def test_what_is_read_twice_or_never_is_kept_or_passed_over(function, plain):
    x0, x1 = torch.tensor([[-2.0, 1.0, 0.5], [2.0, -1.0, 1.5]])
    found, expected = count(Halves(function), x0, x1), count(Halves(plain), x0, x1)
    assert found.n_regions == expected.n_regions > 3
    assert found.n_pieces == expected.n_pieces
    np.testing.assert_allclose(found.t, expected.t, atol=1e-14)


def test_a_function_without_breakpoints_has_no_outputs_at_them():
    found = count(nn.Linear(3, 2), torch.zeros(3), torch.ones(3))
    assert found.evaluate(found.t).shape == (0, 2)


def folded(x):
    return (0.2 - (x[0] - 0.3).abs()).relu()  # zero at 0, at 0.625 and at 1, and not between


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.max(1)[0] + torch.tensor([0.0])[x.max(1)[1]], "the place of the largest"),
        (lambda x: (x * 2**20).to(torch.int32) / 2**20, "'to' with a result of torch.int32"),
        (lambda x: (x * 2**20).type(torch.int64) / 2**20, "'type' with a result of torch.int64"),
        (lambda x: F.linear(x, torch.ones(1, 1).to(x), folded(x)), "a bias that follows"),
        (lambda x: F.conv1d(x[None], torch.ones(1, 1, 1).to(x), folded(x)), "a bias that follows"),
        (lambda x: F.prelu(x - 0.5, folded(x)), "a product of two tensors"),
        (
            lambda x: F.batch_norm(x, torch.zeros(1).to(x), torch.ones(1).to(x), None, folded(x)),
            "a product of two tensors",
        ),
        (lambda x: F.linear(torch.ones(1, 1).to(x), x), "a product of two tensors"),
        (lambda x: x / torch.zeros(1), "a quotient by zero"),
        (lambda x: x.clamp(2.0, 1.0), r"constant, from 2\.0 to 1\.0"),
        (lambda x: x * 1e100 * 1e100 * 1e100 * 1e100, "too large for float64"),
        (lambda x: ((x * 1e-170) * 1e-170).relu() * 1e300, "smaller than 1e-140"),
        (lambda x: torch.cumsum(x, 1), "'cumsum' is not among"),
    ],
)
def test_what_would_be_counted_wrongly_is_refused(function, message):
    with pytest.raises(PiecesError, match=message):
        count(Calls(lambda conv, x: function(x)), torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(3)), r"'0\.weight' has no shape before"),
        (lambda: Calls(each for each in []), "cannot be copied.*TypeError"),
    ],
)
def test_models_that_cannot_be_copied_or_have_no_numbers_are_refused(model, message):
    with pytest.raises(PiecesError, match=message):
        count(model(), torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize(
    ("x1", "message"),
    [
        (torch.tensor([1j, 1.0]), "is complex"),
        (torch.tensor([1e200, 1.0], dtype=torch.float64), "squares do not fit"),
    ],
)
def test_ends_that_are_no_places_are_refused(x1, message):
    with pytest.raises(PiecesError, match=message):
        count(nn.ReLU(), torch.zeros(2), x1)
    with pytest.raises(PiecesError, match=message):
        plane(nn.ReLU(), torch.zeros(2), torch.ones(2), x1)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.125)])
def test_units_that_bend_at_one_place_make_one_breakpoint_though_each_is_rounded(activation):
    """Multiples of one unit cross zero together, and float64 puts them some last bits apart."""
    apart = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weight, factors = rng.integers(-999, 999, 5) / 64, np.arange(1.0, 25.0)
        layer = nn.Linear(5, 24, dtype=torch.float64)
        layer.weight.data = torch.from_numpy(factors[:, None] * weight)
        x0, x1 = rng.standard_normal((2, 5))
        middle = float((weight @ (x0 + x1) / 2).round(3))
        layer.bias.data = torch.from_numpy(-factors * round(middle * 64) / 64)
        ends = torch.from_numpy(x0), torch.from_numpy(x1)
        model = nn.Sequential(layer, activation, nn.Linear(24, 1, dtype=torch.float64))
        found = count(model, *ends)
        z = (layer(torch.stack(ends))).detach().numpy()
        apart += len(set((z[0] / (z[0] - z[1])).tolist())) > 1
        assert (found.n_regions, count(model, *ends, exact=True).n_regions) == (2, 2)
    assert apart > 4
