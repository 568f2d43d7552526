"""Ranks that die, record other steps or cease to record: nobody waits, everything is read."""

import random

import pytest

import deephochuli as dh
from tests.distributed import scenarios
from tests.distributed.launch import launch

pytestmark = pytest.mark.distributed
KILLED = -9


def kill_one(folder, n_ranks, victim, after_s):
    """Kill a rank while all train, and look at what is there."""
    codes = launch(scenarios.dies, n_ranks, folder, victim, after_s, fails=True)
    assert codes[victim] == KILLED
    assert all(code == 1 for rank, code in enumerate(codes) if rank != victim)
    run = dh.open_run(folder / "run")
    assert len(run.ranks) == n_ranks
    for rank, each in enumerate(run.ranks):
        assert each.finished == (rank != victim)
        assert not each.damaged
        assert each.steps["step"].tolist() == list(range(len(each.steps["step"])))
    shortest = min(len(each.steps["step"]) for each in run.ranks)
    if shortest:  # a rank that was killed before its first chunk is left out
        assert len(run.steps["step"]) == shortest
    assert len(run.steps["step"]) > 0
    assert not run.has_writer
    kinds = {finding.kind for finding in dh.findings(run)}
    assert kinds & {"uneven-ranks", "missing-ranks"} or not shortest < max(
        len(each.steps["step"]) for each in run.ranks
    )
    return run


def test_a_rank_that_is_killed_leaves_a_run_that_can_be_read(tmp_path):
    run = kill_one(tmp_path / "x", 2, victim=1, after_s=0.6)
    assert run.find("relu", "z") >= 0


def test_ranks_with_other_schedules_and_faults_do_not_wait_for_each_other(tmp_path):
    launch(scenarios.records_rounds, 2, tmp_path / "x", 6)
    for number in range(6):
        run = dh.open_run(tmp_path / "x" / f"run-{number}")
        every = [set(each.steps["step"].tolist()) for each in run.ranks]
        some = [steps for steps in every if steps]
        assert set(run.steps["step"].tolist()) == (set.intersection(*some) if some else set())


@pytest.mark.slow
def test_two_hundred_rounds_end(tmp_path):
    """185 rounds in two and in four processes, and 15 that end by the death of a rank."""
    launch(scenarios.records_rounds, 2, tmp_path / "two", 145, patience=900.0)
    launch(scenarios.records_rounds, 4, tmp_path / "four", 40, patience=900.0)
    dice = random.Random(1)
    for number in range(15):
        n_ranks = dice.choice([2, 3])
        kill_one(tmp_path / str(number), n_ranks, dice.randrange(n_ranks), dice.uniform(0.3, 1.5))
