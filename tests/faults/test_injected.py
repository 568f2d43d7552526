"""Whatever part fails, the training ends with the same numbers, and the fault is said once."""

import pytest

from deephochuli.store import open_run
from tests.faults.injection import ERRORS, MOMENTS, SITES, Fault, cases, name_of
from tests.faults.training import N_STEPS, mostly_slow, recorded, undisturbed

CASES = list(cases())
# One error of each kind, spread over the sites, is enough for every day.
EVERY_DAY = [(site, list(ERRORS)[n % 4], "first") for n, site in enumerate(SITES)]


def test_there_are_enough_faults():
    assert len(CASES) >= 300
    assert set(EVERY_DAY) <= set(CASES)
    assert {moment for _, _, moment in CASES} == MOMENTS.keys()


def test_without_a_fault_nothing_is_said_and_everything_recorded(tmp_path):
    trained = recorded(tmp_path / "run")
    assert trained.is_same(undisturbed())
    assert trained.said == []
    run = open_run(tmp_path / "run")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(N_STEPS))
    assert run.steps["skipped"].tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("case", mostly_slow(EVERY_DAY), ids=name_of)
def test_a_fault_is_survived_and_said_once(tmp_path, case):
    check(tmp_path / "run", Fault(*case))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_fault_is_survived_and_said_once(tmp_path, case):
    check(tmp_path / "run", Fault(*case))


def check(path, fault):
    try:
        trained = recorded(path, faults=fault)
    finally:
        fault.end()
    assert trained.is_same(undisturbed())
    if not fault.n_raised:
        assert fault.moment == "third", f"{fault.site} was never called"
        pytest.skip(f"{fault.site} is called {fault.n_calls} times only")
    assert len(trained.said) == 1, trained.said
    run = open_run(path)  # what was written before the fault can be read
    assert run.steps["step"].tolist() == sorted(set(run.steps["step"].tolist()))
