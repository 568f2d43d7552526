"""The studies there are, and where each is defined; a study is imported when it is asked for."""

from __future__ import annotations

import importlib
import re
from typing import Final

from deephochuli.errors import StudyError, describe, near_matches
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
    """The study of a name, or one of your own, named as ``MODULE:NAME``.

    Args:
        name: A name of `list_studies`, or where a study of yours is defined, such as
            ``"mypackage.mystudy:STUDY"``; the module is imported.

    Raises:
        StudyError: There is no such study; near matches are named.
    """
    if ":" in name:
        return _own(name)
    if name not in _HOMES:
        raise StudyError(
            f"There is no study {name!r}. {near_matches(name, _HOMES)} A study of your own is "
            "named as MODULE:NAME, such as mypackage.mystudy:STUDY."
        )
    module = importlib.import_module(f"deephochuli.studies.{_HOMES[name]}")
    study: Study = module.STUDY
    return study


def _own(name: str) -> Study:
    """A user's study; its name becomes a folder, and must be nobody else's."""
    home, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(home)
    except (ImportError, ValueError, TypeError) as error:
        raise StudyError(
            f"{name!r} names a study in the module {home!r}, which cannot be imported "
            f"({describe(error)}). Modules are looked for in the current folder, too."
        ) from error
    study = getattr(module, attribute, None)
    if not isinstance(study, Study):
        names = [key for key, value in vars(module).items() if isinstance(value, Study)]
        raise StudyError(
            f"{attribute!r} of the module {home!r} is no Study. {near_matches(attribute, names)}"
        )
    if study.name in _HOMES or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", study.name):
        raise StudyError(
            f"The study {name!r} calls itself {study.name!r}, which is the name of another study, "
            "or no word of letters, digits, - and _. Its results lie in a folder of that name; "
            "give it another one."
        )
    return study
