"""When a sum swallows its addends: thresholds, sums of a real network, growth, weight updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deephochuli.studies._study import Params, Study
from deephochuli.studies.swamping._conclude import conclude
from deephochuli.studies.swamping._growth import measure_depth, measure_growth
from deephochuli.studies.swamping._plan import plan, weight
from deephochuli.studies.swamping._sums import measure_sums
from deephochuli.studies.swamping._thresholds import (
    measure_curve,
    measure_pairs,
    measure_stochastic,
    measure_thresholds,
)
from deephochuli.studies.swamping._updates import measure_updates

__all__ = ["STUDY", "measure"]

_MEASURES = {
    "thresholds": measure_thresholds,
    "pairs": measure_pairs,
    "stochastic": measure_stochastic,
    "curve": measure_curve,
    "sums": measure_sums,
    "growth": measure_growth,
    "depth": measure_depth,
    "updates": measure_updates,
}


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point of the plan."""
    return _MEASURES[params["what"]](params)


STUDY = Study(
    name="swamping",
    title="Swamping",
    question="From which size on is an addend absorbed, and how much do the sums and the updates "
    "of a real network lose by it?",
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
