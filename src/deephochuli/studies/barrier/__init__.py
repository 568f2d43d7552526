"""Whether the smallest pre-activations are a limit of the hardware, of rarity, or of the bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deephochuli.studies._study import Params, Study
from deephochuli.studies.barrier._conclude import conclude
from deephochuli.studies.barrier._measure import measure_layer, measure_model, measure_normal
from deephochuli.studies.barrier._plan import LAYER, MODEL, NORMAL, plan, weight

__all__ = ["STUDY", "measure"]

_MEASURES = {LAYER: measure_layer, MODEL: measure_model, NORMAL: measure_normal}


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point of the plan, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return _MEASURES[params["what"]](params)
    finally:
        torch.set_num_threads(threads)


STUDY = Study(
    name="barrier",
    title="The probability barrier",
    question="Where histograms of |z| end: is it a limit of the hardware, is it how rare small "
    "values are, or is it the bias?",
    version=2,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
