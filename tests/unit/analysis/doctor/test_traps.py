"""Every trap that is planted is found by its name; models that are fine get no word."""

import pytest

from deephochuli.analysis.doctor import doctor
from tests.unit.analysis.doctor.clean import CLEAN, HARMLESS
from tests.unit.analysis.doctor.test_page import kinds_in_code
from tests.unit.analysis.doctor.traps import TRAPS


def kinds(*patient):
    model, optimizer, scaler = (*patient, None, None)[:3]
    return {finding.kind for finding in doctor(model, optimizer, scaler=scaler).findings}


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found(name):
    build, kind = TRAPS[name]
    built = build()
    assert kind in kinds(*(built if isinstance(built, tuple) else (built,)))


def test_there_are_enough_traps_of_different_kinds():
    assert len(TRAPS) >= 50
    assert len({kind for _, kind in TRAPS.values()}) >= 25
    assert kinds_in_code("_machine_findings.py", invert=True) == {k for _, k in TRAPS.values()}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_model_gets_no_warning(name):
    assert [(f.kind, f.level) for f in doctor(*CLEAN[name]()).findings] == []


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_gets_no_warning(name):
    built = HARMLESS[name]()
    found = doctor(*(built if isinstance(built, tuple) else (built,))).findings
    assert [(f.kind, f.level) for f in found] == []
