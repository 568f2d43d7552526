"""A study of one's own is named by its module; what is wrong with the name is said."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest

from deephochuli.errors import StudyError
from deephochuli.studies import get_study
from tests.unit.studies.toy import STUDY


@pytest.fixture
def own(monkeypatch):
    module = ModuleType("own_study")
    monkeypatch.setitem(sys.modules, "own_study", module)
    return module


def test_a_study_of_ones_own_is_found(own):
    own.SQUARES = STUDY
    assert get_study("own_study:SQUARES") is STUDY


@pytest.mark.parametrize("name", ["no_such_module:STUDY", ":STUDY", ".relative:STUDY"])
def test_a_module_that_cannot_be_imported_is_named(name):
    with pytest.raises(StudyError, match=f"{name.partition(':')[0]}.*cannot be imported"):
        get_study(name)


@pytest.mark.parametrize("attribute", ["SQUARE", "", "__name__"])
def test_a_name_that_is_no_study_is_refused_with_near_matches(own, attribute):
    own.SQUARES = STUDY
    with pytest.raises(StudyError, match=r"no Study.*SQUARES"):
        get_study(f"own_study:{attribute}")


@pytest.mark.parametrize("name", ["swamping", "../toy", "", "a b", "toy\n"])
def test_a_study_with_a_name_that_is_no_folder_of_its_own_is_refused(own, name):
    own.STUDY = replace(STUDY, name=name)
    with pytest.raises(StudyError, match="give it another one"):
        get_study("own_study:STUDY")
