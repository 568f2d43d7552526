"""What is seen equals, bit for bit, what is computed by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.taps._reader import BaseGradientHook


def by_hand(x, weight, bias, activation=torch.relu):
    """z, a, and their gradients for loss = sum of squares of activation(x W^T + b)."""
    z = (x @ weight.detach().T + bias.detach()).requires_grad_()
    z.retain_grad()
    a = activation(z)
    a.retain_grad()
    (a * a).sum().backward()
    return z.detach(), a.detach(), z.grad, a.grad


class Layer(nn.Module):
    """One linear layer and an activation given as a function."""

    def __init__(self, activation):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.activation = activation

    def forward(self, x):
        return self.activation(self.linear(x))


FUNCTIONS = {
    "F.relu": F.relu,
    "F.relu inplace": lambda z: F.relu(z, inplace=True),
    "F.relu inplace by position": lambda z: F.relu(z, True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lambda z: z.relu_(),
    "keyword": lambda z: F.relu(input=z),
    "module on the fly": lambda z: nn.ReLU()(z),
}


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_module(watch, inplace):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=inplace))
    x = torch.randn(5, 4)
    z, _, dz, da = by_hand(x, model[0].weight, model[0].bias)
    with watch(model) as seen:
        (model(x) ** 2).sum().backward()
    assert (z < 0).any()
    assert torch.equal(seen.one("1:z"), z)
    assert torch.equal(seen.one("1:dz"), dz)
    assert torch.equal(seen.one("1:da"), da)
    assert seen.counts("a") == {}, "the output of a ReLU follows from its input"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_relu(watch, name):
    torch.manual_seed(0)
    model, x = Layer(FUNCTIONS[name]), torch.randn(5, 4)
    z, _, dz, da = by_hand(x, model.linear.weight, model.linear.bias)
    with watch(model) as seen:
        (model(x) ** 2).sum().backward()
    assert torch.equal(seen.one("relu:z"), z)
    assert torch.equal(seen.one("relu:dz"), dz)
    assert torch.equal(seen.one("relu:da"), da)
    assert seen.counts("z", "a", "dz", "da") == {"relu:z": 1, "relu:dz": 1, "relu:da": 1}


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.GELU(), F.gelu),
        (nn.SiLU(), F.silu),
        (nn.Tanh(), torch.tanh),
        (nn.Sigmoid(), torch.sigmoid),
        (nn.Softplus(), F.softplus),
        (nn.LeakyReLU(), F.leaky_relu),
        (nn.ELU(), F.elu),
        (nn.Hardswish(), F.hardswish),
        (nn.ReLU6(), F.relu6),
        (nn.LogSigmoid(), F.logsigmoid),
        (nn.Softmax(dim=-1), lambda z: F.softmax(z, dim=-1)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_activations_are_read_at_both_ends(watch, module, function):
    torch.manual_seed(0)
    as_module, as_function = nn.Sequential(nn.Linear(4, 3), module), Layer(function)
    as_function.linear.load_state_dict(as_module[0].state_dict())
    x = torch.randn(5, 4)
    z, a, dz, da = by_hand(x, as_module[0].weight, as_module[0].bias, function)
    for model in (as_module, as_function):
        with watch(model) as seen:
            (model(x) ** 2).sum().backward()
        layers = {name.partition(":")[0] for name in seen.counts("z")}
        assert len(layers) == 1
        layer = layers.pop()
        assert torch.equal(seen.one(f"{layer}:z"), z)
        assert torch.equal(seen.one(f"{layer}:a"), a)
        assert torch.equal(seen.one(f"{layer}:dz"), dz)
        assert torch.equal(seen.one(f"{layer}:da"), da)
        seen.forget()


def test_a_relu_of_ones_own_is_read_at_both_ends(watch):
    class ShiftedReLU(nn.ReLU):
        def forward(self, x):
            return super().forward(x) + 1

    model, x = nn.Sequential(nn.Linear(4, 3), ShiftedReLU()), torch.randn(5, 4)
    with watch(model) as seen:
        out = model(x)
    assert torch.equal(seen.one("1:a"), out)
    assert seen.places["1:a"].role == "shiftedrelu"


def test_a_rectifying_clamp_is_an_activation_and_another_is_not(watch):
    torch.manual_seed(0)
    model = Layer(lambda z: z.clamp(-1, 1).clamp(min=0) + z.clamp_min(0))
    with watch(model) as seen:
        model(torch.randn(5, 4)).sum().backward()
    assert set(seen.counts("z")) == {"clamp:z", "clamp#2:z"}
    assert set(seen.counts("a")) == {"clamp:a", "clamp#2:a"}
    assert seen.one("clamp:z").abs().max() <= 1


RECTIFIERS = {
    "module": lambda inplace: nn.ReLU(inplace),
    "keyword": lambda inplace: lambda z: F.relu(z, inplace=inplace),
    "position": lambda inplace: lambda z: F.relu(z, inplace),
    "method": lambda inplace: torch.Tensor.relu_ if inplace else torch.Tensor.relu,
}


@pytest.mark.parametrize("rectifier", RECTIFIERS)
@pytest.mark.parametrize("view", ["flatten", "slice", "permute"])
def test_in_place_relu_on_a_view(watch, view, rectifier):
    """Autograd reroutes the gradient around such a view; it must be seen all the same."""
    views = {
        "flatten": lambda h: h.flatten(1),
        "slice": lambda h: h[:, 1:3],
        "permute": lambda h: h.permute(2, 0, 1),
    }

    class Net(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.conv, self.relu = nn.Conv1d(2, 4, 1), RECTIFIERS[rectifier](inplace)

        def forward(self, x):
            return self.relu(views[view](self.conv(x)))

    torch.manual_seed(0)
    plain, inplace, x = Net(False), Net(True), torch.randn(3, 2, 5)
    inplace.load_state_dict(plain.state_dict())
    expected = []
    for model in (plain, inplace):
        with watch(model) as seen:
            (model(x) ** 2).sum().backward()
        expected.append((seen.one("relu:z"), seen.one("relu:dz"), model.conv.weight.grad))
        seen.forget()
    for mine, theirs in zip(*expected, strict=True):
        assert torch.equal(mine, theirs)


def test_the_part_of_a_gradient_that_a_view_covers_does_not_depend_on_its_layout():
    base, gradient, seen = torch.zeros(2, 6, 3, 4), torch.randn(2, 6, 3, 4), []
    view = base[:, 1:5, :, ::2].transpose(1, 3)

    class Shown:
        epoch = 0

        def see(self, place, tensor):
            seen.append(tensor)

    hook = BaseGradientHook(Shown(), None, view, base)
    hook(gradient)
    hook(gradient.contiguous(memory_format=torch.channels_last))
    hook(gradient[:, :, :1, :1].expand(2, 6, 3, 4))
    assert torch.equal(seen[0], gradient[:, 1:5, :, ::2].transpose(1, 3))
    assert torch.equal(seen[1], seen[0])
    assert torch.equal(seen[2][:, 0, 0], gradient[:, 1:5, 0, 0])


def test_residual_addition_in_place(watch):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            out = self.conv2(self.relu(self.conv1(x)))
            out += x
            return self.relu(out)

    torch.manual_seed(0)
    model, x = Block(), torch.randn(3, 2, 4, 4)
    z1 = model.conv1(x)
    z2 = model.conv2(z1.relu()) + x
    dz1, dz2 = torch.autograd.grad(z2.relu().square().sum(), [z1, z2])
    with watch(model) as seen:
        model(x).square().sum().backward()
    assert torch.equal(seen.one("relu:z"), z1)
    assert torch.equal(seen.one("relu#2:z"), z2)
    assert torch.equal(seen.one("relu:dz"), dz1)
    assert torch.equal(seen.one("relu#2:dz"), dz2)


@pytest.mark.parametrize("lr", [0.125, 0.0])
def test_parameters_of_sgd_with_momentum(watch, lr):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.5)
    x, old = torch.randn(5, 4), model[0].weight.detach().clone()
    (g,) = torch.autograd.grad(model(x).sum(), [model[0].weight])
    with watch(model, optimizer) as seen:
        model(x).sum().backward()
        optimizer.step()
    w = old - lr * g  # a power of two, so that the product is exact
    assert torch.equal(seen.one("0.weight:g"), g)
    assert torch.equal(seen.one("0.weight:w"), w)
    assert torch.equal(seen.one("0.weight:dw"), w - old)
    assert torch.equal(seen.one("0.weight:state:momentum_buffer"), g)


def test_an_evaluation_is_told_apart(watch):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    x = torch.randn(5, 4)
    with watch(model) as seen:
        model(x)
        with torch.no_grad():
            model(x)
        model.eval()(x)
    assert seen.events == ["train", "end", "eval", "end", "eval", "end"]


def test_a_model_never_put_into_training_mode_is_trained_all_the_same(watch):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    with watch(model) as seen:
        model(torch.randn(5, 4)).sum().backward()
        model.train()(torch.randn(5, 4))
        model.eval()(torch.randn(5, 4))
    assert seen.events == ["train", "end", "train", "end", "eval", "end"]


def test_nothing_is_shown_while_the_sink_is_off(watch, collector):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    collector.is_on = False
    with watch(model) as seen:
        model(torch.randn(5, 4)).sum().backward()
        assert seen.seen == {}
        collector.is_on = True
        model(torch.randn(5, 4)).sum().backward()
        assert set(seen.seen) == {"1:z", "1:dz", "1:da"}


def test_double_backward_shows_detached_gradients(watch):
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    x = torch.randn(5, 4, requires_grad=True)
    with watch(model) as seen:
        (g,) = torch.autograd.grad(model(x).sum(), [x], create_graph=True)
        (g.square().sum()).backward()
    assert len(seen.seen["1:dz"]) >= 1


def test_integer_and_empty_tensors_do_no_harm(watch):
    model = nn.Sequential(nn.Embedding(3, 4), nn.ReLU())
    with watch(model) as seen:
        assert model(torch.zeros(0, dtype=torch.long)).shape == (0, 4)
        assert nn.ReLU()(torch.tensor([1, -1])).tolist() == [1, 0]
    assert seen.one("1:z").shape == (0, 4)
