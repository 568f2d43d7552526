"""Why pre-activations are zero, against sums of rationals."""

from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.analysis.kink import CAUSES, Execution, kink
from deephochuli.analysis.kink._shadow import quantum_of

THRESHOLD = {
    torch.float16: Fraction(1, 2**25),
    torch.bfloat16: Fraction(1, 2**134),
    torch.float32: Fraction(1, 2**150),
}


def total(out, target):
    return out.float().sum()


def rational_cause(terms, threshold):
    """The cause by the definition: terms are exact products and addends."""
    terms = [t for t in terms if t]
    if not terms:
        return "structural"
    exact = sum(terms)
    if exact == 0:
        return "exact"
    return "underflow" if abs(exact) <= threshold else "cancellation"


def fractions_of(tensor):
    return [Fraction(value) for value in tensor.double().flatten().tolist()]


def causes_by_hand(x, weight, bias, z, dtype):
    """Causes of the zeros of a dense layer, term by term."""
    rows = [fractions_of(row) for row in x]
    columns = [fractions_of(row) for row in weight]
    biases = fractions_of(bias) if bias is not None else [Fraction(0)] * len(columns)
    found = Counter()
    for i, j in (z == 0).nonzero().tolist():
        terms = [a * b for a, b in zip(rows[i], columns[j], strict=True)]
        found[rational_cause([*terms, biases[j]], THRESHOLD[dtype])] += 1
    return found


def measured(model, x, execution, **options):
    found = kink(model, x, total, arithmetics=[execution], **options)
    causes = Counter()
    for row in found.zeros:
        causes.update({cause: n for cause, n in row.causes.items() if n})
    return causes, found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("bias", ["none", "fused", "apart"])
def test_causes_of_a_dense_layer_are_those_of_rational_sums(dtype, bias):
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(5, 24, bias=bias != "none")
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randint(-6, 7, p.shape, generator=generator) / 8 * 2.0**-11)
            p.mul_(1 + torch.randint(0, 2, p.shape, generator=generator) * 2.0**-7)
    x = torch.randint(-4, 5, (160, 5), generator=generator).float()
    x[:40] *= 2.0**-13
    x[40:80] *= 1 + torch.randint(0, 4, (40, 5), generator=generator) * 2.0**-7
    x[80:90] = 0
    how = Execution("how", dtype, None, "apart" if bias == "apart" else "fused")
    causes, _ = measured(nn.Sequential(layer, nn.ReLU()), x, how)
    w, xs = layer.weight.to(dtype), x.to(dtype)
    b = layer.bias.to(dtype) if layer.bias is not None else None
    with torch.no_grad():
        z = F.linear(xs, w, b) if bias != "apart" else F.linear(xs, w) + b
    expected = causes_by_hand(xs, w, b, z, dtype)
    assert causes == expected
    assert sum(expected.values()) > 30


N_PLANTED = 120


def planted():
    """Rows for one unit with weights (1, 1, 2^-14) and bias -1/2 in FP16, with their causes."""
    generator = torch.Generator().manual_seed(9)

    def draw(low, high):
        return torch.randint(low, high, (N_PLANTED,), generator=generator).double()

    x = torch.zeros(5, N_PLANTED, 3, dtype=torch.float64)
    a = draw(1, 256) / 256  # exact: a + (1/2 - a) - 1/2
    x[0, :, 0], x[0, :, 1] = a, 0.5 - a
    x[1, :, 0], x[1, :, 1] = 0.5, draw(1, 4) * 2.0**-14  # the sum rounds to 1/2
    x[2, :, 0], x[2, :, 2] = 0.5, draw(1, 500) * 2.0**-20  # so does this, by less than FP16 has
    x[3, :, 0], x[3, :, 1] = a + 1, 0  # no zero
    x[4, :, 0], x[4, :, 1] = 0.5 - a - 1, 0  # no zero
    return x.float()


def test_planted_causes_are_found_and_nothing_else():
    layer = nn.Linear(3, 1)
    layer.weight.data = torch.tensor([[1.0, 1.0, 2.0**-14]])
    layer.bias.data = torch.tensor([-0.5])
    how = Execution("how", torch.float16, None, "apart")
    model = nn.Sequential(layer, nn.ReLU())
    expected = ["exact", "cancellation", "underflow", None, None]
    for rows, cause in zip(planted(), expected, strict=True):
        causes, _ = measured(model, rows, how)
        assert causes == ({cause: N_PLANTED} if cause else {})


def test_planted_structural_zeros_and_underflow():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = torch.tensor([[2.0**-10, -(2.0**-12), 2.0**-3]])
    x = torch.zeros(2 * N_PLANTED, 3)
    x[N_PLANTED:, 0] = torch.arange(1, N_PLANTED + 1) / 128 * 2.0**-15
    causes, _ = measured(nn.Sequential(layer, nn.ReLU()), x, torch.float16)
    assert causes == {"structural": N_PLANTED, "underflow": N_PLANTED}


class Net(nn.Module):
    """A convolution with whatever stands between it and its activation."""

    def __init__(self, between, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(3)
        self.between = between

    def forward(self, x):
        return self.between(self, x).sum((1, 2, 3))


def image(n=4):
    x = torch.randint(1, 4, (n, 2, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    x[:, :, :3] = 0  # rows 0 and 1 of the output see nothing
    return x


N_EMPTY = 4 * 3 * 2 * 6

BETWEEN = {
    "plain": lambda m, x: F.relu(m.conv(x)),
    "in place": lambda m, x: m.conv(x).relu_(),
    "view": lambda m, x: F.relu(m.conv(x).flatten(2).transpose(1, 2)).view(4, 6, 6, 3),
    "clone": lambda m, x: F.relu(m.conv(x).clone()),
    "residual": lambda m, x: F.relu(m.conv(x) + x[:, :1]),
    "residual in place": lambda m, x: F.relu(m.conv(x).add_(x[:, :1])),
    "product": lambda m, x: F.relu(m.conv(x) * 0.5),
    "slice": lambda m, x: torch.cat([F.relu(z) for z in m.conv(x).chunk(3, 1)], 1),
    "twice": lambda m, x: F.relu(F.relu(m.conv(x))),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_structural_zeros_are_followed_through_what_lies_between(name):
    causes, found = measured(Net(BETWEEN[name]), image(), "fp32")
    if name == "twice":  # what the first activation made zero is zero by structure for the second
        assert causes.pop("structural") > 2 * N_EMPTY
        assert not causes
    else:
        assert causes == {"structural": N_EMPTY}
    assert found.runs[0].n_numerical == 0


def test_what_is_not_followed_is_unknown():
    causes, _ = measured(Net(lambda m, x: F.relu(torch.sinh(m.conv(x)))), image(), "fp32")
    assert causes == {"unknown": N_EMPTY}


def test_batch_norm_of_a_channel_that_is_nothing_is_structural():
    def between(m, x):
        return F.relu(m.norm(m.conv(x)))

    model = Net(between)
    model.conv.weight.data[1] = 0
    causes, _ = measured(model, image(), "fp32")
    assert causes == {"structural": 4 * 36}
    causes, _ = measured(model.eval(), image(), "fp32")
    assert causes == {"structural": 4 * 36 + N_EMPTY * 2 // 3}


def test_batch_norm_that_rounds_to_zero_cancels():
    model = nn.Sequential(nn.BatchNorm1d(1), nn.ReLU()).eval()
    model[0].running_mean.fill_(2.0)
    model[0].bias.data.fill_(1e-12)
    x = torch.tensor([[2.0], [3.0]])
    causes, _ = measured(model, x, "fp32")
    assert float(model[0](x).detach()[0]) == 0
    assert causes == {"cancellation": 1}


def test_flushing_makes_small_numbers_zero_and_is_called_underflow():
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data = torch.full((1, 1), 2.0**-70)
    x = torch.full((40, 1), 2.0**-70)
    model = nn.Sequential(layer, nn.ReLU())
    assert measured(model, x, "fp32")[0] == {}
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush")
    try:
        assert measured(model, x, "fp32")[0] == {"underflow": 40}
    finally:
        torch.set_flush_denormal(False)


def test_operands_are_read_as_the_arithmetic_reads_them():
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -(1 + 2.0**-12)]])  # equal once rounded to BF16
    causes, _ = measured(nn.Sequential(layer, nn.ReLU()), torch.ones(7, 2), "bf16")
    assert causes == {"exact": 7}
    causes, _ = measured(nn.Sequential(layer, nn.ReLU()), torch.ones(7, 2), "fp32")
    assert causes == {}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_sums_that_binary64_cannot_tell_from_zero_are_formed_in_rationals(groups, channels_last):
    conv = nn.Conv2d(4, 4, 3, padding=1, stride=2, dilation=2, groups=groups)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for channel in range(4):  # tap 8 is minus tap 0; the others see nothing
            conv.weight[channel] = torch.randn(4 // groups, 3, 3, generator=generator)
            conv.weight[channel, :, 2, 2] = -conv.weight[channel, :, 0, 0]
    conv.bias.data.zero_()
    x = torch.zeros(2, 4, 9, 9)
    x[:, :, 1, 1] = x[:, :, 5, 5] = torch.rand(2, 4, generator=generator) + 2.0**-20
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    causes, _ = measured(nn.Sequential(conv, nn.ReLU()), x, "fp64")
    z = conv.double()(x.double())
    n_empty = int(
        (F.conv2d(x.double(), torch.ones_like(conv.weight), None, 2, 1, 2, groups) == 0).sum()
    )
    assert causes["structural"] == n_empty
    assert causes["exact"] == int((z == 0).sum()) - n_empty > 3
    assert set(causes) == {"structural", "exact"}


@pytest.mark.parametrize("name", ["view", "residual", "clone", "slice"])
def test_rationals_are_formed_through_what_lies_between(name):
    model = Net(BETWEEN[name])
    model.conv.weight.data = -model.conv.weight.flip(3)  # odd kernels, constant images
    model.conv.weight.data += model.conv.weight.data.flip(3).neg()
    model.conv.weight.data[..., 1] = 0
    x = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(1)).expand(2, 2, 6, 6)
    x = torch.cat([x, x]).clone()
    if name == "residual":
        x[:, 0] = 0
    causes, _ = measured(model, x, "fp64")
    assert set(causes) <= {"exact", "structural"}
    assert causes["exact"] == 4 * 3 * 6 * 4, "all columns but the first and the last"


@pytest.mark.parametrize("seed", range(20))
def test_the_quantum_divides_every_number_and_no_larger_power_of_two_does(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(6, generator=generator, dtype=torch.float64)
    values = (values * 2.0 ** (seed * 3)).round() * 2.0 ** (-2 * seed)
    q = Fraction(quantum_of(values))
    ratios = [Fraction(v) / q for v in values.tolist()]
    assert all(r.denominator == 1 for r in ratios)
    assert any(r.numerator % 2 for r in ratios) or not any(ratios)


def test_every_cause_has_a_test():
    assert set(CAUSES) == {"structural", "exact", "cancellation", "underflow", "unknown"}
