"""Dead units by cause, over time, and who comes back to life in which arithmetic."""

from __future__ import annotations

from deephochuli.analysis.death._arms import ARMS, FOUR, Arm
from deephochuli.analysis.death._death import death
from deephochuli.analysis.death._lifelines import Event, Lifelines, Lives
from deephochuli.analysis.death._low import Spec
from deephochuli.analysis.death._near_dead import near_dead
from deephochuli.analysis.death._pairs import Cluster, Paired, by_cluster, mcnemar, paired
from deephochuli.analysis.death._result import FATES, Death, LayerUnits
from deephochuli.analysis.death._revival import revival
from deephochuli.analysis.death._revived import Revival

__all__ = [
    "ARMS",
    "FATES",
    "FOUR",
    "Arm",
    "Cluster",
    "Death",
    "Event",
    "LayerUnits",
    "Lifelines",
    "Lives",
    "Paired",
    "Revival",
    "Spec",
    "by_cluster",
    "death",
    "mcnemar",
    "near_dead",
    "paired",
    "revival",
]
