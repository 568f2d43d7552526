"""Mergeable summaries: what was seen, and what any format would make of it."""

from __future__ import annotations

from deephochuli.sketch._ask import Answer as Answer
from deephochuli.sketch._ask import ScaleChoice as ScaleChoice
from deephochuli.sketch._ask import Share as Share
from deephochuli.sketch._ask import ask as ask
from deephochuli.sketch._ask import best_scale as best_scale
from deephochuli.sketch._sketch import Sketch as Sketch
from deephochuli.sketch._sketch import merge_sketches as merge_sketches

__all__ = ["Answer", "ScaleChoice", "Share", "Sketch", "ask", "best_scale", "merge_sketches"]
