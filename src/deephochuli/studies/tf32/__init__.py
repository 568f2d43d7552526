"""How much larger errors are with TF32 than with FP32, and where "up to 830 times" comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deephochuli.studies._study import Params, Study
from deephochuli.studies.tf32._conclude import conclude
from deephochuli.studies.tf32._networks import measure_deep, measure_trained
from deephochuli.studies.tf32._plan import DEEP, PRODUCT, TRAINED, plan, weight
from deephochuli.studies.tf32._products import measure_product

__all__ = ["STUDY", "measure"]

_MEASURES = {PRODUCT: measure_product, DEEP: measure_deep, TRAINED: measure_trained}


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point of the plan."""
    return _MEASURES[params["what"]](params)


STUDY = Study(
    name="tf32",
    title="TF32 beside FP32",
    question="How much larger are the errors of products with TF32 than with FP32, and what makes "
    "the ratio 830?",
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
