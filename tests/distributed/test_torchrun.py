"""``deephochuli run`` under ``torchrun``: a script as it is, and one run of all its ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import deephochuli as dh
from tests.e2e.one_line import with_the_line

pytestmark = pytest.mark.distributed
SCRIPT = Path(__file__).parents[1] / "e2e" / "scripts" / "ranks.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(*words, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300
    )


def test_a_script_is_recorded_by_all_its_ranks(tmp_path):
    plain = start(SCRIPT, "a", cwd=tmp_path)
    ours = ("-m", "deephochuli", "run", "--quiet", "--to", tmp_path / "runs")
    done = start(*ours, SCRIPT, "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout), done.stderr
    assert "of 2 ranks, ['a']" in done.stdout
    run = dh.open_run(tmp_path / "runs" / "Sequential")
    assert len(run.ranks) == 2
    assert run.steps["step"].tolist() == list(range(5))
    assert run.whole("1", "z").numbers["n"] == 2 * 5 * 8 * 8
    assert run.whole("0.weight", "w").numbers["n"] == 5 * 32
    assert not [f for f in dh.findings(run) if "rank" in f.kind]


def test_ranks_of_a_script_with_one_line_agree_on_a_folder(tmp_path):
    plain = start(SCRIPT, "a", cwd=tmp_path)
    done = start(with_the_line(SCRIPT, tmp_path), "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout), done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    run = dh.open_run(folder / "Sequential")
    assert len(run.ranks) == 2
    assert run.steps["step"].tolist() == list(range(5))


def test_ranks_need_one_folder(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from deephochuli.cli import app

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", str(SCRIPT)])
    assert done.exit_code == 2
    assert "Several ranks need one folder" in done.output
    assert not list(tmp_path.iterdir())
