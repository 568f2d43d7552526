"""What people see of a run: one HTML file, terminal tables, JSON, static figures.

Everything here is made of the same findings and the same recorded numbers; nothing imports torch.
"""

from __future__ import annotations

from deephochuli.report._build import build_report as build_report
from deephochuli.report._build import open_sources as open_sources
from deephochuli.report._diagnosis import diagnosis_tables as diagnosis_tables
from deephochuli.report._diagnosis import diagnosis_to_json as diagnosis_to_json
from deephochuli.report._figures import write_figures as write_figures
from deephochuli.report._folders import open_runs as open_runs
from deephochuli.report._json import to_json as to_json
from deephochuli.report._print import print_findings as print_findings
from deephochuli.report._read import read_ahead as read_ahead
from deephochuli.report._terminal import findings_table as findings_table

__all__ = [
    "build_report",
    "diagnosis_tables",
    "diagnosis_to_json",
    "findings_table",
    "open_runs",
    "open_sources",
    "print_findings",
    "read_ahead",
    "to_json",
    "write_figures",
]
