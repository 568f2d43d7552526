"""Models and optimizers that change while they are recorded."""

import copy
import gc

import pytest
import torch
from torch import nn

from deephochuli.store import open_run
from tests.faults.training import N_STEPS, mostly_slow, recorded, undisturbed


def at(step, change):
    """Do something once, between two steps."""

    def between(i, model, optimizer):
        if i == step:
            torch.manual_seed(1)
            change(model, optimizer)

    return between


def replace_layer(model, optimizer):
    model.two = nn.Linear(8, 4)
    optimizer.add_param_group({"params": list(model.two.parameters())})


def replace_parameter(model, optimizer):
    fresh = nn.Parameter(model.one.weight.detach() * 0.5)
    group = optimizer.param_groups[0]
    group["params"] = [fresh if p is model.one.weight else p for p in group["params"]]
    model.one.weight = fresh


def widen(model, optimizer):
    """A parameter of another shape under the same name."""
    model.one, model.norm, model.two = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 4)
    optimizer.param_groups[0]["params"] = [p for p in model.parameters() if p.requires_grad]
    optimizer.state.clear()


def swap_data(model, optimizer):
    model.one.weight.data = torch.randn(8, 6)


def add_layer(model, optimizer):
    model.norm = nn.Sequential(model.norm, nn.Tanh(), nn.Linear(8, 8))
    optimizer.add_param_group({"params": list(model.norm[2].parameters()), "lr": 0.01})


def remove_activation(model, optimizer):
    model.relu = nn.Identity()


def change_activation(model, optimizer):
    model.relu = nn.Sequential(nn.SiLU(inplace=True), nn.Hardtanh())


def delete_layer(model, optimizer):
    del model.norm
    model.norm = nn.Identity()


def to_float64(model, optimizer):
    model.double()
    model.register_forward_pre_hook(lambda _module, args: (args[0].double(),))
    optimizer.state.clear()


def to_bfloat16(model, optimizer):
    model.bfloat16()
    model.register_forward_pre_hook(lambda _module, args: (args[0].bfloat16(),))
    optimizer.state.clear()


def freeze(model, optimizer):
    model.one.requires_grad_(False)
    model.one.zero_grad()


def unfreeze(model, optimizer):
    model.frozen.requires_grad_(True)
    optimizer.add_param_group({"params": list(model.frozen.parameters())})


def forget_gradients(model, optimizer):
    model.two.weight.grad = None


def clear_state(model, optimizer):
    optimizer.state.clear()


def strange_state(model, optimizer):
    state = optimizer.state[model.one.weight]
    state.update(note="text", count=3, nothing=None, sparse=torch.eye(3).to_sparse())
    state.update(meta=torch.empty(3, device="meta"), complex=torch.ones(3, dtype=torch.complex64))


def no_rate(model, optimizer):
    optimizer.param_groups[0]["lr"] = torch.tensor(0.1)


def empty_group(model, optimizer):
    optimizer.add_param_group({"params": []})


def evaluate(model, optimizer):
    model.eval()
    with torch.no_grad():
        model(torch.ones(2, 6))
    model.train()


def fail_in_forward(model, optimizer):
    with pytest.raises(RuntimeError):
        model(torch.ones(2, 7))


def fail_in_activation(model, optimizer):
    hook = model.relu.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(torch.ones(2, 6))
    hook.remove()


def fail_in_backward(model, optimizer):
    out = model(torch.ones(2, 6))["logits"]
    out.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        out.sum().backward()


def fail_in_optimizer(model, optimizer):
    hook = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    hook.remove()


def interrupt(model, optimizer):
    def stop(*_):
        raise KeyboardInterrupt

    hook = model.relu.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        model(torch.ones(2, 6))
    hook.remove()


def copy_and_train(model, optimizer):
    other = copy.deepcopy(model)
    other(torch.ones(2, 6))["logits"].sum().backward()
    del other
    gc.collect()


def rename(model, optimizer):
    model.three = model.two
    model._modules["zwei"] = model._modules.pop("two")
    model._modules["two"] = model._modules.pop("zwei")


def hostile_name(model, optimizer):
    model.add_module("bad\n\x00name", nn.ReLU())


def cycle(model, optimizer):
    """A module that holds its parent; named_modules must not loop."""
    object.__setattr__(model.relu, "parent", model)


def share(model, optimizer):
    model.norm = nn.Sequential(model.norm, twice := nn.Softplus(), twice)


def load(model, optimizer):
    model.load_state_dict(
        {k: v * 0.5 if v.is_floating_point() else v for k, v in model.state_dict().items()}
    )


def load_assigned(model, optimizer):
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    optimizer.param_groups[0]["params"] = [p for p in model.parameters() if p.requires_grad]
    optimizer.state.clear()


def reload_optimizer(model, optimizer):
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def train_twice(model, optimizer):
    for _ in range(2):
        model(torch.ones(3, 6))["logits"].sum().backward()


def step_without_forward(model, optimizer):
    optimizer.step()


def default_dtype_and_device(model, optimizer):
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)


CHANGES = (
    replace_layer,
    replace_parameter,
    widen,
    swap_data,
    add_layer,
    remove_activation,
    change_activation,
    delete_layer,
    to_float64,
    to_bfloat16,
    freeze,
    unfreeze,
    forget_gradients,
    clear_state,
    strange_state,
    no_rate,
    empty_group,
    evaluate,
    fail_in_forward,
    fail_in_activation,
    fail_in_backward,
    fail_in_optimizer,
    interrupt,
    copy_and_train,
    rename,
    hostile_name,
    cycle,
    share,
    load,
    load_assigned,
    reload_optimizer,
    train_twice,
    step_without_forward,
    default_dtype_and_device,
)
STEPS = (1, 4)


@pytest.mark.parametrize("step", mostly_slow(STEPS))
@pytest.mark.parametrize("change", mostly_slow(CHANGES), ids=lambda change: change.__name__)
def test_a_model_may_change(tmp_path, change, step):
    expected = undisturbed(at(step, change))
    trained = recorded(tmp_path / "run", at(step, change))
    assert trained.is_same(expected)
    assert trained.said == []
    assert len(open_run(tmp_path / "run").steps["step"]) >= N_STEPS
