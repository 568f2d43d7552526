"""Choosing places, and being told when the choice is empty."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.errors import TapError
from deephochuli.taps import DEFAULT_QUANTITIES, QUANTITIES, Selection, attach


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.layer1, self.layer2 = Block(), Block()

    def forward(self, x):
        return self.layer2(self.layer1(self.stem(x)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        return F.gelu(self.relu(self.conv(x)))


LAYERS = {
    "everything": ({}, {"layer1.relu", "layer1.gelu", "layer2.relu", "layer2.gelu"}),
    "glob": ({"include": "layer1*"}, {"layer1.relu", "layer1.gelu"}),
    "glob on what runs": ({"include": ["*.gelu"]}, {"layer1.gelu", "layer2.gelu"}),
    "regex": ({"include": "re:2.*relu$"}, {"layer2.relu"}),
    "type": ({"include": nn.ReLU}, {"layer1.relu", "layer2.relu"}),
    "type around": (
        {"include": Block},
        {"layer1.relu", "layer1.gelu"} | {"layer2.relu"} | {"layer2.gelu"},
    ),
    "function": ({"include": lambda p: p.role == "gelu"}, {"layer1.gelu", "layer2.gelu"}),
    "exclude": ({"exclude": [nn.ReLU, "layer2*"]}, {"layer1.gelu"}),
    "both": ({"include": "layer1*", "exclude": "re:gelu"}, {"layer1.relu"}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(watch, name):
    chosen, expected = LAYERS[name]
    model = Net()
    with watch(model, selection=Selection(quantities="z", **chosen)) as seen:
        model(torch.randn(2, 4))
    assert {known.partition(":")[0] for known in seen.seen} == expected


def test_parameters_are_selected_by_name_type_and_quantity(watch):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    selection = Selection(
        include=["*.weight", nn.ReLU], exclude="layer2*", quantities={"w", "z", "state:exp_avg"}
    )
    with watch(model, optimizer, selection=selection) as seen:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    assert set(seen.seen) == {
        "layer1.relu:z",
        "stem.weight:w",
        "stem.weight:state:exp_avg",
        "layer1.conv.weight:w",
        "layer1.conv.weight:state:exp_avg",
    }


def test_the_second_call_is_selected_with_the_first(watch):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.tanh = nn.ReLU(), nn.Tanh()

        def forward(self, x):
            return F.gelu(F.gelu(self.tanh(self.relu(self.relu(x)))))

    model = Twice()
    with watch(model, selection=Selection(["relu", "gelu"], quantities="z")) as seen:
        model(torch.randn(2, 4))
    assert set(seen.seen) == {"relu:z", "relu#2:z", "gelu:z", "gelu#2:z"}


MESSAGES = {
    "glob": (lambda: Selection("layer3*"), r"'layer3\*' matches no layer of Net.*layer1"),
    "regex": (lambda: Selection("re:^conv9"), r"'re:\^conv9' matches no layer of Net"),
    "type": (lambda: Selection(nn.ReLU6), r"ReLU6 matches no module of Net.*'ReLU'"),
    "quantity": (lambda: Selection(quantities={"zz"}), r"Unknown quantity 'zz'. Did you.*'z'"),
    "no quantity": (lambda: Selection(quantities=()), r"No quantity to look at.*Known names: a"),
    "bad regex": (lambda: Selection("re:("), r"'re:\(' is no regular expression"),
    "bad pattern": (lambda: Selection([3]), r"Cannot include 3.*got int"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(collector, name):
    make, message = MESSAGES[name]
    with pytest.raises(TapError, match=message):
        attach(Net(), [], collector, make())


def test_a_long_list_of_names_is_cut(collector):
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(100)])
    with pytest.raises(TapError, match=r"and \d+ more") as caught:
        attach(model, [], collector, Selection("qqqqqqq"))
    assert len(str(caught.value)) < 300


def test_models_and_optimizers_that_cannot_be_looked_at(collector):
    with pytest.raises(TapError, match="neither parameters nor activation modules"):
        attach(nn.Flatten(), [], collector)
    with pytest.raises(
        TapError, match=r"Cannot look at a value of type str: expected a torch.nn.Module"
    ):
        attach("model", [], collector)
    with pytest.raises(TapError, match="Cannot look at the updates of a float"):
        attach(Net(), 0.1, collector)
    with pytest.raises(TapError, match="No parameter of Net belongs to this SGD"):
        attach(Net(), torch.optim.SGD(Net().parameters(), 0.1), collector)
    assert not torch.nn.modules.module._global_forward_hooks


def test_the_default_is_all_but_da():
    assert QUANTITIES - DEFAULT_QUANTITIES == {"da"}
    assert Selection().quantities == DEFAULT_QUANTITIES
