"""A slice of the fuzzer in the default loop; all of it: python -m tests.fuzz.store."""

import os

import pytest

from tests.fuzz import cases, store

N_CASES = int(os.environ.get("DEEPHOCHULI_FUZZ_CASES", "300"))


def test_spoiled_runs_are_refused_or_read_and_nothing_else():
    outcome = store.fuzz(N_CASES, seed=7)
    assert not outcome.failures
    assert outcome.tried == N_CASES
    assert outcome.counts["refused"] > outcome.counts["read"] > 0
    assert outcome.peak_bytes < store.MOST_BYTES


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("os.abort()", "the process ends (-6)"),
        ("raise ValueError('odd')", "ValueError: odd"),
        ("b'x' * (1 << 30)", "bytes"),
        pytest.param("time.sleep(99)", "hangs", marks=pytest.mark.slow),
        ("subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_the_fuzzer_sees_what_must_not_happen(monkeypatch, fault, said):
    original = cases.run_case
    monkeypatch.setattr(store, "MOST_SECONDS", 1.0 if said == "hangs" else 20.0)
    monkeypatch.setattr(store, "WARM_UP", 0)
    monkeypatch.setattr(store, "MOST_BYTES", 900_000_000)

    def faulty(grounds, number, seed):
        if number == 3:
            FAULTS[fault]()
        return original(grounds, number, seed)

    monkeypatch.setattr(cases, "run_case", faulty)
    outcome = store.fuzz(6)
    assert any(said in failure and "case 3" in failure for failure in outcome.failures)
    assert outcome.tried == 6


def _raise():
    raise ValueError("odd")


def _sleep():
    import time

    time.sleep(99)


def _start():
    import subprocess

    subprocess.run(["true"], check=True)


FAULTS = {
    "os.abort()": os.abort,
    "raise ValueError('odd')": _raise,
    "b'x' * (1 << 30)": lambda: b"x" * (1 << 30),
    "time.sleep(99)": _sleep,
    "subprocess.run(['true'])": _start,
}
