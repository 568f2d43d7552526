"""Affine pieces of networks, counted exactly along segments.

import deephochuli as dh

found = dh.pieces.count(model, x0, x1)
print(found)
"""

from __future__ import annotations

from deephochuli.pieces._counter import Counter as Counter
from deephochuli.pieces._line import count as count
from deephochuli.pieces._line import count_path as count_path
from deephochuli.pieces._line import tally as tally
from deephochuli.pieces._plane import PlaneCount as PlaneCount
from deephochuli.pieces._plane import plane as plane
from deephochuli.pieces._result import Interval as Interval
from deephochuli.pieces._result import LineCount as LineCount
from deephochuli.pieces._result import Origin as Origin
from deephochuli.pieces._tally import Tally as Tally

__all__ = [
    "Counter",
    "Interval",
    "LineCount",
    "Origin",
    "PlaneCount",
    "Tally",
    "count",
    "count_path",
    "plane",
    "tally",
]
