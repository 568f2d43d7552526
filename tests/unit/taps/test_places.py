"""How places are named, ordered and counted."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.taps import QUANTITIES, Selection
from deephochuli.taps._frames import MAX_CALLS


class Shared(nn.Module):
    """Calls one ReLU module and one function several times, in two invocations of itself."""

    def __init__(self, n_calls=2):
        super().__init__()
        self.block = Block(n_calls)

    def forward(self, x):
        return self.block(self.block(x))


class Block(nn.Module):
    def __init__(self, n_calls):
        super().__init__()
        self.linear, self.relu, self.n_calls = nn.Linear(4, 4), nn.ReLU(), n_calls

    def forward(self, x):
        for _ in range(self.n_calls):
            x = F.gelu(self.linear(self.relu(x)))
        return x


def test_calls_are_counted_within_the_invocation_of_the_caller(watch):
    with watch(Shared(), selection=Selection(quantities="z")) as seen:
        Shared_x = torch.randn(2, 4)
        seen.attachment.model(Shared_x)
        seen.attachment.model(Shared_x)
    assert seen.counts("z") == {
        "block.relu:z": 4,
        "block.gelu:z": 4,
        "block.relu#2:z": 4,
        "block.gelu#2:z": 4,
    }
    orders = [seen.places[name].order for name in seen.counts("z")]
    assert orders == sorted(orders)
    assert len(set(orders)) == 4


def test_the_number_of_names_is_bounded(watch):
    model = Shared(n_calls=MAX_CALLS + 4)
    with watch(model, selection=Selection(quantities="z")) as seen:
        model(torch.randn(2, 4))
    counts = seen.counts("z")
    assert len(counts) == 2 * MAX_CALLS
    assert counts[f"block.relu#{MAX_CALLS}:z"] == 2 * 5


def test_a_function_is_told_apart_from_a_module_of_the_same_name(watch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return F.relu(self.relu(x) - 1)

    model = Net()
    with watch(model, selection=Selection(quantities="z")) as seen:
        model(torch.randn(2, 4))
    assert set(seen.seen) == {"relu:z", "relu():z"}


def test_a_model_that_is_itself_an_activation_is_named_by_its_type(watch):
    model = nn.PReLU()
    with watch(model, selection=Selection(quantities={"z", "a"})) as seen:
        model(torch.randn(2, 4))
    assert set(seen.seen) == {"PReLU:z", "PReLU:a"}


CHANNELS = {
    "linear": (nn.Linear(4, 3), (2, 4), 1),
    "linear over a sequence": (nn.Linear(4, 3), (2, 5, 4), 2),
    "linear over an image, channels last": (nn.Linear(4, 3), (2, 5, 5, 4), 3),
    "linear on one example": (nn.Linear(4, 3), (4,), None),
    "conv1d": (nn.Conv1d(4, 3, 1), (2, 4, 5), 1),
    "conv2d": (nn.Conv2d(4, 3, 1), (2, 4, 5, 5), 1),
    "conv2d on one example": (nn.Conv2d(4, 3, 1), (4, 5, 5), 0),
    "conv3d": (nn.Conv3d(4, 3, 1), (2, 4, 2, 2, 2), 1),
    "batch norm": (nn.BatchNorm1d(4), (2, 4, 5), 1),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 5), 1),
    "layer norm": (nn.LayerNorm(4), (2, 5, 4), 2),
    "nothing before it, an image": (nn.Identity(), (2, 4, 5, 5), 1),
    "nothing before it, a sequence": (nn.Identity(), (2, 5, 4), 2),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channel_dimension(watch, name):
    layer, shape, expected = CHANNELS[name]
    model = nn.Sequential(layer, nn.ReLU())
    with watch(model) as seen:
        model(torch.randn(shape))
    place = seen.places["1:z"]
    assert place.channel_dim == expected
    if expected is not None:
        assert seen.one("1:z").shape[expected] == (4 if "norm" in name or "noth" in name else 3)


def test_channels_of_parameters_are_their_outputs(watch):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(3, 5, 1), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        model(torch.randn(2, 2, 4, 4)).sum().backward()
        optimizer.step()
    sizes = {n: seen.one(n).shape[seen.places[n].channel_dim] for n in seen.counts("w")}
    assert sizes == {"0.weight:w": 3, "0.bias:w": 3, "1.weight:w": 5, "1.bias:w": 5}


def test_parameters_follow_the_order_of_execution(watch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.last(F.relu(self.first(x)))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    names = ["first.weight:w", "relu:z", "last.weight:w"]
    assert sorted(names, key=lambda name: seen.places[name].order) == names
    place = seen.places["first.weight:w"]
    assert (place.module, place.module_type, place.role) == ("first", "Linear", "weight")


def test_an_optimizer_that_calls_the_model_itself_shows_parameters_in_their_order(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def evaluate():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4)).square().sum()
        loss.backward()
        return loss

    with watch(model, optimizer) as seen:
        optimizer.step(evaluate)
    names = ["0.weight:w", "2.weight:w"]
    assert seen.places[names[0]].order < seen.places[names[1]].order
    assert seen.events[0] == "before"
    assert seen.events[-1] == "after"
    assert seen.seen["1:dz"]


def test_a_tied_weight_is_one_place_and_a_frozen_one_has_only_its_value(watch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight
            self.scale = nn.Parameter(torch.ones(()), requires_grad=False)

        def forward(self, x):
            return self.head(torch.tanh(self.embed(x))) * self.scale

    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    with watch(model, optimizer) as seen:
        model(torch.tensor([0, 1])).sum().backward()
        optimizer.step()
    assert {n for n in seen.seen if "weight" in n or "scale" in n} == {
        "scale:w",
        "embed.weight:w",
        "embed.weight:g",
        "embed.weight:dw",
        "embed.weight:state:exp_avg",
        "embed.weight:state:exp_avg_sq",
    }


def test_a_weight_that_is_tied_and_frozen_is_one_place(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        optimizer.zero_grad()
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    assert seen.counts("w")["0.weight:w"] == 1
    assert "2.weight:w" not in seen.seen


def test_two_optimizers_show_each_parameter_once(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    loss_weight = nn.Parameter(torch.ones(2))
    first = torch.optim.SGD(model[0].parameters(), 0.1)
    second = torch.optim.Adam([*model[2].parameters(), loss_weight])
    with watch(model, first, second) as seen:
        (model(torch.randn(2, 4)) * loss_weight.sum()).sum().backward()
        first.step()
        second.step()
    assert seen.counts("w") == {
        "0.weight:w": 1,
        "0.bias:w": 1,
        "2.weight:w": 1,
        "2.bias:w": 1,
        "Adam.parameter0:w": 1,
    }
    assert seen.events == ["train", "end", "before", "after", "before", "after"]


def test_outputs_of_modules_on_request(watch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.lstm = nn.Linear(4, 4), nn.LSTM(4, 3, batch_first=True)
            self.dropout = nn.Dropout()

        def forward(self, x):
            y, _ = self.lstm(self.dropout(self.linear(x)))
            return {"logits": y, "parts": (y.sum(), 3)}

    model = Net()
    quantities = QUANTITIES
    with watch(model, selection=Selection(quantities=quantities, outputs=True)) as seen:
        out = model(torch.randn(2, 5, 4))
        out["logits"].sum().backward()
    assert set(seen.counts("a")) == {
        "linear:a",
        "lstm[0]:a",
        "lstm[1][0]:a",
        "lstm[1][1]:a",
        "output.logits:a",
        "output.parts[0]:a",
    }
    assert set(seen.counts("da")) == {"linear:da", "lstm[0]:da", "output.logits:da"}
    assert torch.equal(seen.one("output.logits:a"), out["logits"])
    assert torch.equal(seen.one("output.logits:da"), torch.ones_like(out["logits"]))
    assert seen.places["linear:a"].role == "output"


def test_attention_is_seen_at_its_output(watch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.project = nn.Linear(8, 8)

        def forward(self, x):
            x, _ = self.attention(x, x, x)
            q = self.project(x).view(2, 5, 2, 4).transpose(1, 2)
            return F.scaled_dot_product_attention(q, q, q)

    model = Net()
    with watch(model) as seen:
        out = model(torch.randn(2, 5, 8))
        out.sum().backward()
    assert set(seen.seen) == {"attention.attention:a", "attention.attention:da"} | {
        "attention():a",
        "attention():da",
    }
    assert torch.equal(seen.one("attention():a"), out)
    assert seen.places["attention():a"].channel_dim == 1
    assert seen.one("attention.attention:a").shape == (5, 2, 8)  # as computed: sequence first


def test_another_model_inside_is_ignored(watch):
    teacher = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.GELU())

    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return F.silu(self.linear(x)) + teacher(x)

    model = Student()
    with watch(model) as seen:
        teacher(torch.randn(2, 4))
        model(torch.randn(2, 4)).sum().backward()
    assert set(seen.counts("z")) == {"silu:z"}
    assert seen.events == ["train", "end"]


@pytest.mark.parametrize("quantities", [{"z", "dz"}, {"z"}])
def test_a_model_called_through_forward_is_still_one_forward_a_step(watch, quantities):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, selection=Selection(quantities=quantities)) as seen:
        for _ in range(2):
            model.forward(torch.randn(2, 4)).sum().backward()
            optimizer.step()
    assert seen.events == ["train", "end", "before", "after"] * 2
    assert seen.counts("z", "dz") == {f"{i}:{q}": 2 for i in (1, 3) for q in quantities}


def test_a_model_that_calls_itself_is_one_forward(watch):
    class Recursive(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, depth=2):
            x = F.relu(self.linear(x))
            return F.gelu(self(x, depth - 1) if depth else x)

    model = Recursive()
    with watch(model) as seen:
        model(torch.randn(2, 4)).sum().backward()
    assert seen.events == ["train", "end"]
    assert seen.counts("z", "dz") == {"relu:z": 3, "gelu:z": 3, "gelu:dz": 3, "relu:dz": 3}


class NeverWalked(dict):
    """A table in which things may be looked up, one by one."""

    def __iter__(self):
        raise AssertionError("walked through: with many places this takes the square of the time")


def test_the_order_of_a_place_is_looked_up():
    from deephochuli.taps._catalogue import Catalogue

    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    catalogue = Catalogue(model, Selection())
    catalogue._modules = NeverWalked(catalogue._modules)
    paths = [path for path, _ in model.named_modules()]
    assert [catalogue.order_of(path) for path in paths] == list(range(len(paths)))
    catalogue.by_id[id(model[1])].order = 7  # as soon as something around it was executed
    assert [catalogue.order_of(path) for path in ("0", "1", "1.0")] == [1, 7, 7]
    assert catalogue.order_of("no such module") == 0
