"""Finding models while they are trained: which one, with which optimizers, from which step on."""

import copy
import gc
import itertools
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn.modules import module as nn_module
from torch.optim import optimizer as optimizers

from deephochuli.errors import TapError
from deephochuli.record import Discovery, GoingOn, Options, record
from deephochuli.record._auto import is_chosen
from deephochuli.store import open_run


class Net(nn.Module):
    def __init__(self, n_in=4, n_out=3):
        super().__init__()
        self.hidden = nn.Linear(n_in, 5)
        self.head = nn.Linear(5, n_out)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


class Encoder(Net):
    pass


class Decoder(Net):
    pass


def sgd(*models):
    return torch.optim.SGD([p for model in models for p in model.parameters()], lr=0.1)


def step(loss, *used):
    for optimizer in used:
        optimizer.zero_grad()
    loss.square().sum().backward()
    for optimizer in used:
        optimizer.step()


X = torch.linspace(-1, 1, 8).reshape(2, 4)


@pytest.fixture
def discovery(tmp_path):
    """A discovery that has begun, and must not complain."""
    complaints = []
    found = Discovery(Options(tmp_path / "runs"), complain=complaints.append)
    found.begin()
    yield found
    found.end()
    assert complaints == []


def ended(discovery):
    """Names of the runs and the steps recorded in each, once all is over."""
    discovery.end()
    return {run.name: open_run(run.path).steps["step"].tolist() for run in discovery.runs}


def reader(discovery, index=0):
    discovery.end()
    return open_run(discovery.runs[index].path)


@pytest.mark.parametrize(("first", "every", "n_chosen"), [(2, "1", 4), (3, "2", 2), (1, "1", 4)])
def test_recorded_steps_are_counted_from_where_a_run_goes_on(tmp_path, first, every, n_chosen):
    """Of the steps that are over; the one that goes on may not come to its end."""
    model = Net()
    optimizer = sgd(model)
    with record(model, optimizer, to=tmp_path / "runs" / "Net"):
        for _ in range(4):
            step(model(X), optimizer)
    discovery = Discovery(Options(tmp_path / "runs", every=every), complain=pytest.fail)
    discovery.begin()
    discovery.take(model, [optimizer], GoingOn(tmp_path / "runs" / "Net", first))
    (run,) = discovery.runs
    assert run.schedule.n_chosen == 0
    for _ in range(4):
        step(model(X), optimizer)
    discovery.end()
    assert run.schedule.n_chosen == n_chosen


# ---- which model


def test_the_first_step_is_recorded(discovery):
    model = Net()
    optimizer = sgd(model)
    for _ in range(3):
        step(model(X), optimizer)
    run = reader(discovery)
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.scalars("relu", "z")["n"].tolist() == [10, 10, 10]
    assert run.scalars("relu", "dz")["n"].tolist() == [10, 10, 10]
    assert run.scalars("hidden.weight", "dw")["n"].tolist() == [20, 20, 20]
    assert run.manifest.model.class_name == "Net"


def test_several_optimizers_of_one_model_end_a_step_together(discovery):
    model = Net()
    first, second = sgd(model.hidden), torch.optim.Adam(model.head.parameters())
    for _ in range(3):
        step(model(X), first, second)
    assert ended(discovery) == {"Net": [0, 1, 2]}
    assert reader(discovery).scalars("head.weight", "state:exp_avg")["n"].tolist() == [15] * 3


def test_models_with_an_optimizer_each_are_runs_of_their_own(discovery):
    one, other = Encoder(), Decoder()
    first, second = sgd(one), sgd(other)
    for _ in range(3):
        step(one(X), first)
        step(other(X), second)
    assert ended(discovery) == {"Encoder": [0, 1, 2], "Decoder": [0, 1, 2]}


def test_models_that_share_an_optimizer_are_one_run(discovery):
    encoder, decoder = Encoder(), Decoder(3)
    optimizer = sgd(encoder, decoder)
    for _ in range(3):
        step(decoder(encoder(X)), optimizer)
    assert ended(discovery) == {"Encoder+Decoder": [0, 1, 2]}
    run = reader(discovery)
    assert run.scalars("encoder.relu", "z")["n"].tolist() == [10] * 3
    assert run.scalars("decoder.relu", "z")["n"].tolist() == [10] * 3
    assert run.scalars("decoder.head.weight", "dw")["n"].tolist() == [15] * 3
    assert run.steps["n_micro_batches"].tolist() == [1, 1, 1]


def test_parts_that_share_an_optimizer_are_the_model_that_holds_them(discovery):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()
            self.decoder = Decoder(3)

    both = nn.ModuleDict({"both": Both(), "unrelated": Net()})
    optimizer = sgd(both["both"])
    for _ in range(3):
        step(both["both"].decoder(both["both"].encoder(X)), optimizer)
    assert ended(discovery) == {"Both": [0, 1, 2]}
    assert reader(discovery).scalars("decoder.relu", "z")["n"].tolist() == [10] * 3


def test_a_shared_part_brings_two_models_and_their_optimizers_together(discovery):
    encoder, actor, critic = Encoder(), Net(3), Decoder(3)
    first, second = sgd(actor), sgd(encoder, critic)
    for _ in range(2):
        step(actor(encoder(X)).sum() + critic(encoder(X)).sum(), first, second)
    assert ended(discovery) == {"Encoder+Decoder": [0, 1], "Net": [0, 1]}


def test_wrappers_for_several_devices_are_looked_through(discovery):
    model = Net()
    optimizer = sgd(model)
    parallel = nn.DataParallel(model)
    step(parallel(X), optimizer)
    assert ended(discovery) == {"Net": [0]}
    assert reader(discovery).scalars("relu", "z")["n"].tolist() == [10]


def test_copies_teachers_and_evaluations_are_left_alone(discovery):
    model, teacher = Net(), Net()
    average = copy.deepcopy(model)
    with torch.no_grad():
        model(X)
    optimizer = sgd(model)
    for _ in range(2):
        step(model(X) - teacher(X).detach(), optimizer)
        average(X)
        with torch.no_grad():
            average(X)
            model(X)
    assert ended(discovery) == {"Net": [0, 1]}
    assert reader(discovery).scalars("relu", "z")["n"].tolist() == [10, 10]
    assert discovery.notes == []


def test_without_an_optimizer_nothing_is_recorded(discovery):
    Net()(X).sum().backward()
    assert ended(discovery) == {}
    assert discovery.n_optimizers == 0


# ---- from which step on


def test_an_optimizer_that_comes_after_the_first_call(discovery):
    model = Net()
    loss = model(X)
    optimizer = sgd(model)
    step(loss, optimizer)
    step(model(X), optimizer)
    run = reader(discovery)
    assert run.steps["step"].tolist() == [0, 1]
    assert run.scalars("relu", "z")["step"].tolist() == [1]
    assert run.scalars("hidden.weight", "g")["step"].tolist() == [0, 1]
    assert discovery.notes == [
        "Net was called before its optimizer was made; what was computed there is not in the "
        "record."
    ]


def test_a_recording_that_begins_within_a_step_suspects_nothing(discovery):
    model = Net()
    loss = model(X)
    optimizers = [sgd(model.hidden), sgd(model.head)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step(loss, *optimizers)
        step(model(X), *optimizers)
    assert [str(each.message) for each in caught] == []
    assert ended(discovery) == {"Net": [0, 1]}


def test_new_optimizers_of_a_model_begin_a_new_run(discovery):
    model = Net()
    first = sgd(model)
    step(model(X), first)
    second = torch.optim.Adam(model.parameters())
    for _ in range(2):
        step(model(X), second)
    assert ended(discovery) == {"Net": [0], "Net-2": [0, 1]}
    assert reader(discovery, 1).manifest.optimizer.class_name == "Adam"


def test_an_optimizer_around_another_one_does_not_end_the_step(discovery):
    class Twice(torch.optim.Optimizer):
        """Steps through an optimizer inside, for the same parameters."""

        def __init__(self, parameters):
            super().__init__(parameters, {})
            self.inside = torch.optim.SGD(self.param_groups, lr=0.1)

        def step(self):
            self.inside.step()

    model = Net()
    optimizer = Twice(model.parameters())
    for _ in range(6):
        step(model(X), optimizer)
    assert ended(discovery) == {"Net": list(range(6))}
    assert reader(discovery).scalars("relu", "z")["n"].tolist() == [10] * 6


def test_an_earlier_optimizer_that_is_used_again(discovery):
    model = Net()
    first, second = sgd(model), sgd(model)
    step(model(X), second)
    for _ in range(5):
        step(model(X), first)
    assert list(ended(discovery)) == ["Net", "Net-2"]
    assert len(reader(discovery, 1).steps["step"]) == 2  # three steps told that it is in use


def test_an_optimizer_that_nobody_saw_being_made(discovery):
    model = Net()
    optimizer = copy.deepcopy(sgd(model))
    optimizer.param_groups[0]["params"] = list(model.parameters())
    discovery._known.clear()
    for _ in range(2):
        step(model(X), optimizer)
    assert ended(discovery) == {"Net": [0, 1]}


def test_parameters_without_a_module(discovery):
    free = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([free], lr=0.1)
    step(free, optimizer)
    assert ended(discovery) == {}
    assert "belong to no module" in discovery.notes[0]


@pytest.mark.slow
def test_a_model_for_each_fold_and_none_kept_alive(discovery):
    gone = []
    for _ in range(3):
        model = Net()
        optimizer = sgd(model)
        gc.collect()
        assert [reference() for reference in gone] == [None] * len(gone)
        gone.append(weakref.ref(model))
        step(model(X), optimizer)
        step(model(X), optimizer)
    assert ended(discovery) == {"Net": [0, 1], "Net-2": [0, 1], "Net-3": [0, 1]}


def test_a_model_that_is_still_in_use_is_not_closed(discovery):
    models = [Net() for _ in range(3)]
    used = [sgd(model) for model in models]
    for _ in range(2):
        for model, optimizer in zip(models, used, strict=True):
            step(model(X), optimizer)
            sgd(Net())  # a look at what is abandoned
    assert ended(discovery) == {"Net": [0, 1], "Net-2": [0, 1], "Net-3": [0, 1]}


# ---- compiled models


@pytest.mark.parametrize("way", ["new", "in-place"])
def test_a_compiled_model_beside_a_plain_one(discovery, way):
    compiled, plain = Encoder(), Decoder()
    first, second = sgd(compiled), sgd(plain)
    if way == "new":
        called = torch.compile(compiled, backend="eager")
    else:
        compiled.compile(backend="eager")
        called = compiled
    for _ in range(3):
        step(called(X), first)
        step(plain(X), second)
    assert ended(discovery) == {"Encoder": [0, 1, 2], "Decoder": [0, 1, 2]}
    assert reader(discovery, 0).scalars("hidden.weight", "dw")["n"].tolist() == [20] * 3
    assert reader(discovery, 1).scalars("relu", "z")["n"].tolist() == [10] * 3
    step(called(X), first)  # it still works when nobody looks any more


@pytest.mark.parametrize("way", ["new", "in-place"])
def test_no_hook_of_ours_is_compiled_into_a_model_that_is_not_recorded(discovery, way):
    seen = []

    def backend(graph, _):
        seen.append(dict(nn_module._global_forward_pre_hooks))
        return graph

    torch.compiler.reset()  # what is compiled is kept for other models of the class
    model = Net()
    if way == "new":
        torch.compile(model, backend=backend)(X)
    else:
        model.compile(backend=backend)
        model(X)
    assert seen == [{}]
    assert discovery._called in nn_module._global_forward_pre_hooks.values()


# ---- leaving things as they were


def state_of_torch():
    return (
        dict(nn_module._global_forward_pre_hooks),
        dict(nn_module._global_forward_hooks),
        dict(optimizers._global_optimizer_pre_hooks),
        dict(optimizers._global_optimizer_post_hooks),
        torch.optim.Optimizer.__init__,
        torch.compile,
        torch._dynamo.OptimizedModule.__call__,
    )


def test_torch_is_left_as_it_was(tmp_path):
    import torch._dynamo

    before = state_of_torch()
    discovery = Discovery(Options(tmp_path / "runs"), complain=print)
    discovery.begin()
    assert state_of_torch() != before
    model = torch.compile(Net(), backend="eager")
    optimizer = sgd(model)
    step(model(X), optimizer)
    discovery.end()
    assert state_of_torch() == before


def test_once_every_optimizer_has_its_model_calls_cost_nothing_more(discovery):
    model = Net()
    optimizer = sgd(model)
    step(model(X), optimizer)
    ours = [h for h in nn_module._global_forward_pre_hooks.values() if h == discovery._called]
    assert ours == []


def test_no_random_number_is_drawn(discovery):
    torch.manual_seed(5)
    model = Net()
    optimizer = sgd(model)
    before = torch.get_rng_state()
    step(model(X), optimizer)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("options", [{"select": ("nowhere",)}, {"every": "never"}])
def test_what_cannot_be_recorded_is_said_once_and_trained_on(tmp_path, options):
    complaints = []
    discovery = Discovery(Options(tmp_path / "runs", **options), complain=complaints.append)
    discovery.begin()
    model = Net()
    optimizer = sgd(model)
    for _ in range(3):
        step(model(X), optimizer)
    discovery.end()
    assert len(complaints) == 1
    assert complaints[0].startswith("Net is not recorded: ")
    assert complaints[0].endswith(". The script goes on.")
    assert ended(discovery) == {}


def test_a_fault_of_ours_does_not_reach_the_script(tmp_path, monkeypatch):
    def fail(*_):
        raise TapError("on purpose")

    complaints = []
    discovery = Discovery(
        Options(tmp_path / "runs"), complain=complaints.append, on_update=lambda: fail()
    )
    discovery.begin()
    monkeypatch.setattr(discovery._runs, "take", fail)
    model = Net()
    optimizer = sgd(model)
    for _ in range(3):
        step(model(X), optimizer)
    discovery.end()
    assert complaints == [
        "Net is not recorded: on purpose. The script goes on.",
        "The progress line is not recorded: on purpose. The script goes on.",
    ]


def test_so_many_runs_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("deephochuli.record._runs.MOST_RUNS", 2)
    discovery = Discovery(Options(tmp_path / "runs"), complain=print)
    discovery.begin()
    for _ in range(4):
        model = Net()
        optimizer = sgd(model)
        step(model(X), optimizer)
    assert list(ended(discovery)) == ["Net", "Net-2"]
    assert len(discovery.notes) == 1
    assert discovery.notes[0].startswith("The first 2 runs are recorded, and none after them")


def test_ranks_write_beside_each_other(discovery, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    model = Net()
    optimizer = sgd(model)
    step(model(X), optimizer)
    assert list(ended(discovery)) == ["Net"]
    assert discovery.runs[0].path.parts[-2:] == ("Net", "rank-3")


# ---- the schedule of a script of which nothing is known


def test_the_automatic_schedule_never_leaves_a_large_gap():
    chosen = [number for number in range(100_000) if is_chosen(number)]
    assert chosen[:33] == list(range(33))
    assert all(b - a <= max(1, b / 32) for a, b in itertools.pairwise(chosen))
    assert len(chosen) < 32 * 13
