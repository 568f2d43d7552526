"""Mergeable summaries: what was seen, and what any format would make of it."""

from __future__ import annotations

from deephochuli.sketch._ask import (
    Answer,
    ScaleChoice,
    Share,
    ask,
    best_scale,
    highest_scale,
)
from deephochuli.sketch._sketch import Sketch, merge_sketches

__all__ = [
    "Answer",
    "ScaleChoice",
    "Share",
    "Sketch",
    "ask",
    "best_scale",
    "highest_scale",
    "merge_sketches",
]
