"""Scripts with one line where they start processes, and where they fail."""

import os

import numpy as np
import pytest

import deephochuli as dh
from tests.e2e.one_line import SCRIPTS, losses, run, with_the_line

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    """Something as large as the digits, for scripts that read them from a file."""
    draw = np.random.default_rng(0)
    x, y = draw.random((128, 64), np.float32), draw.integers(10, size=128)
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    return "digits.npz"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_of_a_data_loader_record_nothing(tmp_path, data, start_method):
    if start_method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    done = run(with_the_line(SCRIPTS / "workers.py", tmp_path), tmp_path, data, start_method)
    assert len(losses(done)) == 4
    (path,) = (tmp_path / "runs").glob("*/*")
    assert dh.open_run(path).steps["step"].tolist() == [0, 1, 2, 3]
    assert done.stderr.count("deephochuli: recorded") == 1


def test_a_script_that_fails_ends_as_without_the_line(tmp_path, data):
    plain = run(SCRIPTS / "crash.py", tmp_path, data, code=1)
    done = run(with_the_line(SCRIPTS / "crash.py", tmp_path), tmp_path, data, code=1)
    assert losses(done) == losses(plain)
    own, closing, _ = done.stderr.partition("deephochuli: recorded")
    assert closing
    assert own.splitlines()[-1] == plain.stderr.splitlines()[-1]
    (path,) = (tmp_path / "runs").glob("*/*")
    assert dh.open_run(path).finished
    assert dh.open_run(path).manifest.raised in plain.stderr
