"""Sums replayed addition by addition, beside their exact values."""

from __future__ import annotations

from deephochuli.kernels.addends._replay import ORDERS, Addends, Replay, ReplayOrder

__all__ = ["ORDERS", "Addends", "Replay", "ReplayOrder"]
