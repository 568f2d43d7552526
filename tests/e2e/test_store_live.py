"""Processes that write, each its own run, and readers that look again and again meanwhile."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from deephochuli.store import open_run
from tests.e2e.test_store_kill import CHUNK_STEPS, N_TAPS, counts_of, in_child, write_run

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

ROUNDS = int(os.environ.get("DEEPHOCHULI_LIVE_ROUNDS", "1"))
N_WRITERS = int(os.environ.get("DEEPHOCHULI_LIVE_WRITERS", "3"))
N_STEPS = 30


def look(reader, rng) -> int:
    """Everything that is there agrees; returns the number of steps."""
    steps = reader.steps["step"]
    assert steps.tolist() == list(range(len(steps)))
    assert len(steps) == CHUNK_STEPS * reader.n_chunks or reader.finished
    assert not reader.damaged
    table = reader.all_scalars(["n"])
    assert len(table["n"]) == N_TAPS * len(steps)
    if len(steps):
        tap = int(rng.integers(N_TAPS))
        index = reader.find(f"layer{tap}", "z")
        expected = [counts_of(step, tap).sum() for step in steps]
        assert table["n"][table["tap"] == index].tolist() == expected
        merged = sum(counts_of(step, tap) for step in steps)
        np.testing.assert_array_equal(reader.whole(f"layer{tap}", "z").count, merged)
    return len(steps)


def poll(path: Path, seed: int) -> int:
    """Look at a run until it is finished; returns how often it had grown."""
    rng = np.random.default_rng(seed)
    while not (path / "manifest.json").exists():
        time.sleep(0.001)
    reader = open_run(path)
    before, n_grown = -1, 0
    while True:
        n_steps = look(reader, rng)
        assert n_steps >= before
        n_grown += n_steps > before
        before = n_steps
        if reader.finished:
            assert n_steps == N_STEPS
            return n_grown
        reader.refresh()


def write(path: Path) -> None:
    """Write a run, with time between its chunks for others to look."""
    write_run(path, N_STEPS, lambda _: time.sleep(0.005))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_readers_see_runs_grow(tmp_path, round_):
    paths = [tmp_path / f"run{i}" for i in range(N_WRITERS)]
    children = [in_child(lambda path=path: write(path)) for path in paths]
    children += [in_child(lambda path=path: poll(path, round_)) for path in paths[1:]]
    assert poll(paths[0], round_) > 1
    assert [os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)
