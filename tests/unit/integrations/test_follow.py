"""Trackers and rules beside a recording: told the same as afterwards, and never in the way."""

import copy
import threading

import pytest
import torch

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning
from deephochuli.integrations import Follow, numbers_of
from deephochuli.integrations import _follow as follow_module
from deephochuli.integrations._tracker import tell_run
from tests.unit.integrations.trackers import Kept, model_and_optimizer, record, train


def shown(numbers):
    """Numbers in a form that can be compared."""
    return [
        (
            each.step,
            each.totals,
            each.layers,
            {n: (h.exponents.tolist(), h.counts.tolist()) for n, h in each.histograms.items()},
        )
        for each in numbers
    ]


def test_live_and_afterwards_the_same_is_told(tmp_path):
    live, after = Kept(), Kept()
    record(tmp_path / "run", Follow(live), 70, dtype=torch.bfloat16, lr=1e-6)
    run = dh.open_run(tmp_path / "run")
    assert run.n_chunks == 3
    tell_run(run, after)
    assert len(live.numbers) == 70
    assert shown(live.numbers) == shown(after.numbers) == shown(numbers_of(run))
    assert [alert.title for alert in live.alerts[-1:]] == [a.title for a in after.alerts[:1]]
    assert live.finished == after.finished == [(3, [f.kind for f in dh.findings(run)])]


def test_a_finding_is_told_once_though_the_run_is_asked_again_and_again(tmp_path):
    live = Kept()
    record(tmp_path / "run", Follow(live), 100, dtype=torch.bfloat16, lr=1e-6)
    assert [(alert.name, alert.level) for alert in live.alerts] == [("swamped-updates", "critical")]


def test_a_recording_that_goes_on_can_be_told_as_well(tmp_path):
    kept = Kept()
    model, optimizer = model_and_optimizer()
    with dh.record(model, optimizer, to=tmp_path / "run") as recording:
        train(model, optimizer, 5, recording)
        tell_run(recording, kept)
    assert [each.step for each in kept.numbers] == [0, 1, 2, 3, 4]


def test_training_is_the_same_to_the_bit_and_random_numbers_are_left_alone(tmp_path):
    plain, plain_optimizer = model_and_optimizer(torch.bfloat16)
    train(plain, plain_optimizer, 70)
    state = torch.get_rng_state()
    model, optimizer = model_and_optimizer(torch.bfloat16)
    follow = Follow(Kept(), on_finding={"critical": "snapshot"}, snapshot=lambda _: None)
    with dh.record(model, optimizer, to=tmp_path / "run", follow=follow) as recording:
        train(model, optimizer, 70, recording)
    assert torch.equal(state, torch.get_rng_state())
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_trigger_stops_at_the_step_itself(tmp_path):
    kept = Kept()
    follow = Follow(kept, on_finding={"nonfinite": "stop"})
    assert record(tmp_path / "run", follow, 40, bad_at=7) == 8
    assert kept.alerts[0].name == "nonfinite"
    assert kept.alerts[0].title == "nonfinite at step 7"
    assert "inf or nan at" in kept.alerts[0].text


def test_a_finding_stops_a_loop_that_asks(tmp_path):
    model, optimizer = model_and_optimizer(torch.bfloat16, lr=1e-6)
    follow = Follow(on_finding={"swamped-updates": "stop"})
    with dh.record(model, optimizer, to=tmp_path / "run", follow=follow) as recording:
        train(model, optimizer, 5, recording)
        assert not recording.should_stop
        recording.flush()
        wait_for(lambda: recording.should_stop)
        assert train(model, optimizer, 5, recording) == 1


def test_no_rule_no_stop(tmp_path):
    assert record(tmp_path / "run", Follow(Kept()), 40, bad_at=7) == 40


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("waited for ten seconds")


def test_a_snapshot_is_taken_in_the_thread_that_trains_at_the_step_of_the_event(tmp_path):
    taken = []
    model, optimizer = model_and_optimizer()

    def save(why):
        taken.append((why, threading.current_thread(), recording.n_steps))

    follow = Follow(on_finding={"nonfinite": "snapshot"}, snapshot=save)
    with dh.record(model, optimizer, to=tmp_path / "run", follow=follow) as recording:
        train(model, optimizer, 10, recording, bad_at=4)
    assert taken == [("nonfinite", threading.main_thread(), 5)]


def test_a_snapshot_that_fails_does_no_harm(tmp_path):
    def save(why):
        raise OSError("disk full")

    follow = Follow(on_finding={"nonfinite": "snapshot"}, snapshot=save)
    with pytest.warns(DeepHochuliWarning, match="snapshot for nonfinite failed; training goes on"):
        assert record(tmp_path / "run", follow, 10, bad_at=4) == 10


def test_snapshots_that_nobody_takes_can_be_asked_for(tmp_path):
    follow = Follow(on_finding={"nonfinite": ("snapshot", "stop")})
    record(tmp_path / "run", follow, 10, bad_at=4)
    assert follow.take_snapshots() == ["nonfinite"]
    assert follow.take_snapshots() == []


@pytest.mark.parametrize("method", ["begin", "log", "alert", "finish"])
def test_a_tracker_that_fails_is_named_and_left_alone(tmp_path, method):
    broken, sound = Kept(fails=method), Kept()
    with pytest.warns(DeepHochuliWarning, match=f"told nothing more.*no connection in {method}"):
        record(tmp_path / "run", Follow(broken, sound), 40, dtype=torch.bfloat16, lr=1e-6)
    order = ["begin", "log", "alert", "finish"]
    told = dict(
        zip(order, (broken.n_begun, broken.numbers, broken.alerts, broken.finished), strict=True)
    )
    assert not any(told[name] for name in order[order.index(method) :])
    assert len(sound.numbers) == 40
    assert sound.alerts
    assert sound.finished
    assert dh.open_run(tmp_path / "run").finished


def test_the_end_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(follow_module, "PATIENCE_S", 0.05)
    release = threading.Event()

    class Slow(Kept):
        def log(self, numbers):
            release.wait(10)

    with pytest.warns(DeepHochuliWarning, match="have not taken everything"):
        record(tmp_path / "run", Follow(Slow()), 5)
    release.set()
    assert dh.open_run(tmp_path / "run").finished


def test_what_was_found_before_a_resumption_is_not_told_again(tmp_path):
    first, second = Kept(), Kept()
    record(tmp_path / "run", Follow(first), 64, dtype=torch.bfloat16, lr=1e-6)
    follow = Follow(second, on_finding={"critical": "stop"})
    n_steps = record(tmp_path / "run", follow, 20, dtype=torch.bfloat16, lr=1e-6, resume=64)
    assert len(first.alerts) == 1
    assert second.alerts == []
    assert n_steps == 20
    assert [each.step for each in second.numbers] == list(range(64, 84))


def test_what_was_found_in_steps_that_are_repeated_is_told_again(tmp_path):
    second = Kept()
    record(tmp_path / "run", Follow(), 32, dtype=torch.bfloat16, lr=1e-6)
    record(tmp_path / "run", Follow(second), 32, dtype=torch.bfloat16, lr=1e-6, resume=16)
    assert [alert.name for alert in second.alerts] == ["swamped-updates"]


def test_one_follow_serves_one_recording_after_the_other(tmp_path):
    kept = Kept()
    follow = Follow(kept)
    record(tmp_path / "a", follow, 4)
    record(tmp_path / "b", follow, 3)
    assert [each.step for each in kept.numbers] == [0, 1, 2, 3, 0, 1, 2]
    assert kept.n_begun == 2
    again = Follow(on_finding={"nonfinite": "snapshot"})
    for name in ("c", "d"):  # an infinity of the one is none of the other
        record(tmp_path / name, again, 3, bad_at=1)
        assert again.take_snapshots() == ["nonfinite"]
    assert not [t for t in threading.enumerate() if t.name == "deephochuli-follow"]


def test_with_nobody_to_tell_and_no_rules_there_is_no_thread(tmp_path):
    model, optimizer = model_and_optimizer()
    with dh.record(model, optimizer, to=tmp_path / "run", follow=Follow()) as recording:
        train(model, optimizer, 2, recording)
        assert not [t for t in threading.enumerate() if t.name == "deephochuli-follow"]
    with dh.record(model, optimizer, to=tmp_path / "other", follow=Follow(on_finding="stop")):
        assert [t for t in threading.enumerate() if t.name == "deephochuli-follow"]


def test_it_can_be_copied_with_a_trainer_before_it_follows(tmp_path):
    copied = copy.deepcopy(Follow(Kept(), on_finding={"nonfinite": "stop"}))
    assert copied.take_snapshots() == []
    assert record(tmp_path / "run", copied, 5, bad_at=1) == 2


def test_a_follower_that_raises_is_told_nothing_more(tmp_path):
    class Broken(Follow):
        def step(self, step, taps):
            raise ValueError("no")

    with pytest.warns(DeepHochuliWarning, match="the follower failed"):
        assert record(tmp_path / "run", Broken(Kept()), 5) == 5
    assert not [t for t in threading.enumerate() if t.name == "deephochuli-follow"]
    assert len(dh.open_run(tmp_path / "run").steps["step"]) == 5
