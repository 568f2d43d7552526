"""ReLU'(0) as a setting, against derivatives written by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deephochuli import CompareError
from deephochuli.analysis.kink import kink_at

Z = [-2.0, -0.0, 0.0, 1.0, 0.0, 6.0, 7.0, -1.0]
OUTER = [1.0, 2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0]


class Written(torch.autograd.Function):
    """An activation with slopes below and above 0, and a number between at 0."""

    @staticmethod
    def forward(ctx, z, low, high, alpha):
        ctx.save_for_backward(z)
        ctx.slopes = low, high, alpha
        return torch.where(z > 0, high * z, low * z)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        low, high, alpha = ctx.slopes
        slope = torch.where(z > 0, high, low)
        return grad * torch.where(z == 0, low + alpha * (high - low), slope), None, None, None


class Calls(nn.Module):
    """A module that calls a function on its input, times one, so that it may be overwritten."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x * 1)


def gradient(model, z, alpha=None, **options):
    z = z.clone().requires_grad_()
    with kink_at(model, alpha, **options):
        out = model(z)
        (out * torch.tensor(OUTER, dtype=out.dtype)).sum().backward()
    return z.grad


RELUS = {
    "module": nn.ReLU(),
    "module in place": nn.Sequential(nn.Identity(), Calls(lambda x: x), nn.ReLU(inplace=True)),
    "function": Calls(F.relu),
    "torch": Calls(torch.relu),
    "method in place": Calls(lambda x: x.relu_()),
    "function in place": Calls(lambda x: F.relu(x, inplace=True)),
    "threshold": nn.Threshold(0.0, 0.0),
    "clamp_min": Calls(lambda x: x.clamp_min(0)),
    "clamp": Calls(lambda x: x.clamp(min=0)),
    "clamp in place": Calls(lambda x: x.clamp_(min=0)),
}


@pytest.mark.parametrize("name", RELUS)
@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_relu_takes_the_slope_that_was_asked_for(name, alpha):
    z = torch.tensor(Z)
    expected = torch.autograd.functional.vjp(
        lambda z: Written.apply(z, torch.tensor(0.0), torch.tensor(1.0), alpha),
        z,
        torch.tensor(OUTER),
    )[1]
    assert gradient(RELUS[name], z, alpha).equal(expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_leaky_slopes_meet_at_zero(dtype, in_place, alpha):
    low = 0.125
    model = nn.Sequential(Calls(lambda x: x), nn.LeakyReLU(low, inplace=in_place))
    z = torch.tensor(Z, dtype=dtype)
    slope = torch.where(z > 0, 1.0, torch.where(z == 0, low + alpha * (1 - low), low))
    expected = (torch.tensor(OUTER, dtype=torch.float64) * slope).to(dtype)
    assert gradient(model, z, alpha).equal(expected)


def test_prelu_takes_the_share_of_each_channel_and_leaves_the_slopes_gradient():
    model = nn.PReLU(2, init=0.25)
    model.weight.data = torch.tensor([0.25, 0.5])
    z = torch.tensor([[0.0, 0.0], [-1.0, 2.0]], requires_grad=True)
    with kink_at(model, 0.5):
        model(z).sum().backward()
    assert z.grad.tolist() == [[0.625, 0.75], [0.25, 1.0]]
    assert model.weight.grad.tolist() == [-1.0, 0.0]


def test_relu6_has_two_kinks():
    expected = [0.0, 1.0, 1.5, 4.0, -2.5, 3.0, 0.0, 0.0]
    for in_place in (False, True):
        model = nn.Sequential(Calls(lambda x: x), nn.ReLU6(inplace=in_place))
        assert gradient(model, torch.tensor(Z), 0.5).tolist() == expected


def test_an_input_that_a_small_slope_underflows_is_not_at_the_kink():
    z = torch.tensor([-1e-45, 0.0, 1.0])
    model = nn.Sequential(Calls(lambda x: x), nn.LeakyReLU(0.125, inplace=True))
    z.requires_grad_()
    with kink_at(model, 1.0):
        model(z).sum().backward()
    assert z.grad.tolist() == [0.125, 1.0, 1.0]


def net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(64, 3),
        nn.ReLU6(),
    )


def digits():
    x = torch.randint(0, 3, (4, 1, 8, 8), generator=torch.Generator().manual_seed(1)).float()
    x[:, :, :5] = 0  # patches without anything: pre-activations that are exactly 0
    return x


def gradients(model, x, **options):
    """Gradients of a copy; with options inside the block."""
    model = copy.deepcopy(model)
    if options:
        with kink_at(model, **options):
            model(x).square().sum().backward()
    else:
        model(x).square().sum().backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("options", [{"alpha": None}, {"alpha": 0.0}])
def test_torchs_own_choice_is_torch_to_the_bit(options):
    found, expected = gradients(net(), digits(), **options), gradients(net(), digits())
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.view(torch.int32).equal(theirs.view(torch.int32))


def test_the_model_is_left_as_it_was():
    model = net()
    before = {id(m): set(vars(m)) for m in model.modules()}
    state = torch.random.get_rng_state()
    with kink_at(model, 1.0):
        model(digits()).sum().backward()
    assert {id(m): set(vars(m)) for m in model.modules()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.random.get_rng_state().equal(state)


def test_layers_may_choose_apart():
    z = torch.zeros(2, requires_grad=True)
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with kink_at(model, 0.5, {"1": 0.25}):
        model(z).sum().backward()
    assert z.grad.tolist() == [0.125, 0.125]


def test_what_is_outside_the_model_keeps_torchs_slope():
    z = torch.zeros(2, requires_grad=True)
    model = nn.Identity()
    with kink_at(model, 1.0):
        F.relu(model(z)).sum().backward()
    assert z.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_are_computed_again_and_choose_the_same(reentrant):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(Calls(lambda x: x), nn.ReLU(), Calls(F.relu))

        def forward(self, x):
            return checkpoint(self.inner, F.relu(x * 1), use_reentrant=reentrant)

    expected = gradient(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU()), torch.tensor(Z), 0.5)
    assert gradient(Wrapped(), torch.tensor(Z), 0.5).equal(expected)
    assert expected[2] == 3 / 8


def test_one_graph_may_be_worked_with_several_slopes():
    z = torch.zeros(1, requires_grad=True)
    model = nn.ReLU()
    with kink_at(model, 0.0) as mode:
        out = model(z)
        found = []
        for alpha in (0.0, 0.5, 1.0, 0.0):
            mode.plan = {"": alpha}
            found += torch.autograd.grad(out, z, retain_graph=True)[0].tolist()
    assert found == [0.0, 0.5, 1.0, 0.0]


def test_accumulated_and_repeated_steps_look_up_their_own_zeros():
    model = nn.ReLU()
    z = torch.zeros(3, requires_grad=True)
    with kink_at(model, 1.0) as mode:
        first, second = model(z), model(z)
        second.sum().backward()
        first.sum().backward()
        for _ in range(50):
            model(z).sum().backward()
    assert z.grad.tolist() == [52.0] * 3
    assert len(mode._noted) == 1, "indices of graphs that were worked are not kept"


def test_a_graph_whose_kinks_were_forgotten_is_refused():
    model, z = nn.ReLU(), torch.zeros(1, requires_grad=True)
    with kink_at(model, 1.0):
        out = model(z)
        out.backward(retain_graph=True)
        model(z)
        with pytest.raises(CompareError, match="before the next forward"):
            out.backward()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_a_slope_that_is_none_is_refused(alpha):
    with pytest.raises(CompareError, match="from 0"), kink_at(nn.ReLU(), alpha):
        pass


def test_unknown_layers_and_choices_are_refused_with_what_there_is():
    with pytest.raises(CompareError, match="names no layer"), kink_at(net(), 0, {"conv": 1}):
        pass
    with pytest.raises(CompareError, match="'last'"), kink_at(net(), 0, pool="lost"):
        pass


def pooled_by_hand(x, outer, choice, size, stride, padding):
    """Gradient of a max pooling over one plane, window by window."""
    grad = torch.zeros_like(x)
    for r in range(outer.shape[0]):
        for c in range(outer.shape[1]):
            cells = [
                (r * stride - padding + i, c * stride - padding + j)
                for i in range(size)
                for j in range(size)
            ]
            cells = [(i, j) for i, j in cells if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]]
            top = max(float(x[cell]) for cell in cells)
            hit = [cell for cell in cells if float(x[cell]) == top]
            hit = {"first": hit[:1], "last": hit[-1:], "share": hit}[choice]
            for cell in hit:
                grad[cell] += outer[r, c] / len(hit)
    return grad


@pytest.mark.parametrize("choice", ["first", "last", "share"])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "ceil"), [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 0, True)]
)
def test_ties_of_a_pooling_window(choice, size, stride, padding, ceil):
    x = torch.randint(0, 3, (2, 3, 8, 8), generator=torch.Generator().manual_seed(2)).double()
    x.requires_grad_()
    model = nn.MaxPool2d(size, stride, padding, ceil_mode=ceil)
    with kink_at(model, None, pool=choice):
        out = model(x)
        outer = torch.arange(1.0, out.numel() + 1, dtype=torch.float64).view_as(out) * 12
        (out * outer).sum().backward()
    for n in range(2):
        for c in range(3):
            args = (x[n, c].detach(), outer[n, c], choice, size, stride, padding)
            torch.testing.assert_close(x.grad[n, c], pooled_by_hand(*args), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dims", [1, 3])
def test_pooling_in_other_dimensions_shares_too(dims):
    pool = {1: nn.MaxPool1d, 3: nn.MaxPool3d}[dims](2)
    x = torch.ones(1, 1, *[2] * dims, requires_grad=True)
    with kink_at(pool, None, pool="share"):
        pool(x).sum().backward()
    assert x.grad.flatten().tolist() == [0.5**dims] * 2**dims
