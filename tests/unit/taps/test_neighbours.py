"""The tool next to whatever else people do: copies, checkpoints, modes, compilers, interrupts."""

import copy
import io
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.errors import DeepHochuliWarning
from deephochuli.taps import QUANTITIES, Selection, attach


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.relu = nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        return F.gelu(self.relu(self.linear(x)))


class Raises(nn.Module):
    """Raises from within a block, inside a mode of its own."""

    def __init__(self, error):
        super().__init__()
        self.net, self.error = Net(), error

    def forward(self, x):
        with CountingMode():
            x = self.net(x)
            raise self.error


class CountingMode(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def global_state():
    """Everything that an attachment could leave behind outside the model."""
    module = torch.nn.modules.module
    return (
        dict(module._global_forward_hooks),
        dict(module._global_forward_pre_hooks),
        dict(module._global_forward_hooks_always_called),
        dict(module._global_forward_hooks_with_kwargs),
        dict(module._global_backward_hooks),
        dict(module._global_backward_pre_hooks),
        torch.amp.GradScaler.step,
        list(_get_current_function_mode_stack()),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(warnings.filters),
        threading.active_count(),
    )


def local_state(model, optimizer):
    """Everything that an attachment could leave behind on the model and the optimizer."""
    return (
        {name: {key: repr(v) for key, v in vars(m).items()} for name, m in model.named_modules()},
        [(dict(p._backward_hooks or {}), p._version) for p in model.parameters()],
        dict(optimizer._optimizer_step_pre_hooks),
        dict(optimizer._optimizer_step_post_hooks),
        sorted(vars(optimizer)),
    )


def test_a_hundred_cycles_leave_nothing_behind(collector):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = global_state(), local_state(model, optimizer)
    for _ in range(100):
        attachment = attach(model, optimizer, collector)
        collector.attachment = attachment
        model(torch.randn(2, 4)).sum()
        attachment.detach()
        attachment.detach()
    assert (global_state(), local_state(model, optimizer)) == before


def test_while_attached_the_model_itself_is_untouched(watch):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    modules, parameters, *_ = local_state(model, optimizer)
    with watch(model, optimizer):
        model(torch.randn(2, 4)).sum().backward()
        optimizer.zero_grad()
        again, parameters_again, *_ = local_state(model, optimizer)
    assert again == modules
    assert parameters_again == parameters


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_errors_and_interrupts_leave_nothing_behind(collector, error, where):
    model = Raises(error)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = global_state(), local_state(model, optimizer)
    with (
        pytest.raises(type(error)),
        CountingMode() if where == "outside" else torch.device("cpu"),
        attach(model, optimizer, collector, Selection(quantities=QUANTITIES)),
        torch.device("cpu") if where == "outside" else CountingMode(),
    ):
        model(torch.randn(2, 4))
    assert (global_state(), local_state(model, optimizer)) == before
    assert collector.counts("z") == {"net.relu:z": 1, "net.gelu:z": 1}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_looking_goes_on_after_an_interrupt_that_the_user_survives(watch, error):
    model = Raises(error)
    with watch(model) as seen:
        for _ in range(3):
            with pytest.raises(type(error)), torch.device("cpu"), CountingMode():
                model(torch.randn(2, 4))
        assert seen.counts("z") == {"net.relu:z": 3, "net.gelu:z": 3}
        assert [e for e in seen.events if e != "end"] == ["train"] * 3
    assert _get_current_function_mode_stack() == []


def test_a_user_mode_around_and_inside_sees_the_same_calls(watch):
    model, x = Net(), torch.randn(2, 4)
    with CountingMode() as alone:
        model(x)
    with CountingMode() as around, watch(model) as seen:
        model(x)
    seen.forget()
    with watch(model), CountingMode() as inside:
        model(x)
    assert around.names == alone.names
    assert inside.names == alone.names
    assert _get_current_function_mode_stack() == []


def test_a_mode_entered_within_and_left_after_stays_in_order(watch):
    model = Net()
    with watch(model) as seen:
        with torch.device("meta"):
            assert torch.zeros(1).device.type == "meta"
            model(torch.randn(2, 4, device="cpu")).sum()
            assert torch.zeros(1).device.type == "meta"
        assert torch.zeros(1).device.type == "cpu"
    assert seen.counts("z") == {"relu:z": 1, "gelu:z": 1}


def test_the_sink_works_outside_the_modes_of_the_user(watch, collector):
    made = {}
    collector.see = lambda place, tensor: made.setdefault(place.quantity, torch.zeros(1).device)
    collector.before_update = lambda optimizer: made.update(update=torch.zeros(1).device)
    collector.after_update = lambda optimizer: None
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer), torch.device("meta"):
        out = model(torch.randn(2, 4, device="cpu"))
        out.backward(torch.ones(2, 4, device="cpu"))
        optimizer.step()
    assert set(made) == {"z", "a", "dz", "da", "update"}
    assert {device.type for device in made.values()} == {"cpu"}


def test_copies_are_not_watched(watch):
    model = Net()
    with watch(model) as seen:
        twin = copy.deepcopy(model)
        pickled = pickle.loads(pickle.dumps(model))
        twin(torch.randn(2, 4))
        pickled(torch.randn(2, 4))
    assert seen.events == []
    assert not seen.seen


def test_saving_the_whole_model_works(watch):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    with watch(model, optimizer):
        out = model(torch.randn(2, 4))
        out.sum().backward()
        optimizer.step()
        buffer = io.BytesIO()
        torch.save({"model": model, "optimizer": optimizer, "out": out.detach()}, buffer)
        torch.save(out, io.BytesIO())
        copy.deepcopy(optimizer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)["model"]
    for mine, theirs in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_fused_path_of_a_transformer_layer_stays(watch):
    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    model.train().eval()
    with watch(model) as seen, torch.no_grad(), Names() as calls:
        seen.is_on = False  # as a recorder does for an evaluation
        model(torch.randn(2, 3, 8))
    assert "_transformer_encoder_layer_fwd" in calls.names


def test_a_graph_kept_after_the_end_shows_nothing_more(watch):
    model = Net()
    with watch(model) as seen:
        out = model(torch.randn(2, 4))
    n_seen = len(seen.seen)
    out.sum().backward()
    assert len(seen.seen) == n_seen


def test_each_thread_stands_where_it_stands(watch):
    model = Net()
    with watch(model, selection=Selection(quantities="z")) as seen:
        threads = [threading.Thread(target=model, args=(torch.randn(2, 4),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen.counts("z") == {"relu:z": 8, "gelu:z": 8}
    assert sorted(seen.events) == ["end"] * 8 + ["train"] * 8


def test_two_attachments_see_the_same_and_leave_in_any_order():
    from tests.unit.taps.conftest import Collector

    model = Net()
    scaler_step = torch.amp.GradScaler.step
    first, second = Collector(), Collector()
    one, two = attach(model, [], first), attach(model, [], second)
    model(torch.randn(2, 4)).sum().backward()
    one.detach()
    model(torch.randn(2, 4)).sum().backward()
    two.detach()
    assert {len(v) for v in first.seen.values()} == {1}
    assert {len(v) for v in second.seen.values()} == {2}
    assert set(first.seen) == set(second.seen)
    assert torch.amp.GradScaler.step is scaler_step
    assert _get_current_function_mode_stack() == []


def test_a_model_trained_unseen_is_said_so_once(collector):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attachment = attach(model, optimizer, collector)
    collector.attachment = attachment
    with attachment, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step()
        assert caught == []  # perhaps the call was just before
        optimizer.step()
        optimizer.step()
    assert [w.category for w in caught] == [DeepHochuliWarning]
    assert "no call of the model" in str(caught[0].message)


def test_a_model_that_an_optimizer_calls_by_itself_is_not_unseen(collector):
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4)).sum()
        loss.backward()
        return loss

    collector.attachment = attach(model, optimizer, collector)
    with collector.attachment, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step(closure)
        optimizer.step(closure)
    assert [str(each.message) for each in caught] == []


def test_a_trace_contains_nothing_of_the_tool(watch):
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(2, 4)
    with warnings.catch_warnings(), watch(model) as seen:
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(model, x, check_trace=False)
        seen.attachment.detach()
        bare = torch.jit.trace(model, x, check_trace=False)
    kinds = [[node.kind() for node in each.inlined_graph.nodes()] for each in (traced, bare)]
    assert kinds[0] == kinds[1]
    assert not seen.seen


def test_functional_transforms_are_left_alone(watch):
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(3, 4)

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).sum()

    per_example = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))
    bare = per_example(dict(model.named_parameters()), x)
    with watch(model) as seen:
        watched = per_example(dict(model.named_parameters()), x)
        model(x)
    assert all(torch.equal(watched[name], bare[name]) for name in bare)
    assert seen.counts("z") == {"1:z": 1}
