"""What is recorded around an event, and what is not."""

import numpy as np
import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.analysis import underflow, updates
from deephochuli.errors import DeepHochuliWarning, TapError
from deephochuli.record import _triggers as triggers
from deephochuli.record import record
from deephochuli.store import StepRow, open_run


def train(path, *, n_steps=40, disturb=lambda step, model: None, told=lambda step: None, **options):
    """Train a tiny net and give back the steps that were written."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    with record(model, optimizer, to=path, **options) as recording:
        for step in range(n_steps):
            disturb(step, model)
            optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).square().sum()
            loss.backward()
            if told(step) is not None:
                recording.log(loss=told(step))
            losses.append(float(loss.detach()))
            optimizer.step()
    run = open_run(path)
    return run.steps["step"].tolist(), run.manifest.extra.get("events"), losses


def break_a_weight_at(when):
    def disturb(step, model):
        if step == when:
            with torch.no_grad():
                model[0].weight[0, 0] = torch.inf

    return disturb


def test_the_steps_before_and_after_the_first_infinity_are_there(tmp_path):
    steps, events, _ = train(
        tmp_path / "run",
        every=10,
        disturb=break_a_weight_at(25),
        watch=dh.Watch(on=("nonfinite",), before=3, after=4),
    )
    assert steps == [0, 10, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30]
    assert events[0] == {"step": 25, "what": "inf or nan at 1 z"}


def test_watching_without_an_event_writes_what_the_schedule_asks_for(tmp_path):
    steps, events, losses = train(tmp_path / "a", every=10, watch="nonfinite")
    assert (steps, events) == ([0, 10, 20, 30], None)
    _, _, bare = train(tmp_path / "b", every=10)
    assert losses == bare


def test_a_ring_never_writes_a_step_twice_or_out_of_order(tmp_path):
    def often(step, taps):
        return "again" if step.step % 7 == 5 else None

    steps, events, _ = train(
        tmp_path / "run", every=4, watch=dh.Watch(on=(often,), before=2, after=1)
    )
    assert steps == sorted(set(steps))
    wanted = {s for s in range(40) if s % 4 == 0}
    wanted |= {s + d for s in range(5, 40, 7) for d in (-2, -1, 0, 1) if s + d < 40}
    assert set(steps) == wanted
    assert [event["step"] for event in events] == list(range(5, 40, 7))


def test_thinned_watching_counts_only_some_steps(tmp_path):
    seen = []
    train(
        tmp_path / "run",
        every=10,
        watch=dh.Watch(on=(lambda step, taps: seen.append(step.step),), steps=5),
    )
    assert seen == list(range(0, 40, 5))


def test_a_loss_spike(tmp_path):
    steps, events, _ = train(
        tmp_path / "run",
        every=100,
        told=lambda step: 50.0 if step == 30 else 1.0 + 0.01 * (step % 3),
        watch=dh.Watch(on=("loss-spike",), before=1, after=0),
    )
    assert steps == [0, 29, 30]
    assert events == [{"step": 30, "what": "loss 50 after a median of 1.01"}]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(loss):
    assert triggers.LossSpike()(StepRow(step=0, wall_s=0.0, loss=loss), []) is not None


def test_swamped_updates_and_subnormal_gradients_are_named(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)).half()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    with record(model, optimizer, to=tmp_path / "run", every=100, watch=["swamped", "underflow"]):
        for _ in range(3):
            optimizer.zero_grad()
            (model(torch.ones(2, 8).half()).sum() * 1e-5).backward()
            optimizer.step()
    (first, *_) = open_run(tmp_path / "run").manifest.extra["events"]
    assert first["step"] == 0
    texts = " ".join(e["what"] for e in open_run(tmp_path / "run").manifest.extra["events"])
    assert "of the updates swamped" in texts
    assert "of the gradients subnormal" in texts


def test_the_limits_are_those_of_the_findings():
    assert triggers.SWAMPED_SHARE == updates.WARN_SHARE
    assert triggers.UNDERFLOW_SHARE == underflow.CRITICAL_SHARE


def test_the_subnormal_share_is_the_share_of_subnormal_numbers():
    x = torch.tensor([0.0, 6e-8, 6.1e-5, 6.0e-5, -1e-6, 1.0, torch.inf]).half()
    (row,) = [_row_of(x)]
    tiny = np.abs(x.numpy()[[1, 2, 3, 4, 5]]) < np.finfo(np.float16).smallest_normal
    assert triggers.subnormal_share(row) == tiny.mean()


def _row_of(x):
    from deephochuli.kernels import TensorJob, reference_backend
    from deephochuli.record._step import row_of
    from deephochuli.taps import Place

    (summary,) = reference_backend().summarise([TensorJob(x)])
    return row_of(Place("w", "g", "", "", "weight"), "float16", 1, summary)


def test_a_trigger_that_fails_is_asked_no_more(tmp_path):
    def fails(step, taps):
        raise ValueError("no")

    with pytest.warns(DeepHochuliWarning, match="trigger failed at step 0") as said:
        steps, _, _ = train(tmp_path / "run", every=10, watch=fails)
    assert len(said) == 1
    assert steps == [0, 10, 20, 30]


def test_an_unknown_trigger_is_refused_before_anything_begins(tmp_path):
    with pytest.raises(TapError, match=r"'non-finite'.*Did you mean 'nonfinite'"):
        train(tmp_path / "run", watch="non-finite")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_where_it_left_off_or_from_a_checkpoint(tmp_path):
    path = tmp_path / "run"
    assert train(path, n_steps=5)[0] == [0, 1, 2, 3, 4]
    assert train(path, n_steps=3, resume=True)[0] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert train(path, n_steps=2, resume=6)[0] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert train(path, n_steps=1, resume=3)[0] == [0, 1, 2, 3]
