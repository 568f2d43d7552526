"""Stacks that are read without being run, against the same modules followed as they run."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.nn.utils import parametrizations

from deephochuli.errors import PiecesError
from deephochuli.pieces import Counter, count
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._stack import stacked
from deephochuli.pieces._trace import _double, trace
from tests.unit.pieces.nets import he, linear, unit_segment


def rows(n):
    """Three inputs of a shape."""
    return torch.randn(3, *n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def half(net):
    """A net with weights of 16 bits."""
    return net.to(torch.bfloat16)


STACKS = {
    "net": (lambda: he([3, 5, 4, 2], 0), (3,)),
    "nested": (lambda: nn.Sequential(he([3, 5, 2], 0), nn.Sequential(nn.ReLU()), nn.ReLU()), (3,)),
    "bf16": (lambda: half(he([2, 7, 1], 1)), (2,)),
    "no bias": (lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(inplace=True)), (4,)),
    "vectors of vectors": (lambda: he([3, 5, 2], 0), (2, 4, 3)),
    "one layer": (lambda: nn.Linear(3, 2), (3,)),
    "one relu": (lambda: nn.ReLU(), (2, 3)),
    "training": (lambda: he([3, 5, 2], 0).train(), (3,)),
    "frozen": (lambda: he([3, 5, 2], 0).requires_grad_(False), (3,)),
}


@pytest.mark.parametrize("kind", STACKS)
def test_a_stack_is_written_down_as_if_it_were_followed(kind):
    made, shape = STACKS[kind]
    net = made()
    read, followed = stacked(net, shape), trace(net, rows(shape), None, HANDLERS)
    assert read is not None
    assert read.layers == followed.layers
    names = ("shape", "output", "output_shape", "bending_layers", "n_units")
    assert [getattr(read, k) for k in names] == [getattr(followed, k) for k in names]
    for one, other in zip(read.steps, followed.steps, strict=True):
        assert (one.inputs, one.output) == (other.inputs, other.output)
        assert type(one.op) is type(other.op)
        for name in vars(one.op).keys() & {"weight", "bias", "lead", "size", "knots", "slopes"}:
            np.testing.assert_array_equal(getattr(one.op, name), getattr(other.op, name))
    x = rows(shape).reshape(3, -1).numpy()
    np.testing.assert_array_equal(read.evaluate(x), followed.evaluate(x))


class Doubled(nn.Linear):
    """A layer that is not what it looks like."""

    def forward(self, x):
        return 2 * super().forward(x)


def hooked(net):
    """A net with a hook that changes what a layer returns."""
    net[0].register_forward_hook(lambda module, args, result: result - 1)
    return net


def patched(net):
    """A net with a layer that was given another forward pass."""
    net[0].forward = lambda x: torch.nn.functional.linear(x, -net[0].weight, net[0].bias)
    return net


def shared():
    """A net that uses a layer twice."""
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


OTHERS = {
    "another layer": lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh()),
    "a subclass": lambda: nn.Sequential(Doubled(3, 3), nn.ReLU()),
    "a hook": lambda: hooked(he([3, 4, 2], 0)),
    "another forward": lambda: patched(he([3, 4, 2], 0)),
    "a parametrization": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))),
    "a layer that is used twice": shared,
    "another size": lambda: he([4, 4, 2], 0),
    "complex": lambda: nn.Sequential(nn.Linear(3, 2, dtype=torch.complex64)),
    "no numbers": lambda: nn.Sequential(nn.Linear(3, 2, device="meta")),
    "nothing": lambda: nn.Sequential(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_stack_is_left_to_be_followed(kind):
    assert stacked(OTHERS[kind](), (3,)) is None


def test_what_is_followed_instead_counts_what_runs():
    for change in (hooked, patched):
        plain, changed = he([1, 9, 1], 0), change(he([1, 9, 1], 0))
        found, before = count(changed, *unit_segment()), count(plain, *unit_segment())
        assert not np.array_equal(found.t, before.t)
        x = torch.as_tensor(found.inputs(found.t))
        with torch.no_grad():
            np.testing.assert_allclose(found.evaluate(found.t), changed(x).numpy(), atol=1e-12)


def test_hooks_on_all_modules_are_seen():
    net = he([3, 4, 2], 0)
    handle = modules.register_module_forward_hook(lambda module, args, result: None)
    try:
        assert stacked(net, (3,)) is None
    finally:
        handle.remove()
    assert stacked(net, (3,)) is not None


def test_numbers_that_are_not_finite_are_named():
    net = he([1, 4, 1], 0)
    net[2].bias.data[0] = float("nan")
    with pytest.raises(PiecesError, match=r"'2\.bias' holds 1 of 1 numbers that are NaN"):
        Counter(net, torch.zeros(1))
    # Followed or not; and a sum that overflows is no number that is not finite.
    assert _double(nn.Sequential(linear([[1e308, 1e308]], [0.0])), "")[0].weight.max() == 1e308
    with pytest.raises(PiecesError, match=r"'2\.bias' holds 1 of 1 numbers that are NaN"):
        _double(net, "")


def test_a_stack_keeps_numbers_of_its_own():
    net = he([2, 4, 1], 0)
    program = stacked(net, (2,))
    before = program.steps[0].op.weight.copy()
    net[0].weight.data.zero_()
    np.testing.assert_array_equal(program.steps[0].op.weight, before)
