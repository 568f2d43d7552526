"""Recording: what is in a run is what was in the training."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import deephochuli
from deephochuli.errors import DeepHochuliWarning, StoreError, TapError
from deephochuli.kernels import key_of
from deephochuli.record import record
from deephochuli.store import open_run
from deephochuli.taps import Selection


def make_model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).to(dtype)


def train(model, optimizer, n=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(6, 5, generator=generator).to(dtype)).square().mean().backward()
        optimizer.step()


def counted(tensor):
    """Keys of all elements, by an independent route: Python's own floats."""
    return Counter(key_of(value) for value in tensor.detach().double().flatten().tolist())


def recorded(run, layer, quantity, step):
    steps, pairs = run.history(layer, quantity)
    keys, counts = pairs[steps.tolist().index(step)]
    return Counter(dict(zip(keys.tolist(), counts.tolist(), strict=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_quantity_is_what_the_training_computed(tmp_path, dtype):
    model, x = make_model(dtype), torch.randn(6, 5).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    chosen = Selection(quantities={"z", "dz", "da", "w", "g", "dw", "state"})
    with record(model, optimizer, to=tmp_path / "run", select=chosen):
        z = model[0](x)  # the same numbers that the forward below computes
        before = [p.detach().clone() for p in model.parameters()]
        model(x).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert recorded(run, "1", "z", 0) == counted(z)
    da = torch.ones(6, 3, dtype=dtype) @ before[2]
    assert recorded(run, "1", "da", 0) == counted(da)
    assert recorded(run, "1", "dz", 0) == counted(torch.where(z > 0, da, torch.zeros_like(da)))
    for (name, p), old, g in zip(model.named_parameters(), before, gradients, strict=True):
        assert recorded(run, name, "w", 0) == counted(p)
        assert recorded(run, name, "g", 0) == counted(g)
        update = p - old if dtype == torch.float64 else p.float() - old.float()
        assert recorded(run, name, "dw", 0) == counted(update)
        buffer = optimizer.state[p]["momentum_buffer"]
        assert recorded(run, name, "state:momentum_buffer", 0) == counted(buffer)
        row = run.scalars(name, "dw")
        assert row["n_updatable"].tolist() == [int((g != 0).sum())]
        assert row["n_unmoved"].tolist() == [int(((g != 0) & (p == old)).sum())]


def test_channels_of_the_pre_activation(tmp_path):
    model, x = make_model(), torch.randn(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    z = model[0](x)
    with record(model, optimizer, to=tmp_path / "run"):
        model(x).sum().backward()
        optimizer.step()
    channels = open_run(tmp_path / "run").channels("1", "z")
    assert channels.positive[0].tolist() == (z > 0).sum(0).tolist()
    assert channels.n_per_channel.tolist() == [6]


@pytest.mark.parametrize(("every", "steps"), [(1, [0, 1, 2, 3]), (2, [0, 2]), ("1:3", [1, 2])])
def test_schedule(tmp_path, every, steps):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=tmp_path / "run", every=every) as recording:
        train(model, optimizer)
    assert recording.n_steps == 4
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == steps
    assert run.finished


def test_gradient_accumulation_is_one_step(tmp_path):
    model, x = make_model(), torch.randn(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=tmp_path / "run"):
        for _ in range(3):
            model(x).sum().backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.steps["n_micro_batches"].tolist() == [3]
    assert run.scalars("1", "z")["n"].tolist() == [3 * 6 * 7]
    assert run.scalars("0.weight", "g")["n"].tolist() == [35]


def test_evaluation_is_left_out(tmp_path):
    model, x = make_model(), torch.randn(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=tmp_path / "run"):
        model(x).sum().backward()
        with torch.no_grad():
            model(x)
        optimizer.step()
        with torch.no_grad():
            model(x)
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0]
    assert run.scalars("1", "z")["n"].tolist() == [42]


def test_without_an_optimizer_each_forward_is_a_step(tmp_path):
    model = make_model()
    with record(model, to=tmp_path / "run"):
        for _ in range(3):
            model(torch.randn(6, 5)).sum().backward()
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.scalars("1", "dz")["n"].tolist() == [42, 42, 42]


def test_two_optimizers_share_a_step(tmp_path):
    model = make_model()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.Adam(model[2].parameters(), lr=0.1)
    with record(model, [first, second], to=tmp_path / "run"):
        for _ in range(2):
            model(torch.randn(6, 5)).sum().backward()
            first.step()
            second.step()
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1]
    assert run.scalars("2.weight", "state:exp_avg")["n"].tolist() == [21, 21]


def test_learning_rate_zero_swamps_nothing(tmp_path):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with record(model, optimizer, to=tmp_path / "run"):
        train(model, optimizer, 1)
    row = open_run(tmp_path / "run").scalars("0.weight", "dw")
    assert row["n_updatable"].tolist() == [-1]  # not measured


@pytest.mark.parametrize("fused", [False, True])
def test_skipped_step_names_the_gradient(tmp_path, fused):
    """A fused optimizer is called for a skipped step too, with gradients that are still scaled."""
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    largest = []
    with record(model, optimizer, to=tmp_path / "run", every=1):
        for bad in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            y = model(torch.randn(6, 5))
            scaler.scale(y[:, 0].sum() * bad + y[:, 1:].sum()).backward()
            scale, before = scaler.get_scale(), model[2].bias.grad.clone()
            scaler.step(optimizer)
            scaler.update()
            largest.append(float(before[before.isfinite()].max()) / scale)
    run = open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.steps["skipped"].tolist() == [False, True, False]
    assert run.steps["loss_scale"].tolist() == [1024.0, 1024.0, 512.0]
    gradients = run.scalars("2.bias", "g")
    assert gradients["n_inf"].tolist() == [0, 1, 0]
    assert gradients["max_abs"].tolist() == largest


def test_loss_is_noted(tmp_path):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=tmp_path / "run", every=2) as recording:
        for step in range(3):
            loss = model(torch.randn(6, 5)).sum()
            recording.log(loss=loss if step == 0 else float(step))
            loss.backward()
            optimizer.step()
    assert open_run(tmp_path / "run").steps["loss"].tolist()[1:] == [2.0]


def test_what_was_seen_before_an_exception_is_kept(tmp_path):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def crash():
        with record(model, optimizer, to=tmp_path / "run"):
            train(model, optimizer, 2)
            model(torch.full((6, 5), float("nan")))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        crash()
    run = open_run(tmp_path / "run")
    assert run.finished
    assert run.manifest.raised == "RuntimeError: on purpose"
    assert run.scalars("1", "z")["n_nan"].tolist() == [0, 0, 42]


def test_a_fault_at_the_end_does_not_hide_the_error_before_it(tmp_path):
    def fail():
        raise OSError("no room")

    recording = record(make_model(), to=tmp_path / "run")
    recording._recorder.finish = fail
    with pytest.warns(DeepHochuliWarning, match="no room"), pytest.raises(ValueError, match="x"):
        with recording:
            raise ValueError("x")
    assert open_run(tmp_path / "run").manifest.raised == "ValueError: x"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (SystemExit(0), None),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
    ],
)
def test_the_run_says_which_error_ended_the_training(tmp_path, ending, said):
    with pytest.raises(type(ending)), record(make_model(), to=tmp_path / "run"):
        raise ending
    assert open_run(tmp_path / "run").manifest.raised == said


def test_refusals_leave_nothing_behind(tmp_path):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="thesis"):
        record(model, optimizer, to=tmp_path / "foreign")
    with pytest.raises(TapError):
        record(model, optimizer, to=tmp_path / "none", select="no.such.layer")
    with pytest.raises(TapError):
        record(model, optimizer, to=tmp_path / "none", every="sometimes")
    assert not (tmp_path / "none").exists()
    assert not optimizer._optimizer_step_pre_hooks
    train(model, optimizer, 1)


def test_provenance(tmp_path):
    model = make_model(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(1234)
    with record(model, optimizer, to=tmp_path / "run", every=3):
        pass
    manifest = open_run(tmp_path / "run").manifest
    assert manifest.seed == 1234
    assert manifest.versions["torch"] == torch.__version__
    assert manifest.versions["deephochuli"] == deephochuli.__version__
    assert manifest.dtypes == {name: "bfloat16" for name, _ in model.named_parameters()}
    assert manifest.model.n_parameters == sum(p.numel() for p in model.parameters())
    assert manifest.optimizer.class_name == "SGD"
    assert manifest.optimizer.groups[0]["momentum"] == 0.9
    assert manifest.flags["flush_subnormals"] is False
    assert manifest.schedule == "3"


def test_flush_flag_is_seen(tmp_path):
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        with record(make_model(), to=tmp_path / "run"):
            pass
    finally:
        torch.set_flush_denormal(False)
    assert open_run(tmp_path / "run").manifest.flags["flush_subnormals"] is True


def test_flags_of_two_styles_keep_nobody_from_recording(tmp_path, monkeypatch):
    class Refuses:
        """torch, when TF32 was set in the old and in the new style."""

        def __getattr__(self, name):
            raise RuntimeError("you have used mix of the legacy and new APIs")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Refuses())
    with record(make_model(), to=tmp_path / "run"):
        pass
    flags = open_run(tmp_path / "run").manifest.flags
    assert flags["tf32_matmul"] is None
    assert flags["default_dtype"] == "float32"


def test_sparse_gradients_are_left_out_in_silence(tmp_path):
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(), record(model, optimizer, to=tmp_path / "run"):
        warnings.simplefilter("error")
        model(torch.tensor([1, 2])).sum().backward()
        optimizer.step()
    taps = {(t.layer, t.quantity) for t in open_run(tmp_path / "run").taps()}
    assert ("0.weight", "w") in taps
    assert ("0.weight", "g") not in taps


def test_steps_of_many_threads_of_torch_are_the_same(tmp_path):
    sums = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        model = make_model()
        with record(model, to=tmp_path / f"run{threads}"), torch.no_grad():
            model(torch.linspace(-1, 1, 5 * 200_000).reshape(-1, 5))
        whole = open_run(tmp_path / f"run{threads}").whole("1", "z")
        sums.append((whole.numbers["sum"], whole.key.tolist(), whole.count.tolist()))
    torch.set_num_threads(1)
    assert sums[0] == sums[1]
    assert np.isfinite(sums[0][0])


@pytest.mark.parametrize(("model", "optimizer"), [(3, None), (nn.ReLU(), 3), (nn.ReLU(), [3])])
def test_things_of_the_wrong_type_are_refused(tmp_path, model, optimizer):
    with pytest.raises(TapError):
        record(model, optimizer, to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimizer_in_a_wrapper(tmp_path):
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, Wrapper(optimizer), to=tmp_path / "run"):
        train(model, optimizer, 2)
    assert open_run(tmp_path / "run").steps["step"].tolist() == [0, 1]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_that_begins_with_an_activation(tmp_path, reentrant):
    """What goes into it is one tensor on both runs, and its gradient comes once."""
    model, x = make_model(), torch.randn(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    forward = model.forward

    def checkpointed(x):
        return checkpoint(model[1:], model[0](x), use_reentrant=reentrant)

    counts = []
    for number, model.forward in enumerate((forward, checkpointed)):
        with record(model, optimizer, to=tmp_path / f"run-{number}"):
            model(x).sum().backward()
            optimizer.step()
        run = open_run(tmp_path / f"run-{number}")
        counts.append([run.scalars("1", quantity)["n"].tolist() for quantity in ("z", "dz")])
    assert counts == 2 * [[[42], [42]]]
