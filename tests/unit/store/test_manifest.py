"""Provenance comes back as it was written, and is replaced whole or not at all."""

import json
import math

import pydantic
import pytest

from deephochuli.store import Manifest, ModelSummary, OptimizerSummary, RunWriter, _files, open_run
from deephochuli.store._files import write_atomically

FULL = Manifest(
    versions={"torch": "2.13.0", "python": "3.11"},
    platform="Linux x86_64",
    device="cpu",
    n_threads=2,
    flags={"tf32": False, "matmul": "high", "epsilon": 0.5, "unknown": None},
    dtypes={"weight": "bfloat16"},
    seed=2**63,
    command=["python", "train.py", "half \ud83d", "ünïcode"],
    model=ModelSummary(class_name="Net", n_parameters=11, n_modules=3),
    optimizer=OptimizerSummary(class_name="SGD", groups=[{"lr": 0.1, "betas": [0.9, 0.99]}]),
    schedule="every 10 steps",
    selection="all",
    extra={"note": {"deep": [1, None, "x"]}},
)


def test_a_manifest_comes_back(tmp_path):
    RunWriter(tmp_path / "run", FULL).close()
    found = open_run(tmp_path / "run").manifest
    changed = {"finished", "ended", "n_steps", "n_chunks", "command", "sessions"}
    assert found.model_dump(exclude=changed) == FULL.model_dump(exclude=changed)
    assert found.command == ["python", "train.py", "half \\ud83d", "ünïcode"]
    assert (found.finished, found.n_steps, found.n_chunks) == (True, 0, 0)
    (session,) = found.sessions
    assert (session.started, session.ended) == (found.created, found.ended)


def test_numbers_that_json_has_no_word_for(tmp_path):
    flags = {"a": math.inf, "b": math.nan}
    RunWriter(tmp_path / "run", Manifest(flags=flags)).close()
    text = (tmp_path / "run" / "manifest.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["flags"] == {"a": "inf", "b": "nan"}
    assert open_run(tmp_path / "run").manifest.flags.keys() == {"a", "b"}


def test_every_run_has_its_own_id_and_a_time_with_its_zone():
    assert Manifest().run_id != Manifest().run_id
    assert Manifest().created.tzinfo is not None


def test_a_mistyped_field_is_refused():
    with pytest.raises(pydantic.ValidationError, match="seeds"):
        Manifest(seeds=3)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def fail(path):
        raise OSError("no")

    monkeypatch.setattr(_files, "make_durable", fail)
    with pytest.raises(OSError, match="no"):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_bytes() == b"old"
