"""The studies there are, and where each is defined; a study is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Final

from deephochuli.errors import StudyError, near_matches
from deephochuli.studies._study import Study

_HOMES: Final[dict[str, str]] = {
    "swamping": "swamping",
    "barrier": "barrier",
    "tf32": "tf32",
    "dead-neurons": "dead_neurons",
    "kink": "kink",
    "backward": "backward",
    "pieces": "pieces",
    "dying-relu": "dying_relu",
}
"""Name of a study -> module of this package that defines it as ``STUDY``."""


def list_studies() -> list[str]:
    """Names of all studies, in the order in which a report shows them."""
    return list(_HOMES)


def get_study(name: str) -> Study:
    """The study of a name.

    Raises:
        StudyError: There is no such study; near matches are named.
    """
    if name not in _HOMES:
        raise StudyError(f"There is no study {name!r}. {near_matches(name, _HOMES)}")
    module = importlib.import_module(f"deephochuli.studies.{_HOMES[name]}")
    study: Study = module.STUDY
    return study
