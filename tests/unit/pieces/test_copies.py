"""Copies of modules, against `copy.deepcopy`."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

from deephochuli.pieces import _copies
from deephochuli.pieces._copies import double


class Tied(nn.Module):
    """Tensors and modules that are held in more than one place, and attributes of many kinds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.again = self.first
        self.norm = nn.BatchNorm1d(3)
        self.also = [self.first, self.first.weight]
        self.names = {"a": 1}
        self.notes = self.empty = []
        self.absent = None
        self.register_parameter("none", None)
        self.register_buffer("table", torch.arange(3))
        self.norm.register_forward_hook(self.seen)

    def seen(self, module, args, result):
        self.notes.append(module)

    def forward(self, x):
        return self.norm(self.second(torch.relu(self.first(x))))


class Own(nn.Linear):
    """A module that says how it is copied."""

    def __deepcopy__(self, memo):
        made = Own(self.in_features, self.out_features)
        made.said = True
        return made


class Wide(torch.Tensor):
    """A tensor that is none of the ordinary ones."""

    def new_empty(self, *args, **options):
        return super().new_empty(*args, **options).as_subclass(Wide)


def tensors(module):
    """All numbers of a module by name, without duplicates."""
    return OrderedDict([*module.named_parameters(), *module.named_buffers()])


def test_a_copy_is_what_deepcopy_makes(monkeypatch):
    model = Tied().eval()
    expected = copy.deepcopy(model).cpu().double()
    deepcopy = copy.deepcopy

    def watched(x, memo=None):
        assert memo is not None  # as it would be for the whole model
        return deepcopy(x, memo)

    monkeypatch.setattr(_copies.copy, "deepcopy", watched)
    made = double(model)
    assert tensors(made).keys() == tensors(expected).keys()
    for name, tensor in tensors(expected).items():
        found = tensors(made)[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)
        assert type(found) is type(tensor)
    assert [type(m) for m in made.modules()] == [type(m) for m in expected.modules()]
    assert vars(made).keys() == vars(expected).keys()
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(made(x), expected(x))
    assert made.notes == [made.norm]
    assert model.notes == []


def test_what_is_one_thing_in_the_model_is_one_in_the_copy():
    made = double(Tied())
    assert made.second.weight is made.first.weight
    assert made.again is made.first
    assert made.also[0] is made.first
    assert made.also[1] is made.first.weight
    assert made.notes is made.empty
    assert made.names == {"a": 1}


def test_nothing_of_a_copy_is_the_models():
    model = Tied().double()
    before = {name: tensor.clone() for name, tensor in tensors(model).items()}
    made = double(model)
    with torch.no_grad():
        for tensor in tensors(made).values():
            tensor.zero_()
    made.names["b"] = 2
    made.names.clear()
    del made.norm._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(model).items())
    assert model.names == {"a": 1}
    assert len(model.norm._forward_hooks) == 1
    assert model.first.weight.dtype == torch.float64
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", ["class", "tensor"])
def test_modules_with_a_way_of_their_own_are_left_to_deepcopy(kind):
    model = nn.Sequential(Own(2, 2) if kind == "class" else nn.Linear(2, 2))
    if kind == "tensor":
        model.register_buffer("wide", torch.ones(2).as_subclass(Wide))
    made = double(model)
    assert made[0].weight.dtype == torch.float64
    if kind == "class":
        assert made[0].said
    else:
        assert isinstance(made.wide, Wide)


def test_what_was_compiled_stays_behind():
    model = nn.Linear(2, 2)
    model._compiled_call_impl = lambda *_: None
    assert "_compiled_call_impl" not in vars(double(model))
