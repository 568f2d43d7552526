"""The founding documents' claims, measured again: claim, source, measured, verdict."""

from __future__ import annotations

from deephochuli.studies._cache import PointCache as PointCache
from deephochuli.studies._catalogue import get_study as get_study
from deephochuli.studies._catalogue import list_studies as list_studies
from deephochuli.studies._run import Outcome as Outcome
from deephochuli.studies._run import Progress as Progress
from deephochuli.studies._run import run_studies as run_studies
from deephochuli.studies._study import Claim as Claim
from deephochuli.studies._study import Conclusion as Conclusion
from deephochuli.studies._study import Params as Params
from deephochuli.studies._study import Point as Point
from deephochuli.studies._study import Result as Result
from deephochuli.studies._study import Study as Study
from deephochuli.studies._study import Verdict as Verdict

__all__ = [
    "Claim",
    "Conclusion",
    "Outcome",
    "Params",
    "Point",
    "PointCache",
    "Progress",
    "Result",
    "Study",
    "Verdict",
    "get_study",
    "list_studies",
    "run_studies",
]
