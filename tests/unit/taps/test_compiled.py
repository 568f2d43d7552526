"""Models that torch.compile has compiled: seen as if they had not been."""

import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deephochuli.errors import DeepHochuliWarning
from deephochuli.taps import QUANTITIES, Selection, _graphs, attach
from tests.unit.taps.conftest import Collector

EVERYTHING = Selection(quantities=QUANTITIES)


class Block(nn.Module):
    """Two calls of one in-place ReLU, a GELU, and a residual addition in place."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu, self.gelu = nn.ReLU(inplace=True), nn.GELU()

    def forward(self, x):
        y = self.relu(self.norm(self.conv1(x)))
        y = self.conv2(y)
        y += x
        return self.gelu(self.relu(y)).mean((1, 2, 3))


def wrapped(model, backend):
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    return compiled, compiled


def in_place(model, backend):
    model.compile(backend=backend, fullgraph=True)
    return model, model


def as_a_function(model, backend):
    def call(x):
        return model(x)

    return model, torch.compile(call, backend=backend, fullgraph=True)


WAYS = {"torch.compile(model)": wrapped, "model.compile()": in_place, "a function": as_a_function}


class Functional(nn.Module):
    """The same as functions, in place and not, one of them in a part that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.part = Part()
        self.attend = nn.Linear(5, 5)

    def forward(self, x):
        y = F.relu(self.conv1(x), inplace=True)
        y = self.part(self.part(y)) + self.conv2(y).tanh()
        y = F.gelu(y).clamp(min=0).clamp(min=0, max=6)
        y = F.scaled_dot_product_attention(self.attend(y), y, y)
        return F.softmax(y.mean(3), -1).sum((1, 2))


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return torch.sigmoid(F.silu(self.norm(x)))


def train(call, optimizer, n_steps=2):
    torch.manual_seed(1)
    for _ in range(n_steps):
        optimizer.zero_grad()
        call(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimizer.step()


def seen_in(way, backend, *, make=Block, before=False, after=False):
    """What is seen of two steps; compiled code may be there before the attachment, or live on."""
    torch.manual_seed(0)
    model = make()
    recorded, call = way(model, backend) if way else (model, model)
    if before:
        train(call, torch.optim.SGD(model.parameters(), 0.0))
    torch.manual_seed(0)
    model.load_state_dict(make().state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    collector = Collector()
    with attach(recorded, optimizer, collector, EVERYTHING) as attachment:
        collector.attachment = attachment
        train(call, optimizer)
        assert len(attachment.faults) == 0
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if after:
        n_events = len(collector.events)
        train(call, optimizer)
        assert len(collector.events) == n_events
    return collector, weights


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("has_compiled", [False, True])
def test_the_compiler_is_reset_only_where_it_has_compiled(has_compiled, monkeypatch):
    model, resets = nn.Linear(2, 1), []
    if has_compiled:
        torch.compile(model, backend="eager")(torch.ones(2))
    reset = torch.compiler.reset
    monkeypatch.setattr(torch.compiler, "reset", lambda: (resets.append(1), reset()))
    with attach(model, torch.optim.SGD(model.parameters(), 0.1), Collector(), EVERYTHING):
        assert len(resets) == has_compiled
        model(torch.ones(2))
    assert len(resets) == has_compiled


def assert_same(collector, expected):
    assert set(collector.seen) == set(expected.seen)
    for place, tensors in expected.seen.items():
        assert len(collector.seen[place]) == len(tensors), place
        for ours, theirs in zip(collector.seen[place], tensors, strict=True):
            assert torch.equal(ours, theirs), place
        found, known = collector.places[place], expected.places[place]
        assert (found.role, found.channel_dim) == (known.role, known.channel_dim)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", [False, True], ids=["attached first", "compiled first"])
def test_compiled_code_shows_what_eager_code_shows(way, before):
    expected, weights = seen_in(None, None)
    assert {"relu:z", "relu#2:z", "relu:dz", "relu#2:dz", "gelu:a"} <= set(expected.seen)
    collector, ours = seen_in(WAYS[way], "aot_eager", before=before, after=True)
    assert_same(collector, expected)
    assert [event for event in collector.events if event != "end"] == [
        "train",
        "before",
        "after",
    ] * 2
    assert all(torch.equal(ours[name], weights[name]) for name in weights)


FUNCTIONS = [
    pytest.param("a function", False),
    *(
        pytest.param(way, before, marks=pytest.mark.slow)
        for way in WAYS
        for before in (False, True)
    ),
]


@pytest.mark.parametrize(("way", "before"), FUNCTIONS)
def test_functions_are_seen_in_compiled_code_as_in_eager_code(way, before):
    expected, weights = seen_in(None, None, make=Functional)
    assert {
        *("relu:z", "relu:dz", "tanh:a", "gelu:da", "clamp:z", "part.silu:z", "part.sigmoid:da"),
        *("attention:a", "attention:da", "softmax:dz"),
    } <= set(expected.seen)
    assert "clamp#2:z" not in expected.seen  # a clamp at both ends is no rectifier
    assert len(expected.seen["part.silu:z"]) == 4  # two calls of the part in each of two steps
    collector, ours = seen_in(WAYS[way], "aot_eager", make=Functional, before=before, after=True)
    assert_same(collector, expected)
    assert all(torch.equal(ours[name], weights[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of inductor's own making
@pytest.mark.skipif(sys.platform == "win32", reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_looked_at_in_what_inductor_fuses(way):
    collector, _ = seen_in(WAYS[way], "inductor", after=True)
    assert {place.rpartition(":")[2] for place in collector.seen} == {"w", "g", "dw"}


def parts_of(model, backend):
    """Only some layers are compiled; the model itself runs in Python."""
    for part in (model.relu, model.gelu, model.conv2):
        part.compile(backend=backend)
    return model, model


def inside_a_sequence(model, backend):
    """torch does not trace a sequence that is compiled in place, only what is in it."""
    outer = nn.Sequential(model)
    outer.compile(backend=backend)
    return outer, outer


@pytest.mark.parametrize("way", [parts_of, inside_a_sequence])
def test_what_python_still_runs_is_seen_beside_what_is_compiled(way):
    expected, weights = seen_in(None, None)
    collector, ours = seen_in(way, "aot_eager")

    def counts(of, quantities=("z", "a", "dz", "da")):
        return {name.removeprefix("0."): n for name, n in of.counts(*quantities).items()}

    assert counts(collector) == counts(expected)
    assert [event for event in collector.events if event != "end"].count("train") == 2
    assert all(torch.equal(ours[name], weights[name.removeprefix("0.")]) for name in weights)


def test_layers_come_in_the_order_of_the_model():
    collector, _ = seen_in(wrapped, "aot_eager")
    places = collector.places
    order = [places[f"{name}:z"].order for name in ("relu", "relu#2", "gelu")]
    assert order == sorted(order)
    assert places["conv1.weight:w"].order < places["gelu:z"].order


def test_an_evaluation_is_told_from_a_training():
    model = Block()
    compiled = torch.compile(model, backend="aot_eager")
    collector = Collector()
    with attach(compiled, [], collector):
        compiled(torch.randn(2, 3, 5, 5)).sum().backward()
        model.eval()
        with torch.no_grad():
            compiled(torch.randn(2, 3, 5, 5))
    assert [event for event in collector.events if event != "end"] == ["train", "eval"]


def test_steps_that_are_not_recorded_show_nothing():
    compiled = torch.compile(Block(), backend="aot_eager")
    collector = Collector()
    collector.is_on = False
    with attach(compiled, [], collector) as attachment:
        compiled(torch.randn(2, 3, 5, 5)).sum().backward()
        assert not collector.seen
        collector.is_on = True
        compiled(torch.randn(2, 3, 5, 5)).sum().backward()
        assert len(collector.counts("z", "dz")) == 6
        assert len(attachment.faults) == 0


def test_a_failing_sink_is_switched_off_and_said_once():
    compiled = torch.compile(Block(), backend="aot_eager")

    class Fails(Collector):
        def see(self, place, tensor):
            raise ValueError("full")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with attach(compiled, [], Fails(), Selection(quantities="z")):
            for _ in range(2):
                compiled(torch.randn(2, 3, 5, 5)).sum().backward()
    ours = [w for w in caught if "switched off" in str(w.message)]
    assert len(ours) == 1


# The compiler itself asks tensors between two graphs for their gradient.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_graph_break_changes_nothing_of_what_is_seen():
    class Broken(Block):
        def forward(self, x):
            y = self.relu(self.norm(self.conv1(x)))
            torch._dynamo.graph_break()
            return self.gelu(self.relu(self.conv2(y) + x)).mean((1, 2, 3))

    torch.manual_seed(0)
    model = Broken()
    compiled = torch.compile(model, backend="aot_eager")
    collector = Collector()
    with attach(compiled, [], collector, Selection(quantities=["z", "dz"])) as attachment:
        compiled(torch.randn(2, 3, 5, 5)).sum().backward()
        assert len(attachment.faults) == 0
    assert collector.counts("z", "dz") == dict.fromkeys(
        ("relu:z", "relu:dz", "relu#2:z", "relu#2:dz", "gelu:z", "gelu:dz"), 1
    )
    assert collector.events.count("train") == 1


class Wrapped(nn.Module):
    """One layer with a GELU, as a function."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return F.gelu(self.linear(x))


class Checkpointed(nn.Module):
    """A layer whose activations are computed again in the backward."""

    def __init__(self):
        super().__init__()
        self.linear, self.tanh = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x):
        y = checkpoint(lambda x: F.silu(self.tanh(self.linear(x))), x, use_reentrant=False)
        return F.gelu(y)


class Breaks(nn.Module):
    """Functions before and after graph breaks; the last part has no use for `self`."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = F.relu(self.first(x))
        torch._dynamo.graph_break()
        y = F.relu(self.second(y))
        torch._dynamo.graph_break()
        return F.relu(y) + 1


def seen_of_functions(model, *, call=None, backend="aot_eager", dtype=torch.float32):
    """What is seen of one step of a model, or of a call in which it takes part; what is said."""
    call = call or model.to(dtype)
    run = torch.compile(call, backend=backend) if backend else call
    collector = Collector()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DeepHochuliWarning)
        with attach(model, [], collector, EVERYTHING) as attachment:
            run(torch.linspace(-2, 2, 8, dtype=dtype).reshape(2, 4)).sum().backward()
            assert len(attachment.faults) == 0
    return collector, [str(w.message) for w in said if w.category is DeepHochuliWarning]


def test_functions_in_a_checkpoint_are_seen_once():
    model = Checkpointed()
    expected, _ = seen_of_functions(model, backend=None)
    assert {"silu:z", "silu:dz", "tanh:z", "gelu:a"} <= set(expected.seen)
    assert_same(seen_of_functions(model)[0], expected)


# The compiler itself asks tensors between two graphs for their gradient.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_after_a_graph_break_functions_are_counted_on_or_it_is_said():
    model = Breaks()
    expected, _ = seen_of_functions(model, backend=None)
    collector, said = seen_of_functions(model)
    assert set(expected.seen) - set(collector.seen) == {"relu#3:z", "relu#3:dz", "relu#3:da"}
    for place, tensors in collector.seen.items():
        assert all(map(torch.equal, tensors, expected.seen[place])), place
    (message,) = said
    assert message.startswith("A call of relu (File")
    assert 'test_compiled.py", line ' in message


def test_a_narrow_tensor_at_a_function_is_left_alone_and_that_is_said():
    collector, said = seen_of_functions(Wrapped(), dtype=torch.bfloat16)
    assert not collector.seen
    assert len(said) == 1
    assert said[0].startswith("The tensors at 'gelu' have less than 32 bits")


def fuses(gm, example_inputs):
    """A back end that is not known to run operations one by one."""
    return gm.forward


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "The activation '1' (relu) lies"),
        (nn.Sequential(Wrapped(), nn.Tanh()), "The activation '0.gelu' of a Wrapped (File "),
    ],
)
def test_where_a_back_end_fuses_nothing_is_looked_at_and_that_is_said(model, place):
    collector, (said,) = seen_of_functions(model, backend=fuses)
    assert not collector.seen
    assert said.startswith(place)
    assert "inside code that fuses fuses" in said


def test_functions_of_other_models_in_the_same_graph_are_none_of_ours():
    ours, theirs = Wrapped(), Checkpointed()
    collector, _ = seen_of_functions(ours, call=lambda x: F.relu(theirs(ours(x))))
    assert set(collector.seen) == {"gelu:z", "gelu:a", "gelu:dz", "gelu:da"}


def test_torch_compiles_with_its_own_method_afterwards():
    from torch._dynamo.output_graph import OutputGraph

    before = OutputGraph.call_user_compiler
    with attach(Wrapped(), [], Collector()), attach(Wrapped(), [], Collector()):
        assert OutputGraph.call_user_compiler is not before
    assert OutputGraph.call_user_compiler is before


def of_another_torch(frame):
    """Read a frame by a name that it does not have."""
    return frame.self_of_the_method


@pytest.mark.parametrize("lacks", ["the method", "a name in the frame"])
def test_where_torch_keeps_graphs_otherwise_it_compiles_as_ever(lacks, monkeypatch):
    from torch._dynamo.output_graph import OutputGraph

    model, x = Wrapped(), torch.linspace(-2, 2, 8).reshape(2, 4)
    expected = model(x)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DeepHochuliWarning)
        with monkeypatch.context() as other:
            if lacks == "the method":
                other.delattr(OutputGraph, "call_user_compiler")
            attachment = attach(model, [], Collector())
        monkeypatch.setattr(_graphs, "_owner", of_another_torch)
        with attachment:
            assert torch.equal(torch.compile(model, backend="aot_eager")(x), expected)
    (message,) = [str(each.message) for each in said if each.category is DeepHochuliWarning]
    assert "functions in compiled code" in message


def test_the_warning_filters_are_as_they_were():
    filters = list(warnings.filters)
    with attach(Block(), [], Collector()):
        assert warnings.filters != filters
    assert warnings.filters == filters


def test_an_exported_program_contains_nothing_of_the_tool():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(2, 4)
    with attach(model, [], Collector()):
        program = torch.export.export(model, (x,))
    assert "deephochuli" not in str(program.graph)


def test_narrow_tensors_are_left_alone_and_that_is_said_once():
    compiled = torch.compile(Block().bfloat16(), backend="aot_eager")
    collector = Collector()
    with warnings.catch_warnings(record=True) as said, attach(compiled, [], collector):
        warnings.simplefilter("always", DeepHochuliWarning)
        for _ in range(2):
            compiled(torch.randn(2, 3, 5, 5).bfloat16()).sum().backward()
    assert [w.category for w in said] == [DeepHochuliWarning]
    assert "less than 32 bits" in str(said[0].message)
    assert not collector.counts("z", "dz", "a", "da")
    assert collector.events.count("train") == 2
