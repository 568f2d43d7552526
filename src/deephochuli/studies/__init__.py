"""The founding documents' claims, measured again: claim, source, measured, verdict."""

from __future__ import annotations

from deephochuli.studies._cache import PointCache as PointCache
from deephochuli.studies._catalogue import get_study as get_study
from deephochuli.studies._catalogue import list_studies as list_studies
from deephochuli.studies._engines import Engine as Engine
from deephochuli.studies._engines import Job as Job
from deephochuli.studies._engines import Local as Local
from deephochuli.studies._engines import Measured as Measured
from deephochuli.studies._engines import Ray as Ray
from deephochuli.studies._estimate import Estimate as Estimate
from deephochuli.studies._estimate import StudyCost as StudyCost
from deephochuli.studies._estimate import estimate as estimate
from deephochuli.studies._ledger import Ledger as Ledger
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
    "Engine",
    "Estimate",
    "Job",
    "Ledger",
    "Local",
    "Measured",
    "Outcome",
    "Params",
    "Point",
    "PointCache",
    "Progress",
    "Ray",
    "Result",
    "Study",
    "StudyCost",
    "Verdict",
    "estimate",
    "get_study",
    "list_studies",
    "run_studies",
]
