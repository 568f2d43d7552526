"""A recording takes from a configuration file what is not given, and nothing else."""

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.errors import ConfigError, StoreError
from deephochuli.record import Watch
from deephochuli.record._settings import arguments_of, arguments_with, selection_of
from deephochuli.taps import DEFAULT_QUANTITIES, Selection


@pytest.fixture
def config(tmp_path):
    def write(text):
        file = tmp_path / "deephochuli.toml"
        file.write_text("[record]\n" + text)
        return file

    return write


def train(config, n_steps=6, **given):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with dh.record(model, optimizer, config=config, **given) as recording:
        for _ in range(n_steps):
            optimizer.zero_grad()
            model(torch.ones(4, 2)).sum().backward()
            optimizer.step()
    return dh.open_run(recording.path)


def test_the_file_says_where_when_and_what(config, tmp_path):
    file = config(
        f'to = "{tmp_path}/run"\nevery = 2\nselect = ["0.*"]\nquantity = ["w", "g"]\n'
        'extra = { team = "vision" }\n'
    )
    run = train(file)
    assert run.steps["step"].tolist() == [0, 2, 4]
    assert {(tap.layer, tap.quantity) for tap in run.taps()} == {
        (f"0.{name}", quantity) for name in ("weight", "bias") for quantity in ("w", "g")
    }
    assert run.manifest.extra["team"] == "vision"
    assert run.manifest.schedule == "2"


def test_what_is_given_comes_before_the_file(config, tmp_path):
    file = config(f'to = "{tmp_path}/run"\nevery = 2\nselect = ["0.*"]\n')
    run = train(file, to=tmp_path / "other", every=3, select="2.*")
    assert run.path == tmp_path / "other"
    assert run.steps["step"].tolist() == [0, 3]
    assert {tap.layer for tap in run.taps()} == {"2.weight", "2.bias"}


def test_a_file_read_before_serves_as_well(config, tmp_path):
    read = dh.read_config(config(f'to = "{tmp_path}/run"\nevery = [1, 4]\n'))
    assert train(read).steps["step"].tolist() == [1, 4]


def test_resuming_can_stand_in_the_file_and_be_overruled(config, tmp_path):
    file = config(f'to = "{tmp_path}/run"\nresume = true\n')
    train(file, n_steps=2)
    assert train(file, n_steps=2).steps["step"].tolist() == [0, 1, 2, 3]
    with pytest.raises(StoreError, match="already holds a run"):
        train(file, resume=False)


def test_without_a_folder_there_is_no_recording(config):
    with pytest.raises(StoreError, match="needs a folder: give to="):
        train(config("every = 2\n"))
    with pytest.raises(StoreError, match="needs a folder: give to="):
        dh.record(nn.Linear(1, 1))


def test_a_faulty_file_is_refused_before_anything_is_touched(config, tmp_path):
    with pytest.raises(ConfigError, match=r"line 2, \[record\] evry: no such setting"):
        train(config("evry = 2\n"), to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_auto_takes_ever_fewer_steps_in_python_too(tmp_path):
    run = train(None, n_steps=70, to=tmp_path / "run", every="auto")
    steps = run.steps["step"].tolist()
    assert steps == [*range(64), 64, 66, 68]
    assert run.manifest.schedule == "auto"


def test_watching_is_put_together():
    said = {"watch": ["swamped", "nonfinite"], "watch_steps": "0:9", "watch_before": 1}
    assert arguments_of(said) == {"watch": Watch(("swamped", "nonfinite"), "0:9", 1, 8)}
    assert arguments_of({"watch_before": 1}) == {}


def test_selecting_is_said_as_shortly_as_can_be():
    assert selection_of([], [], [], outputs=False) is None
    assert selection_of(["a"], [], [], outputs=False) == ["a"]
    assert selection_of(["a"], ["b"], [], outputs=True) == Selection(
        ("a",), ("b",), DEFAULT_QUANTITIES, True
    )
    assert selection_of([], [], ["w"], outputs=False).quantities == {"w"}


def test_none_is_not_given(config):
    file = config("every = 3\n")
    assert arguments_with(file, {"every": None, "to": "x"}) == {"every": 3, "to": "x"}
