"""What people see of a run: one HTML file, terminal tables, JSON, static figures.

Everything here is made of the same findings and the same recorded numbers; nothing imports torch.
"""

from __future__ import annotations

from deephochuli.report._build import build_report as build_report

__all__ = ["build_report"]
