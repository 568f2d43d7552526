"""Swamping inside reductions: true addends replayed addition by addition."""

from __future__ import annotations

from deephochuli.analysis.swamping import _sheet as _sheet  # which registers itself
from deephochuli.analysis.swamping._growth import predicted_shares
from deephochuli.analysis.swamping._interval import Estimate, ratio
from deephochuli.analysis.swamping._result import SumRow, Swamping
from deephochuli.analysis.swamping._swamping import swamping

__all__ = ["Estimate", "SumRow", "Swamping", "predicted_shares", "ratio", "swamping"]
