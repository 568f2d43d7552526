"""One line in a script, here called in this process: what is recorded, said and left behind."""

import atexit
import os
import sys
import types

import pytest
import torch
from torch.optim import Optimizer

import deephochuli as dh
from deephochuli.errors import ConfigError, MissingExtraError
from deephochuli.integrations import Alert
from deephochuli.session import Home, Script, Session, current_session, start, this_script
from deephochuli.session._closing import say
from deephochuli.session._factory import lightning_callbacks
from deephochuli.session._telling import Telling
from deephochuli.session._training import AutoTraining, harmless
from tests.unit.integrations.test_missing import Uninstalled
from tests.unit.integrations.trackers import model_and_optimizer, train


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    """A working folder of its own, and no session that outlives a test."""
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPHOCHULI_AUTO", "DEEPHOCHULI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    made = Optimizer.__init__
    yield
    session = current_session()
    if session is not None:
        session.close()
        atexit.unregister(session.close)
    assert Optimizer.__init__ is made


def runs(folder):
    return {path.name: dh.open_run(path) for path in sorted(folder.glob("runs/*/*"))}


# ---- switching it on


def test_it_is_switched_on_once_however_often_it_is_called():
    session = start()
    assert session is start() is current_session()


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no"])
def test_the_environment_leaves_a_script_alone(monkeypatch, word):
    monkeypatch.setenv("DEEPHOCHULI_AUTO", word)
    assert start() is None
    assert current_session() is None


def test_a_worker_records_nothing(monkeypatch):
    process = types.SimpleNamespace(parent_process=lambda: "the one that trains")
    monkeypatch.setitem(sys.modules, "multiprocessing.process", process)
    assert start() is None


def test_a_session_is_not_that_of_a_forked_process(monkeypatch):
    session = start()
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert current_session() is None
    session.close()  # does nothing there
    monkeypatch.undo()
    assert current_session() is session


def test_the_file_in_the_working_folder_says_how(tmp_path):
    (tmp_path / "deephochuli.toml").write_text(
        '[record]\nto = "kept"\nevery = 3\nquantity = ["w"]\nextra = {team = "vision"}\n'
    )
    start()
    train(*model_and_optimizer(), 7)
    current_session().close()
    run = dh.open_run(tmp_path / "kept" / "Sequential")
    assert run.steps["step"].tolist() == [0, 3, 6]
    assert {tap.quantity for tap in run.taps()} == {"w"}
    assert run.manifest.extra["team"] == "vision"


def test_the_environment_names_another_file_or_none(tmp_path, monkeypatch):
    (tmp_path / "deephochuli.toml").write_text("[recrod]\n")
    with pytest.raises(ConfigError, match="recrod"):
        start()
    monkeypatch.setenv("DEEPHOCHULI_CONFIG", "none")
    start().close()
    (tmp_path / "other.toml").write_text('[record]\nto = "other"\n')
    monkeypatch.setenv("DEEPHOCHULI_CONFIG", "other.toml")
    start()
    train(*model_and_optimizer(), 1)
    assert (tmp_path / "other" / "Sequential").is_dir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "wandb",
            "Logging to Weights & Biases needs the package 'wandb', which is not installed. "
            "Install it with: pip install 'deephochuli[wandb]'",
        ),
        (
            "mlflow",
            "Logging to MLflow needs the package 'mlflow-skinny', which is not installed. "
            "Install it with: pip install 'deephochuli[mlflow]'",
        ),
        (
            "tensorboard",
            "A log for TensorBoard needs the package 'tensorboard', which is not installed. "
            "Install it with: pip install 'deephochuli[tensorboard]'",
        ),
    ],
)
def test_a_tracker_that_is_asked_for_has_to_be_installed(tmp_path, monkeypatch, name, message):
    (tmp_path / "deephochuli.toml").write_text(f'[auto]\ntrackers = ["{name}"]\n')
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Uninstalled(name), *sys.meta_path])
    with pytest.raises(MissingExtraError) as caught:
        start()
    assert str(caught.value) == message
    assert current_session() is None


def test_a_script_is_called_by_its_name(monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["work/train.py", "--lr", "1"])
    assert this_script().name == "python"
    main.__file__ = "work/train.py"
    assert (this_script().name, this_script().arguments) == ("train", ("--lr", "1"))
    main.__spec__ = types.SimpleNamespace(name="package.train.__main__")
    assert this_script().name == "train"
    assert this_script().is_module


# ---- what is recorded


def test_trainings_are_recorded_and_what_is_found_is_said_in_the_end(tmp_path, capsys):
    session = start()
    train(*model_and_optimizer(torch.bfloat16, lr=1e-6), 40)
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
    session.close()
    run = runs(tmp_path)["Sequential"]
    assert run.finished
    assert run.steps["step"].tolist() == list(range(40))
    told = capsys.readouterr()
    assert told.out == ""
    assert "Sequential  40 steps, 40 recorded  ◆ 1 critical" in told.err
    home = next((tmp_path / "runs").iterdir()).name
    assert told.err.splitlines()[-1] == f"Next: deephochuli report runs/{home}"
    assert session.found[0].kind == "swamped-updates"


def test_names_in_trackers_are_plain_for_the_first_model_only():
    session = start()
    models = [model_and_optimizer() for _ in range(2)]
    for each in models:
        train(*each, 1)
    prefixes = {listener._prefix for listener in session._active.listeners}
    assert prefixes == {"deephochuli", "deephochuli-Sequential-2"}


def test_without_a_training_nothing_is_left(tmp_path):
    session = start()
    model, _ = model_and_optimizer()
    with torch.no_grad():
        model(torch.ones(1, 6))
    session.close()
    assert not list(tmp_path.iterdir())


def test_a_recording_of_the_scripts_own_comes_first(tmp_path):
    session = start()
    model, optimizer = model_and_optimizer()
    with dh.record(model, optimizer, to=tmp_path / "own"):
        train(model, optimizer, 3)
    train(*model_and_optimizer(), 2)  # another one
    session.close()
    assert dh.open_run(tmp_path / "own").steps["step"].tolist() == [0, 1, 2]
    assert {name: len(run.steps["step"]) for name, run in runs(tmp_path).items()} == {
        "Sequential": 2
    }


def test_a_recording_of_the_scripts_own_takes_over_what_was_discovered(tmp_path, capsys):
    session = start()
    model, optimizer = model_and_optimizer()
    other = model_and_optimizer()
    train(model, optimizer, 2)
    train(*other, 1)
    with dh.record(model, optimizer, to=tmp_path / "own"):
        train(model, optimizer, 3)
        train(*other, 1)
    train(model, optimizer, 1)  # as where their recording had begun first
    session.close()
    assert dh.open_run(tmp_path / "own").steps["step"].tolist() == [0, 1, 2]
    assert {name: len(run.steps["step"]) for name, run in runs(tmp_path).items()} == {
        "Sequential": 2,
        "Sequential-2": 2,
    }
    assert "Sequential ends at step 2: from there on the script records" in capsys.readouterr().err


def losing(n_steps):
    """A training in which every update of the weights is swamped."""
    model = torch.nn.Linear(6, 2, dtype=torch.bfloat16)
    train(model, torch.optim.SGD(model.parameters(), lr=1e-8), n_steps)


@pytest.mark.parametrize(("tell", "n_lines"), [("critical", 1), ("note", 1), (None, 0)])
def test_what_is_found_is_told_while_the_training_goes_on(tmp_path, capsys, tell, n_lines):
    """Once, though it is found again whenever the run has grown; the end tells it for itself."""
    told = "" if tell is None else f'tell = "{tell}"'
    (tmp_path / "deephochuli.toml").write_text(f"[auto]\nquiet = true\n{told}\n")
    session = start()
    losing(70)  # two chunks
    for run in session._discovery.runs:
        run.recording.close()  # waits for what is told
    lines = [line for line in capsys.readouterr().err.splitlines() if "swamped" in line]
    assert len(lines) == n_lines
    if lines:
        assert lines[0].startswith("deephochuli: ◆ Linear, by step ")
        assert lines[0].endswith("100 % of all weight updates are swamped in bfloat16")
    session.close()
    assert capsys.readouterr().err == ""


def test_what_is_not_bad_enough_is_not_told(capsys):
    telling = Telling(say, "Net", "warning")
    for level in ("critical", "warning", "note"):
        telling.alert(Alert("kind", level, f"a {level}\x1b[2J", "text", 3))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[-1] for line in lines] == ["a critical\\x1b[2J", "a warning\\x1b[2J"]


def test_a_level_that_is_none_is_refused(tmp_path):
    (tmp_path / "deephochuli.toml").write_text('[auto]\ntell = "all"\n')
    with pytest.raises(ConfigError, match="'critical' or 'warning' or 'note'"):
        start()


# ---- trainers


def trained(optimizers, model, n_steps, *, first=0, goes_on_with=None):
    """What a callback does; the folder of the run."""
    own = AutoTraining()
    own.goes_on_with = goes_on_with
    own.begin(model, optimizers, first)
    folder = own.folder
    own.log(1.0)
    train(model, optimizers, n_steps)
    own.end()
    return folder


def test_a_training_of_a_trainer_is_recorded_once_and_by_its_loss(tmp_path):
    session = start()
    model, optimizer = model_and_optimizer()
    assert trained(optimizer, model, 3).name == "Sequential"
    session.close()
    (run,) = runs(tmp_path).values()
    assert run.steps["step"].tolist() == [0, 1, 2]
    assert run.steps["loss"].tolist()[0] == 1.0


def test_a_second_callback_of_the_same_trainer_leaves_it_to_the_first(tmp_path):
    start()
    model, optimizer = model_and_optimizer()
    first, second = AutoTraining(), AutoTraining()
    first.begin(model, optimizer, 0)
    second.begin(model, optimizer, 0)
    assert (first.is_going_on, second.is_going_on) == (True, False)


def test_a_training_may_be_trained_again_with_the_same_optimizer(tmp_path):
    session = start()
    model, optimizer = model_and_optimizer()
    for _ in range(2):
        trained(optimizer, model, 2)
    session.close()
    assert {name: len(run.steps["step"]) for name, run in runs(tmp_path).items()} == {
        "Sequential": 2,
        "Sequential-2": 2,
    }


def test_a_checkpoint_goes_on_with_its_run_in_the_folder_of_then(tmp_path, capsys):
    start()
    model, optimizer = model_and_optimizer()
    folder = trained(optimizer, model, 4)
    current_session().close()
    capsys.readouterr()
    session = start()
    assert trained(optimizer, model, 3, first=2, goes_on_with=folder) == folder
    train(*model_and_optimizer(), 1)  # a new model beside it
    session.close()
    found = runs(tmp_path)
    assert found["Sequential"].steps["step"].tolist() == [0, 1, 2, 3, 4]
    assert found["Sequential-2"].steps["step"].tolist() == [0]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert "Sequential  5 steps, 5 recorded" in capsys.readouterr().err


def test_a_run_that_goes_on_elsewhere_is_named_by_its_own_folder(tmp_path, capsys):
    """As under `deephochuli run`, which has made a folder before it knows."""
    start()
    model, optimizer = model_and_optimizer()
    old = trained(optimizer, model, 2)
    current_session().close()
    (tmp_path / "new").mkdir()
    home = Home(tmp_path / "new", is_given=True, is_made=True)
    session = Session(Script("train.py"), home, {})
    session.start()
    assert trained(optimizer, model, 2, first=2, goes_on_with=old) == old
    capsys.readouterr()
    session.close()
    assert not (tmp_path / "new").exists()
    expected = f"Next: deephochuli report {old.parent.relative_to(tmp_path)}"
    assert capsys.readouterr().err.splitlines()[-1] == expected


@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_that_cannot_go_on_is_left_alone(tmp_path, is_there, capsys):
    """Another model's, or none at all: a new run begins at the step of the checkpoint."""
    start()
    old = tmp_path / "old"
    if is_there:
        other = torch.nn.Linear(2, 2)
        dh.record(other, torch.optim.SGD(other.parameters()), to=old).close()
    model, optimizer = model_and_optimizer()
    folder = trained(optimizer, model, 2, first=5, goes_on_with=old)
    assert folder is not None
    assert folder != old
    assert dh.open_run(folder).steps["step"].tolist() == [5, 6]
    assert ("is not recorded" in capsys.readouterr().err) is is_there


def test_a_hook_that_fails_is_said_and_the_training_goes_on(capsys):
    @harmless
    def on_something():
        raise AttributeError("trainer has no plugin")

    on_something()  # without a session nothing is done at all
    assert capsys.readouterr().err == ""
    start()
    on_something()
    assert "on_something failed: AttributeError: trainer has no plugin" in capsys.readouterr().err


def test_lightning_gets_no_callback_unless_a_session_is_on():
    assert lightning_callbacks() == []


@pytest.mark.parametrize("has_list", [True, False])
def test_the_default_callbacks_of_transformers(monkeypatch, capsys, has_list):
    trainer = types.ModuleType("transformers.trainer")
    kept = object()
    if has_list:
        trainer.DEFAULT_CALLBACKS = [kept]
    monkeypatch.setitem(sys.modules, "transformers.trainer", trainer)
    ours = types.ModuleType("deephochuli.session._transformers")
    ours.AutoCallback = type("AutoCallback", (), {})
    monkeypatch.setitem(sys.modules, "deephochuli.session._transformers", ours)
    session = start()
    if has_list:
        assert trainer.DEFAULT_CALLBACKS == [kept, ours.AutoCallback]
    session.close()
    assert not has_list or trainer.DEFAULT_CALLBACKS == [kept]
    assert ("has no list of default callbacks" in capsys.readouterr().err) is not has_list


def test_a_tracker_that_was_asked_for_and_not_used_is_named_in_the_end(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    (tmp_path / "deephochuli.toml").write_text('[auto]\ntrackers = ["tensorboard"]\n')
    session = start()
    train(*model_and_optimizer(), 1)
    session.close()
    assert "Nothing was shown in tensorboard" in capsys.readouterr().err
