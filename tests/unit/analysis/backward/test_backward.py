"""The whole look at a backward pass, on models whose gradients are known."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.analysis.backward import backward
from deephochuli.analysis.compare import executor_of
from deephochuli.analysis.underflow import MARGIN_BINADES, limiting_scale
from deephochuli.errors import ArithmeticSpecError, CompareError
from deephochuli.formats import get_format

torch.set_num_threads(1)


def deep(n_layers=12, width=24, seed=0):
    """Linear layers as torch initialises them: gradients decay by 0.4 a layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for _ in range(n_layers):
            layers += [nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, 1))


def batch(n, width, seed=1):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_half_precision_by_hand():
    """One linear layer: the chain of roundings written down with NumPy's float16."""
    model, x, factor = nn.Linear(6, 3, bias=False), batch(4, 6), 2.0**-22
    found = backward(model, x, ["fp16"], loss=lambda z: (z * z).sum() * factor, n_outputs=0)
    (row,) = found.of("fp16", tensor="weight")
    w, x16 = model.weight.detach().numpy().astype(np.float16), x.numpy().astype(np.float16)
    z = (x16.astype(np.float32) @ w.T.astype(np.float32)).astype(np.float16)
    dz = (2 * z.astype(np.float32) * np.float32(factor)).astype(np.float16)
    g = (dz.T.astype(np.float32) @ x16.astype(np.float32)).astype(np.float16)
    exact = (
        2 * factor * (x.double() @ model.weight.double().T).T.detach().numpy() @ x.double().numpy()
    )
    assert row.fate.lost == int(((g == 0) & (exact != 0)).sum())
    assert row.judged.rms == pytest.approx(math.sqrt((g.astype(np.float64) ** 2).mean()), rel=1e-12)
    assert row.exact.rms == pytest.approx(math.sqrt((exact**2).mean()), rel=1e-12)
    scale = np.linalg.norm(g.astype(np.float64)) / np.linalg.norm(exact)
    assert row.likeness.scale.value == pytest.approx(scale, rel=1e-9)


def test_vanishing_to_a_format_and_vanishing_by_itself_are_told_apart():
    x = batch(16, 24)
    found = backward(deep(), x, ["fp32", "fp16"], loss=lambda z: z.mean(), n_outputs=0)
    first = {name: found.of(name, "0", "weight")[0] for name in ("fp32", "fp16")}
    assert first["fp32"].vanishing == "ordinary"
    assert first["fp16"].vanishing == "both"
    assert first["fp16"].decay == first["fp32"].decay < -10
    last = found.of("fp16", "24", "weight")[0]
    assert (last.vanishing, last.decay) == ("no", 0.0)
    shallow = backward(deep(1), x, ["fp16"], loss=lambda z: z.mean() * 2**-20, n_outputs=0)
    assert shallow.of("fp16", "0", "weight")[0].vanishing == "microscopic"
    kinds = {each.kind for each in found.findings}
    assert {"gradient-underflow", "vanishing-gradient"} <= kinds


def test_losses_are_put_where_they_arise():
    """Tiny gradients arrive as zeros: only the layer next to the loss loses them itself."""
    found = backward(deep(3), batch(16, 24), ["fp16"], loss=lambda z: z.sum() * 2**-26, n_outputs=0)
    last, first = found.of("fp16", "6", "input")[0], found.of("fp16", "0", "weight")[0]
    assert last.fate.rounded == last.fate.lost > 0.9 * last.fate.n_nonzero
    assert first.fate.rounded == first.fate.inside == 0
    assert first.fate.inherited == first.fate.lost > 0


def test_what_the_forward_decides_is_no_underflow():
    """BF16 rounds -1 + 2^-10 to -1, so that the unit is silent and hands nothing down."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    nn.init.constant_(model[0].weight, 1.0)
    x = torch.tensor([[1.0, -1 + 2.0**-10], [1.0, 1.0]])
    found = backward(model, x, ["bf16"], loss=lambda z: z.sum(), n_outputs=0)
    (row,) = found.of("bf16", "1", "input")
    assert (row.fate.n_nonzero, row.fate.lost, row.fate.decided) == (2, 1, 1)
    assert (row.fate.vanished, row.vanishing) == (0, "no")
    # The gradient by the last weight is not lost: the other sample gives some.
    assert found.of("bf16", "2", "weight")[0].fate.lost == 0


def test_operands_of_eight_bits_are_lost_inside_products():
    found = backward(
        nn.Linear(8, 4), batch(16, 8), ["fp8"], loss=lambda z: z.sum() * 2**-20, n_outputs=0
    )
    (row,) = found.of("fp8", tensor="weight")
    assert row.fate.inside == row.fate.lost == 32
    assert found.of("fp8", tensor="bias")[0].fate.lost == 0  # no product, and BF16 holds it


def test_the_exact_arithmetic_loses_nothing():
    found = backward(deep(2), batch(16, 24), ["fp64"], loss=lambda z: z.sum() * 2.0**-300)
    for row in found.rows:
        assert row.fate.lost == row.fate.nonfinite == 0
        assert row.likeness.cosine.value == row.likeness.scale.value == 1
    assert not found.findings


@pytest.mark.parametrize("factor", [2.0**-24, 2.0**10])
def test_a_loss_scale_within_the_window_rescues_and_beyond_it_overflows(factor):
    model, x = deep(2), batch(16, 24)

    def look(scale):
        return backward(
            model, x, ["fp16"], loss=lambda z: z.sum() * factor, scale=scale, n_outputs=0
        )

    plain = look(1.0)
    window = plain.scales["fp16"]
    lost = sum(row.fate.lost for row in plain.rows)
    assert (lost > 1000) == (factor < 1)
    rescued = look(max(1.0, window.lowest))
    assert sum(row.fate.lost for row in rescued.rows) <= max(5, 0.1 * lost)
    assert not any(row.fate.nonfinite for row in look(window.highest / 2).rows)
    beyond = look(window.highest * 4)
    assert any(row.fate.nonfinite for row in beyond.rows)
    assert "gradient-overflow" in {each.kind for each in beyond.findings}
    # Sizes are those without the scale.
    for one, other in zip(plain.rows, rescued.rows, strict=True):
        assert one.exact.rms == pytest.approx(other.exact.rms, rel=1e-12)


def test_the_highest_scale_is_that_of_a_recorded_run(tmp_path):
    """The advice from a recording and from the exact gradients of the same step agree."""
    model, x = deep(2), batch(16, 24)
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with dh.record(model, optimizer, to=tmp_path / "run", every=1):
        model(x).mean().backward()
        optimizer.step()
    scale, place = limiting_scale(dh.open_run(tmp_path / "run"), get_format("fp16"))
    found = backward(before, x, ["fp16"], loss=lambda z: z.mean(), n_outputs=0).scales["fp16"]
    assert scale == found.highest * 2.0**-MARGIN_BINADES == found.advised
    assert place.partition(":")[0] == found.limiting.rpartition(":")[0] + (
        f".{found.limiting.rpartition(':')[2]}"
    )


def test_lost_gradients_are_measured_by_what_they_would_have_moved():
    model = nn.Linear(4, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    x = torch.ones(2, 4)
    for rate, moved in ((2.0**6, 4), (2.0**1, 0)):  # steps of 2^-23 and 2^-28 beside 1.0
        found = backward(
            model, x, ["fp16"], loss=lambda z: z.sum() * 2**-30, learning_rate=rate, n_outputs=0
        )
        assert (found.rows[0].fate.lost, found.rows[0].effective) == (4, moved)


def test_swamped_updates_are_counted_with_an_optimizer():
    model = nn.Linear(64, 8)
    sgd = torch.optim.SGD(model.parameters(), lr=2.0**-20)
    found = backward(model, batch(8, 64), ["fp32", "bf16-pure"], optimizer=sgd, n_outputs=0)
    assert found.of("bf16-pure", tensor="weight")[0].unmoved > 500
    assert "swamped-updates" in {each.kind for each in found.findings}
    fast = torch.optim.SGD(model.parameters(), lr=1e3)
    moved = backward(model, batch(8, 64), ["bf16-pure"], optimizer=fast, n_outputs=0)
    assert moved.of("bf16-pure", tensor="weight")[0].unmoved < 5


def test_convolutions_normalisation_residuals_and_several_inputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.mix, self.head = Product(), nn.Linear(4, 2)

        def forward(self, x, y):
            z = self.norm(self.conv(x))
            z = (z.relu() + z).mean((2, 3))
            return self.head(self.mix(z, y))

    given = (batch(64, 2).repeat(1, 36).view(4, 2, 6, 96)[..., :6], batch(4, 4))
    found = backward(Both(), given, ["bf16", "autocast-bf16", "h100-fp8"], n_outputs=16)
    tensors = {(row.layer, row.tensor) for row in found.of("bf16")}
    bias = found.of("bf16", "conv", "bias")[0]  # in front of a normalisation
    assert (bias.fate.n_nonzero, bias.exact.rms, bias.vanishing) == (0, 0, "no")
    assert {("conv", "weight"), ("norm", "input"), ("norm", "bias"), ("mix", "input")} <= tensors
    assert all(not row.likeness.cosine.value < 0.98 for row in found.of("autocast-bf16"))
    assert {row.sum for row in found.sums["bf16"]} >= {"weight gradient", "bias gradient"}
    assert all(row.direction == "backward" for rows in found.sums.values() for row in rows)


def test_sums_that_cannot_be_replayed_are_named():
    found = backward(nn.Linear(4, 2), batch(8, 4), ["mi300-fp16"], n_outputs=8)
    assert "cannot be replayed" in found.not_replayed["mi300-fp16"]


def test_nothing_of_the_patient_is_touched():
    model, x = deep(2), batch(16, 24)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(11)
    state = torch.get_rng_state()
    backward(model, x, ["bf16"], n_outputs=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[2].weight.grad is None


def test_it_repeats_and_is_data_and_text():
    runs = [dh.backward(deep(2), batch(16, 24), ["fp16"], n_outputs=4) for _ in range(2)]
    assert str(runs[0]) == str(runs[1])
    assert "loss scale" in str(runs[0])
    assert runs[0].table()[0]["vanishing"] in ("no", "microscopic", "ordinary", "both")
    sheet = runs[0].sheet()
    assert {each.key for each in sheet.tables} == {"fates", "likeness", "sums", "scales"}
    for table in sheet.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        cells = [cell for row in table.rows for cell in row if isinstance(cell, float)]
        assert all(math.isfinite(cell) for cell in cells)
    for figure in sheet.figures:
        assert all(len(each.x) in (0, len(each.y)) for each in figure.series)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 3.0}, "expected a power of two"),
        ({"scale": 0.0}, "expected a power of two"),
        ({"n_outputs": -1}, "out of range"),
        ({"confidence": 1.0}, "out of range"),
        ({"arithmetics": []}, "at least one arithmetic"),
        ({"arithmetics": ["bf16", executor_of("bf16")]}, "called 'bf16'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(CompareError, match=message):
        backward(nn.Linear(2, 1), torch.ones(1, 2), **options)


def test_what_has_no_gradient_is_refused():
    with pytest.raises(CompareError, match="No parameter has a gradient"):
        backward(nn.Linear(2, 1).requires_grad_(False), torch.ones(1, 2), n_outputs=0)
    with pytest.raises(CompareError, match="no floating-point output"):
        backward(nn.Sequential(nn.Linear(2, 2), Index()), torch.ones(1, 2), n_outputs=0)
    with pytest.raises(ArithmeticSpecError, match="bf16"):
        backward(nn.Linear(2, 1), torch.ones(1, 2), ["bf61"])
    model = nn.Linear(2, 1)
    with pytest.raises(CompareError, match="scaled gradients"):
        backward(model, torch.ones(1, 2), optimizer=torch.optim.SGD(model.parameters()), scale=2.0)


class Product(nn.Module):
    """Multiplies its two inputs and a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x, y):
        """The product."""
        return x * y * self.weight


class Index(nn.Module):
    """Gives integers."""

    def forward(self, x):
        """Where the largest number stands."""
        return x.argmax(1)
