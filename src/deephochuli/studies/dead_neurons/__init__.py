"""Whether arithmetic kills units, keeps dead ones from coming back, and by which ingredient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deephochuli.studies._study import Params, Study
from deephochuli.studies.dead_neurons._conclude import conclude
from deephochuli.studies.dead_neurons._deep import measure_deep
from deephochuli.studies.dead_neurons._laws import measure_law
from deephochuli.studies.dead_neurons._plan import DEEP, LAW, TRAINED, plan, weight
from deephochuli.studies.dead_neurons._revive import measure_trained

__all__ = ["STUDY", "measure"]

_MEASURES = {LAW: measure_law, DEEP: measure_deep, TRAINED: measure_trained}


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point of the plan."""
    return _MEASURES[params["what"]](params)


STUDY = Study(
    name="dead-neurons",
    title="Dead neurons",
    question="Does floating-point arithmetic kill ReLU units, and does it keep dead ones from "
    "coming back that would come back in exact arithmetic?",
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
