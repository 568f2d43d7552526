"""The backward pass: what formats lose of it, and what vanishes without them."""

from __future__ import annotations

from deephochuli.studies._study import Study
from deephochuli.studies.backward._conclude import conclude
from deephochuli.studies.backward._measure import measure
from deephochuli.studies.backward._plan import plan, weight

__all__ = ["STUDY", "measure"]

STUDY = Study(
    name="backward",
    title="The backward pass",
    question="Which gradients does a format lose that exact arithmetic keeps, which vanish by "
    "themselves, and does a loss scale bring the lost ones back?",
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
