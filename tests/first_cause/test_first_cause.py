"""The verdict names the layer with the fault; `python -m tests.first_cause` tries many more."""

import os

import pytest

from tests.first_cause.models import MODELS
from tests.first_cause.trial import run_trials


def test_a_fault_is_found_in_its_layer_and_nothing_where_there_is_none():
    tally = run_trials(6, 3, seed=100)
    assert (tally.n_faults, tally.n_controls) == (6, 3)
    assert tally.right == 6, tally.wrong
    assert tally.alarms == 0, tally.wrong
    assert tally.most_runs <= 20


@pytest.mark.slow
def test_many_faults_in_many_architectures():
    tally = run_trials(int(os.environ.get("DEEPHOCHULI_FAULTS", "1000")), 300, seed=0)
    assert len(tally.by_model[1]) == len(MODELS)
    assert tally.is_good, tally.wrong
