"""The kink of ReLU at zero: how often it is met exactly, and what hangs on its derivative."""

from __future__ import annotations

from deephochuli.analysis.kink._at import kink_at
from deephochuli.analysis.kink._pools import Choice

__all__ = ["Choice", "kink_at"]
