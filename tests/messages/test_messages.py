"""The text of errors: what failed, where, what was expected, what was found, what to do."""

import builtins
import json

import pytest

import deephochuli as dh
from deephochuli.cli import main
from deephochuli.errors import (
    FormatError,
    MissingExtraError,
    SchemaVersionError,
    SketchError,
    StoreError,
    TapError,
)


@pytest.fixture
def net():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


def folder_with(tmp_path, manifest):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    return folder


def says(error, expected):
    assert str(error.value) == expected


def test_an_unknown_format_names_near_ones():
    with pytest.raises(FormatError) as error:
        dh.get_format("bfloat17")
    says(
        error,
        "Unknown format 'bfloat17'. Did you mean 'bfloat16' or 'bfloat' or 'float16'? Any other "
        "format can be written as its bits, for instance 'e5m10' or 'e4m3:bias=8,no-inf,saturate'.",
    )


def test_a_contradictory_format():
    with pytest.raises(FormatError) as error:
        dh.get_format("e99m3")
    says(error, "Format 'e99m3' is contradictory: exponent_bits=99; it must be 1 to 11.")


def test_an_unknown_rounding():
    with pytest.raises(FormatError) as error:
        dh.round_scalar(1.0, "fp16", "nearest")
    says(error, "Unknown rounding 'nearest'. Did you mean 'nearest-even' or 'nearest-away'?")


def test_a_missing_run(tmp_path):
    with pytest.raises(StoreError) as error:
        dh.open_run(tmp_path / "run")
    says(
        error,
        f"There is no run folder {tmp_path / 'run'}. "
        "Give the folder that a recording was written to.",
    )


def test_a_foreign_folder(tmp_path):
    with pytest.raises(StoreError) as error:
        dh.open_run(tmp_path)
    says(
        error,
        f"{tmp_path} is not a run folder: it has no manifest.json. "
        "Give the folder that a recording was written to.",
    )


def test_a_damaged_manifest(tmp_path):
    folder = folder_with(tmp_path, '{"schema')
    with pytest.raises(StoreError, match=r"manifest\.json is damaged: it is not JSON"):
        dh.open_run(folder)


def test_a_newer_schema(tmp_path):
    folder = folder_with(tmp_path, json.dumps({"schema_version": 99}))
    with pytest.raises(SchemaVersionError) as error:
        dh.open_run(folder)
    says(
        error,
        f"{folder} was written by a newer DeepHochuli: its schema version is 99, this one reads "
        "up to 2. Update with: pip install --upgrade deephochuli",
    )


def test_a_folder_that_already_holds_a_run(tmp_path, net):
    folder = folder_with(tmp_path, "{}")
    with pytest.raises(StoreError) as error:
        dh.record(net, to=folder)
    says(
        error,
        f"{folder} already holds a run, and runs are never overwritten. "
        "Give another folder, resume the run, or delete it.",
    )
    assert (folder / "manifest.json").read_text() == "{}"


def test_a_folder_that_holds_other_files(tmp_path, net):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError) as error:
        dh.record(net, to=tmp_path)
    says(
        error,
        f"{tmp_path} holds files that are not of a run: 'thesis.tex'. "
        "Give a new or an empty folder.",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_without_anything_to_look_at(tmp_path):
    from torch import nn

    with pytest.raises(TapError) as error:
        dh.record(nn.Identity(), to=tmp_path / "run")
    says(
        error,
        "Cannot look at Identity: it has neither parameters nor activation modules. "
        "Pass the model that is trained.",
    )
    assert not (tmp_path / "run").exists()


def test_a_selection_that_matches_nothing(tmp_path, net):
    with pytest.raises(TapError) as error:
        dh.record(net, to=tmp_path / "run", select="lin*")
    says(
        error,
        "Selection 'lin*' matches no layer of Sequential. Known names: 0, 0.bias, 0.weight, 1.",
    )


def test_a_schedule_that_cannot_be_read(tmp_path, net):
    with pytest.raises(TapError, match=r"^Cannot read 'often' in schedule 'often'\. Expected "):
        dh.record(net, to=tmp_path / "run", every="often")


def test_a_tensor_that_cannot_be_counted():
    import torch

    with pytest.raises(SketchError, match=r"^Cannot summarise a tensor of dtype torch\.int64"):
        dh.Sketch.of(torch.tensor([1, 2]))


def test_a_missing_extra_names_the_line_that_installs_it(tmp_path, monkeypatch):
    from deephochuli.report import write_figures

    genuine = builtins.__import__

    def without_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingExtraError) as error:
        write_figures(tmp_path / "run", tmp_path)
    says(
        error,
        "Writing static figures needs the package 'matplotlib', which is not installed. "
        "Install it with: pip install 'deephochuli[plot]'",
    )


@pytest.mark.parametrize("manifest", ['{"schema', '{"schema_version": 99}', '{"a": 1}', "[]", ""])
@pytest.mark.parametrize("command", ["report", "fit"])
def test_a_command_refuses_a_bad_run_and_leaves_it_alone(command, manifest, tmp_path, capsys):
    folder = folder_with(tmp_path, manifest)
    assert main([command, str(folder)], exits=False) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith(f"Error: {folder}")
    assert caught.err.count("\n") == 1
    assert (folder / "manifest.json").read_text() == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
