"""A training on a GPU is recorded: nothing in it changes, and what is counted was in it."""

import functools
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels import TensorJob, UpdateJob, reference_backend
from deephochuli.taps import QUANTITIES, Selection
from tests.cuda.device import (
    DEVICE,
    convolutional,
    drawn,
    images,
    perceptron,
    sentences,
    step_of,
    transformer,
    vectors,
)
from tests.neutrality.harness import Training, fingerprint, not_recorded

pytestmark = pytest.mark.cuda

EVERYTHING = Selection(quantities=QUANTITIES, outputs=True)
N_STEPS = 4
SKIPPED = 1
"""The step in which a gradient scaler meets an infinity."""


def random_state():
    return torch.cuda.get_rng_state()


def plain(build, draw):
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    return Training(model, [optimizer], step_of(model, optimizer, draw), random_state)


def autocast(build, draw, dtype):
    """Mixed precision, in FP16 with a scaler, one of whose steps is skipped."""
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=2.0**10, enabled=dtype is torch.float16)

    def step(number):
        x, y = draw(number)
        with torch.autocast(DEVICE, dtype):
            loss = F.cross_entropy(model(x), y)
        if number == SKIPPED and scaler.is_enabled():
            loss = loss * float("inf")
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return Training(model, [optimizer], step, lambda: [scaler.state_dict(), random_state()])


MODELS = {"conv": (functools.partial(convolutional, 0.1), images), "text": (transformer, sentences)}
WAYS = {
    "fp32": plain,
    "bf16": functools.partial(autocast, dtype=torch.bfloat16),
    "fp16": functools.partial(autocast, dtype=torch.float16),
}


def recording(folder, **options):
    options = {"select": EVERYTHING} | options
    return lambda model, optimizers: dh.record(model, optimizers, to=folder / "run", **options)


def quantities(run):
    return {tap.quantity.partition(":")[0] for tap in run.taps()}


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_recording_changes_nothing(name, way, tmp_path):
    build = functools.partial(WAYS[way], *MODELS[name])
    with sdpa_kernel(SDPBackend.MATH):
        bare = fingerprint(build, N_STEPS, not_recorded)
        assert fingerprint(build, N_STEPS, recording(tmp_path)) == bare
    run = dh.open_run(tmp_path / "run")
    assert quantities(run) >= {"z", "a", "dz", "da", "w", "g", "dw", "state"}
    assert run.steps["step"].tolist() == list(range(N_STEPS))
    skipped = [way == "fp16" and step == SKIPPED for step in range(N_STEPS)]
    assert run.steps["skipped"].tolist() == skipped
    narrow = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[way]
    assert narrow in {tap.dtype for tap in run.taps() if tap.quantity == "z"}


def test_the_gradients_of_a_skipped_step_are_named(tmp_path):
    training = autocast(convolutional, images, torch.float16)
    with dh.record(training.model, training.optimizers, to=tmp_path / "run"):
        for number in range(N_STEPS):
            training.step(number)
    run = dh.open_run(tmp_path / "run")
    gradient = run.scalars("0.weight", "g")
    assert gradient["step"].tolist() == list(range(N_STEPS))
    assert [n > 0 for n in gradient["n_inf"] + gradient["n_nan"]] == [
        n == SKIPPED for n in range(N_STEPS)
    ]
    assert run.scalars("0.weight", "dw")["step"].tolist() == [0, 2, 3]


# ---- what is counted


class Onlooker:
    """Keeps what hooks of its own see in one step, on the CPU."""

    def __init__(self, model):
        self.seen = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.ReLU | nn.GELU):
                module.register_forward_pre_hook(functools.partial(self._before, name))
                module.register_forward_hook(functools.partial(self._after, name))

    def _before(self, name, module, args):
        self._keep((name, "z"), (name, "dz"), args[0])

    def _after(self, name, module, args, output):
        self._keep((name, "a"), (name, "da"), output)
        if isinstance(module, nn.ReLU):
            del self.seen[name, "a"]  # nothing that z does not tell

    def _keep(self, place, of_gradient, tensor):
        self.seen[place] = tensor.detach().clone()
        tensor.register_hook(lambda g: self.seen.__setitem__(of_gradient, g.detach().clone()))


def expected_of(build, draw):
    """Everything that one step shows, counted by the reference on a CPU."""
    model = build()
    onlooker = Onlooker(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step_of(model, optimizer, draw)(0)
    reference = reference_backend()
    places = list(onlooker.seen)
    summaries = reference.summarise([TensorJob(onlooker.seen[place].cpu()) for place in places])
    found = dict(zip(places, summaries, strict=True))
    for name, p in model.named_parameters():
        job = UpdateJob(before[name].cpu(), p.detach().cpu(), p.grad.cpu())
        (update,) = reference.summarise_updates([job])
        found |= {(name, "w"): update.weight, (name, "g"): update.gradient}
        found[name, "dw"] = update.update
    return found


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_counts_are_those_of_the_same_tensors_on_a_cpu(tmp_path, dtype):
    def build():
        return convolutional().to(dtype)

    def draw(step):
        x, y = images(step)
        return x.to(dtype), y

    expected = expected_of(build, draw)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    chosen = Selection(quantities={"z", "a", "dz", "da", "w", "g", "dw"})
    with dh.record(model, optimizer, to=tmp_path / "run", select=chosen):
        step_of(model, optimizer, draw)(0)
    run = dh.open_run(tmp_path / "run")
    for place, summary in expected.items():
        _, ((keys, counts),) = run.history(*place)
        assert np.array_equal(keys, summary.keys), place
        assert np.array_equal(counts, summary.counts), place
        row = run.scalars(*place)
        np.testing.assert_equal(row["max_abs"][0], summary.max_abs)
        np.testing.assert_allclose(row["sum_sq"][0], summary.sum_sq, rtol=1e-9)
    assert len(expected) == 7 + 3 * 7


class Branches(nn.Module):
    """Two activations that nothing keeps in order, one on a stream of its own that is late."""

    def __init__(self):
        super().__init__()
        self.aside, self.here = nn.ReLU(), nn.Tanh()
        self.weight = nn.Parameter(torch.ones(1 << 18, device=DEVICE))
        self.stream = torch.cuda.Stream()

    def forward(self, x):
        x = x * self.weight
        main = torch.cuda.current_stream()
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            torch.cuda._sleep(50_000_000)
            aside = self.aside(x)
        here = self.here(x)
        main.wait_stream(self.stream)
        x.record_stream(self.stream)
        aside.record_stream(main)
        return aside + here


def test_activations_on_two_streams_are_all_counted(tmp_path):
    model = Branches()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = drawn(1 << 18)
    with dh.record(model, optimizer, to=tmp_path / "run", select=EVERYTHING):
        for _ in range(3):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
    run = dh.open_run(tmp_path / "run")
    for layer in ("aside", "here"):
        for quantity in ("z", "dz", "da"):
            assert run.scalars(layer, quantity)["n"].tolist() == 3 * [x.numel()]
    (expected,) = reference_backend().summarise([TensorJob(x.cpu())])
    for layer in ("aside", "here"):
        assert np.array_equal(run.history(layer, "z")[1][0][1], expected.counts)


class Checkpointed(nn.Module):
    """A part is computed again in the backward, in the thread of autograd."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.inner = nn.Sequential(nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.ReLU())
        self.reentrant = reentrant

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(checkpoint(self.inner, x, use_reentrant=self.reentrant))


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_checkpoint_computes_again_is_counted_once(tmp_path, reentrant):
    def build():
        torch.manual_seed(0)
        model = Checkpointed(reentrant).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        return Training(model, [optimizer], step_of(model, optimizer, vectors), random_state)

    bare = fingerprint(build, 3, not_recorded)
    assert fingerprint(build, 3, recording(tmp_path)) == bare
    run = dh.open_run(tmp_path / "run")
    for layer in ("tanh", "inner.0", "inner.3"):
        for quantity in ("z", "dz", "da"):
            assert run.scalars(layer, quantity)["n"].tolist() == 3 * [8 * 32]


# ---- compiled code


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.usefixtures("deterministic")
def test_recording_what_is_compiled_changes_nothing(tmp_path):
    def build():
        torch.compiler.reset()
        model = torch.compile(perceptron())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        return Training(model, [optimizer], step_of(model, optimizer, vectors), random_state)

    bare = fingerprint(build, 2, not_recorded)
    with pytest.warns(DeepHochuliWarning, match="fuses"):
        assert fingerprint(build, 2, recording(tmp_path)) == bare
    torch.compiler.reset()
    run = dh.open_run(tmp_path / "run")
    assert quantities(run) >= {"w", "g", "dw"}
    assert run.steps["step"].tolist() == [0, 1]


# ---- the host does not wait


def test_neither_forward_nor_backward_waits_for_the_device(tmp_path):
    """While it is not allowed, each wait would raise within the recording, which would say so."""
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batches = [images(step) for step in range(3)]
    with dh.record(model, optimizer, to=tmp_path / "run", select=EVERYTHING):
        for number, (x, y) in enumerate(batches):
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            try:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            optimizer.step()
    run = dh.open_run(tmp_path / "run")
    for quantity in ("z", "a", "dz", "da"):
        assert run.scalars("4", quantity)["n"].tolist() == 3 * [8 * 8 * 3 * 3]


def test_a_step_waits_as_often_for_a_large_model_as_for_a_small_one(tmp_path):
    def waits(n_layers, name):
        layers = (each for _ in range(n_layers) for each in (nn.Linear(8, 8), nn.Tanh()))
        model = nn.Sequential(*layers).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        step = step_of(model, optimizer, lambda number: (drawn(8, 8), vectors(number)[1]))
        with dh.record(model, optimizer, to=tmp_path / name):
            step(0)
            step(1)
            x, y = drawn(8, 8), vectors(1)[1]
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                finally:
                    torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(each.message) for each in caught)

    waits(2, "first")  # what lies on the device for good is brought there
    small, large = waits(2, "small"), waits(20, "large")
    assert large <= small + 1, "each tensor of 72 more would add one"
    assert large <= 10


# ---- graphs


def graphed(folder):
    """Train with a graph made by torch around the model, the optimizer outside."""
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    step = step_of(model, optimizer, vectors)
    is_recorded = folder is not None
    with dh.record(model, optimizer, to=folder) if is_recorded else nullcontext():
        losses = [step(0)]
        says = pytest.warns(DeepHochuliWarning, match="graph is being captured")
        with says if is_recorded else nullcontext():
            torch.cuda.make_graphed_callables(model, (vectors(0)[0],))
        losses += [step(number) for number in range(1, 4)]
    return [loss.item() for loss in losses], [p.detach().cpu() for p in model.parameters()]


@pytest.mark.usefixtures("deterministic")
def test_a_graph_that_is_made_while_recording(tmp_path):
    losses, weights = graphed(tmp_path / "run")
    expected, others = graphed(None)
    assert losses == expected
    assert all(map(torch.equal, weights, others))
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2, 3]
    for quantity in ("w", "g", "dw"):
        assert run.scalars("0.weight", quantity)["n"].tolist() == 4 * [64 * 64]
    seen = run.scalars("1", "z")
    assert seen["step"].tolist()[0] == 0
    assert seen["n"].tolist()[0] == 8 * 64
    assert all(n % (8 * 64) == 0 for n in seen["n"].tolist())


def captured(folder):
    """Train with a graph of whole steps, the optimizer in it."""
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    static, y = vectors(0)
    aside = torch.cuda.Stream()
    is_recorded = folder is not None

    def step():
        loss = F.cross_entropy(model(static), y)
        loss.backward()
        optimizer.step()
        return loss

    with dh.record(model, optimizer, to=folder) if is_recorded else nullcontext():
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                optimizer.zero_grad()
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad()
        says = pytest.warns(DeepHochuliWarning, match="graph is being captured")
        with says if is_recorded else nullcontext(), torch.cuda.graph(graph):
            loss = step()
        losses = []
        for number in range(4):
            static.copy_(vectors(number)[0])
            graph.replay()
            losses.append(loss.item())
    return losses, [p.detach().cpu() for p in model.parameters()]


@pytest.mark.usefixtures("deterministic")
def test_a_graph_of_whole_steps_is_undisturbed_and_not_recorded(tmp_path):
    losses, weights = captured(tmp_path / "run")
    expected, others = captured(None)
    assert losses == expected
    assert all(map(torch.equal, weights, others))
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.scalars("1", "z")["n"].tolist() == 3 * [8 * 64]
