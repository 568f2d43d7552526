"""What the callbacks of all trainers do, without any trainer."""

import atexit
import threading
from functools import partial

import pytest
import torch

import deephochuli as dh
from deephochuli.errors import StoreError, TapError
from deephochuli.integrations import Follow, _callback
from deephochuli.integrations._callback import AGREE_EVERY, Decision, Training, is_compiled
from tests.unit.integrations.trackers import Kept, model_and_optimizer, train


def training(folder, **options):
    given = {"every": 1, "trackers": (), "on_finding": None, "options": {}} | options
    begin = partial(dh.record, to=folder, every=given["every"], **given["options"])
    return Training(begin, Follow(*given["trackers"], on_finding=given["on_finding"]))


def test_a_training_is_recorded_from_begin_to_end(tmp_path):
    kept = Kept()
    model, optimizer = model_and_optimizer()
    seen = training(tmp_path / "run", trackers=(kept,), options={"select": "0*"})
    assert seen.n_steps == 0
    seen.begin(model, optimizer, 0)
    train(model, optimizer, 3)
    assert seen.n_steps == 3
    seen.end()
    seen.end()
    train(model, optimizer, 1)
    run = dh.open_run(tmp_path / "run")
    assert run.finished
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert {tap.layer for tap in run.taps()} == {"0.weight", "0.bias"}
    assert len(kept.numbers) == 3
    assert seen.n_steps == 3


def test_the_loss_is_wanted_in_recorded_steps_only(tmp_path):
    model, optimizer = model_and_optimizer()
    seen = training(tmp_path / "run", every=2)
    assert not seen.is_on
    seen.begin(model, optimizer, 0)
    wanted = []
    for step in range(4):
        wanted.append(seen.is_on)
        seen.log(float(step))
        train(model, optimizer, 1)
    seen.end()
    assert wanted == [True, False, True, False]
    assert dh.open_run(tmp_path / "run").steps["loss"].tolist() == [0.0, 2.0]


def test_a_training_that_goes_on_goes_on_with_the_run(tmp_path):
    model, optimizer = model_and_optimizer()
    seen = training(tmp_path / "run")
    seen.begin(model, optimizer, 0)
    train(model, optimizer, 4)
    seen.flush()
    assert dh.open_run(tmp_path / "run").n_chunks == 1
    train(model, optimizer, 2)
    seen.end()
    again = training(tmp_path / "run")
    again.begin(model, optimizer, 4)
    train(model, optimizer, 3)
    again.end()
    run = dh.open_run(tmp_path / "run")
    assert run.steps["step"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert run.superseded == ["chunk-000001"]


def test_a_new_training_does_not_write_over_a_run(tmp_path):
    model, optimizer = model_and_optimizer()
    seen = training(tmp_path / "run")
    seen.begin(model, optimizer, 0)
    train(model, optimizer, 1)
    with pytest.raises(StoreError, match="already holds a run"):
        seen.begin(model, optimizer, 0)


def test_rules_are_checked_before_there_is_a_training(tmp_path):
    with pytest.raises(TapError, match="no level, finding or trigger"):
        training(tmp_path / "run", on_finding={"nan": "stop"})


def test_a_training_that_nobody_ends_is_completed_at_exit(tmp_path, monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    model, optimizer = model_and_optimizer()
    seen = training(tmp_path / "run")
    seen.begin(model, optimizer, 0)
    train(model, optimizer, 1)
    assert not dh.open_run(tmp_path / "run").finished
    for action in at_exit:
        action()
    assert dh.open_run(tmp_path / "run").finished


def decisions(folder, n_steps, bad_at, *, is_asked_twice=False, **options):
    """What is decided after each step; one of them sees an infinity."""
    model, optimizer = model_and_optimizer()
    seen = training(folder, **options)
    assert seen.decide() == Decision()
    seen.begin(model, optimizer, 0)
    found = []
    for step in range(n_steps):
        train(model, optimizer, 1, bad_at=0 if step == bad_at else None)
        found.append(seen.decide())
        if is_asked_twice:
            assert seen.decide() == Decision()
    seen.end()
    return found


def test_a_rule_is_applied_after_the_step_of_its_event(tmp_path):
    found = decisions(tmp_path / "run", 4, 1, on_finding={"nonfinite": ("snapshot", "stop")})
    assert found[0] == Decision()
    assert found[1] == Decision(("nonfinite",), stops=True)
    assert found[2].stops


def test_without_rules_nothing_is_decided(tmp_path):
    assert decisions(tmp_path / "run", 4, 1) == [Decision()] * 4


def test_several_ranks_agree_at_the_same_steps_whatever_each_has_found(tmp_path, monkeypatch):
    asked = []

    def all_reduce(flags, op):
        asked.append(flags.tolist())
        flags[1] = 1  # another rank has something to save

    monkeypatch.setattr(_callback, "is_one_of_several", lambda: True)
    monkeypatch.setattr(_callback.dist, "all_reduce", all_reduce)
    n_steps = 2 * AGREE_EVERY + 1
    rules = {"nonfinite": "stop"}
    found = decisions(tmp_path / "run", n_steps, 40, is_asked_twice=True, on_finding=rules)
    assert asked == [[0, 0], [1, 0]]
    assert found[AGREE_EVERY - 1] == Decision(("rules",), stops=False)
    assert found[2 * AGREE_EVERY - 1] == Decision(("rules",), stops=True)
    assert sum(each != Decision() for each in found) == 2


def test_compiled_models_are_known():
    model, _ = model_and_optimizer()
    assert not is_compiled(model)
    assert is_compiled(torch.compile(model, backend="eager"))
    model[0].compile(backend="eager")
    assert is_compiled(model)


def test_nothing_runs_on_after_the_end(tmp_path):
    decisions(tmp_path / "run", 2, None)
    assert not [t for t in threading.enumerate() if t.name == "deephochuli-follow"]
