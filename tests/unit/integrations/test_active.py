"""Trackers that come and go while a recording goes on, without any of their packages."""

import sys
import types
import weakref

import pytest
import torch

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning
from deephochuli.integrations import Active, FollowActive
from deephochuli.integrations._active import Found
from tests.unit.integrations.trackers import Kept, model_and_optimizer, train


class Listed(Active):
    """Trackers of a list that the test changes."""

    def __init__(self):
        self.used = []
        super().__init__(on_use=self.used.append)
        self.found = []

    def __iter__(self):
        return iter(self.found)

    def open(self, name):
        """A tracker that keeps what it is told, open from now on; prefixes are noted."""
        kept = Kept()
        kept.prefixes = []

        def make(prefix):
            kept.prefixes.append(prefix)
            return kept

        self.found.append(Found(name, name, make))
        return kept

    def close(self, name):
        """Close it as a script does, which the listeners are told before."""
        found = next(each for each in self.found if each.name == name)
        for listener in list(self.listeners):
            listener.leave(found)
        self.found.remove(found)


@pytest.fixture
def training(tmp_path):
    """A recording that nobody is told of yet."""
    active = Listed()
    model, optimizer = model_and_optimizer(torch.bfloat16, lr=1e-6)
    follow = FollowActive(active)
    with dh.record(model, optimizer, to=tmp_path / "run", follow=follow) as recording:
        yield active, lambda n: train(model, optimizer, n), recording


def steps(kept):
    return [each.step for each in kept.numbers]


def test_a_tracker_that_is_open_is_told_all_and_what_is_found(training):
    active, go_on, recording = training
    kept = active.open("one")
    go_on(40)
    recording.close()
    assert steps(kept) == list(range(40))
    assert [alert.name for alert in kept.alerts] == ["swamped-updates"]
    assert kept.finished == [(2, ["swamped-updates"])]
    assert kept.prefixes == ["deephochuli"]
    assert active.used == ["one"]
    assert not active.listeners


def test_one_that_opens_later_is_told_what_is_not_written_yet(training):
    active, go_on, recording = training
    first = active.open("one")
    go_on(35)  # a chunk of 32 has been written
    second = active.open("two")
    go_on(5)
    recording.close()
    assert steps(first) == list(range(40))
    assert steps(second) == list(range(32, 40))


def test_one_that_closes_is_told_everything_before_and_nothing_after(training):
    active, go_on, recording = training
    kept = active.open("one")
    go_on(10)
    active.close("one")
    assert steps(kept) == list(range(10))
    assert kept.finished == [(1, ["swamped-updates"])]
    go_on(10)
    recording.close()
    assert steps(kept) == list(range(10))
    assert len(kept.finished) == 1
    assert recording.n_steps == 20


def test_further_runs_have_names_of_their_own():
    assert FollowActive(Listed(), "Critic")._prefix == "deephochuli-Critic"


# ---- where trackers are looked for


class Writer:
    """What is used of a SummaryWriter."""

    def __init__(self, fails=False):
        if fails:
            raise OSError("no space left")
        self.all_writers = {"here": 1}

    def close(self):
        self.all_writers = None


class Run:
    """What is used of a run of wandb."""

    def __init__(self, name):
        self.id = name

    def finish(self, exit_code=None):
        return f"finished {self.id} {exit_code}"

    def __exit__(self, *_):
        self.finish()


@pytest.fixture
def packages(monkeypatch):
    """Packages that look like those of the trackers."""
    made = {
        "torch.utils.tensorboard": {"SummaryWriter": Writer},
        "wandb": {"Run": Run, "run": None},
        "mlflow": {"active_run": lambda: None},
    }
    for name, content in made.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return types.SimpleNamespace(wandb=sys.modules["wandb"], mlflow=sys.modules["mlflow"])


def found(active):
    return [(each.name, each.key) for each in active]


def test_only_what_the_script_has_imported_is_looked_at(monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert found(Active()) == []
    assert not {"wandb", "mlflow"} & set(sys.modules)


def test_runs_are_found_where_their_packages_keep_them(packages):
    active = Active()
    assert found(active) == []
    packages.wandb.run = Run("w")
    info = types.SimpleNamespace(run_id="m")
    packages.mlflow.active_run = lambda: types.SimpleNamespace(info=info)
    assert found(active) == [("wandb", "w"), ("mlflow", "m")]
    assert found(Active(["mlflow"])) == [("mlflow", "m")]


def test_the_first_writer_that_is_open_is_found(packages):
    early, active = Writer(), Active()
    active.watch_writers()
    second = Writer()
    assert found(active) == [("tensorboard", id(early))]
    early.close()
    assert found(active) == [("tensorboard", id(second))]
    gone = weakref.ref(second)
    del second
    assert (gone(), found(active)) == (None, [])
    with pytest.raises(OSError, match="no space left"):
        Writer(fails=True)
    assert found(active) == []


def test_the_logger_of_lightning_for_mlflow_tells_its_run(packages):
    class MLFlowLogger:
        run_id, experiment = "logged", "client"

    active = Active()
    active.know_loggers([object(), MLFlowLogger()])
    assert found(active) == [("mlflow", "logged")]
    active.know_loggers([])
    assert found(active) == []


class Listener:
    """Notes what it is told to leave; may fail."""

    def __init__(self, fails=False):
        self.left, self._fails = [], fails

    def leave(self, which):
        self.left.append((which.name, which.key))
        if self._fails:
            raise OSError("the disk is full")


def test_listeners_hear_of_an_end_before_it_and_classes_are_left_as_they_were(packages):
    before = {kind: dict(vars(kind)) for kind in (Writer, Run)}
    active, listener = Active(), Listener()
    active.watch_writers()
    active.watch_wandb()
    active.listeners.add(listener)
    writer = Writer()
    writer.close()
    assert Run("w").finish(exit_code=3) == "finished w 3"
    assert listener.left == [("tensorboard", id(writer)), ("wandb", "w")]
    active.end()
    assert {kind: dict(vars(kind)) for kind in (Writer, Run)} == before


def test_a_listener_that_fails_does_not_keep_a_run_open(packages):
    active, listener = Active(), Listener(fails=True)
    active.watch_wandb()
    active.listeners.add(listener)
    with pytest.warns(DeepHochuliWarning, match="last numbers are not shown.*the disk is full"):
        assert Run("w").finish() == "finished w None"
    active.end()
