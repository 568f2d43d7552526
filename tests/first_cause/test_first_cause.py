"""The verdict names the layer with the fault; `python -m tests.first_cause` tries many more."""

import os

import pytest

from tests.first_cause.faults import BACKWARD, FORWARD, UPDATE, faulty
from tests.first_cause.models import MODELS
from tests.first_cause.trial import Case, run_trials


def test_a_fault_is_found_in_its_layer_and_nothing_where_there_is_none():
    tally = run_trials(6, 3, seed=100)
    assert (tally.n_faults, tally.n_controls) == (6, 3)
    assert tally.right == 6, tally.wrong
    assert tally.alarms == 0, tally.wrong
    assert tally.most_runs <= 20


KINDS = {"forward": FORWARD, "backward": BACKWARD, "update": UPDATE}


@pytest.mark.parametrize("where", KINDS)
def test_every_fault_is_one_somewhere(where):
    """Faults that change nothing are not counted: were a kind never to do so, nobody would see."""
    cases = [Case("plain cnn", 0), Case("residual", 1)]
    for fault in set(KINDS[where]) - {"stale" if where == "forward" else ""}:
        made = [
            (case, faulty(case.model, case.optimizer, path, where, fault))
            for case in cases
            for path in case.paths
        ]
        assert any(pair and case.changes(*pair) for case, pair in made), fault


@pytest.mark.slow
def test_many_faults_in_many_architectures():
    tally = run_trials(int(os.environ.get("DEEPHOCHULI_FAULTS", "1000")), 300, seed=0)
    assert len(tally.by_model[1]) == len(MODELS)
    assert {kind.split()[0] for kind in tally.by_fault[1]} == set(KINDS)
    assert tally.is_good, tally.wrong
