"""How often pre-activations are exactly zero, and what hangs on ReLU'(0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deephochuli.studies._study import Params, Study
from deephochuli.studies.kink._conclude import conclude
from deephochuli.studies.kink._plan import LAW, REFERENCE, TRAINING, VOLUME, plan, weight
from deephochuli.studies.kink._reference import measure_reference
from deephochuli.studies.kink._training import measure_training
from deephochuli.studies.kink._volumes import measure_law, measure_volume

__all__ = ["STUDY", "measure"]

_MEASURES = {
    REFERENCE: measure_reference,
    VOLUME: measure_volume,
    LAW: measure_law,
    TRAINING: measure_training,
}


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point of the plan, in one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _MEASURES[params["what"]](params)
    finally:
        torch.set_num_threads(n_threads)


STUDY = Study(
    name="kink",
    title="The kink at zero",
    question="How often are pre-activations exactly zero, why, and what hangs on the derivative "
    "of ReLU there?",
    version=2,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
