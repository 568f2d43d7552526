"""What people see of a run: one HTML file, terminal tables, JSON, static figures.

Everything here is made of the same findings and the same recorded numbers; nothing imports torch.
"""

from __future__ import annotations

from deephochuli.report._answer import Answer as Answer
from deephochuli.report._answer import answer_of as answer_of
from deephochuli.report._build import build_report as build_report
from deephochuli.report._build import open_sources as open_sources
from deephochuli.report._comparison import build_comparison_report as build_comparison_report
from deephochuli.report._comparison_json import comparison_to_json as comparison_to_json
from deephochuli.report._comparison_json import kept_to_json as kept_to_json
from deephochuli.report._comparison_json import pairs_to_json as pairs_to_json
from deephochuli.report._comparison_json import verdict_to_json as verdict_to_json
from deephochuli.report._comparison_terminal import comparison_tables as comparison_tables
from deephochuli.report._comparison_terminal import kept_tables as kept_tables
from deephochuli.report._comparison_terminal import pairs_tables as pairs_tables
from deephochuli.report._comparison_terminal import verdict_tables as verdict_tables
from deephochuli.report._diagnosis import diagnosis_tables as diagnosis_tables
from deephochuli.report._diagnosis import diagnosis_to_json as diagnosis_to_json
from deephochuli.report._figures import write_figures as write_figures
from deephochuli.report._folders import MANIFEST as MANIFEST
from deephochuli.report._folders import names_of as names_of
from deephochuli.report._folders import open_runs as open_runs
from deephochuli.report._folders import run_folders as run_folders
from deephochuli.report._json import to_json as to_json
from deephochuli.report._live import live_page as live_page
from deephochuli.report._live import live_part as live_part
from deephochuli.report._markdown import write_markdown as write_markdown
from deephochuli.report._print import print_findings as print_findings
from deephochuli.report._read import ending as ending
from deephochuli.report._read import read_ahead as read_ahead
from deephochuli.report._sheets import build_sheets_report as build_sheets_report
from deephochuli.report._sheets import sheet_to_json as sheet_to_json
from deephochuli.report._sheets import sheets_to_json as sheets_to_json
from deephochuli.report._sheets_terminal import claims_table as claims_table
from deephochuli.report._sheets_terminal import sheet_tables as sheet_tables
from deephochuli.report._terminal import MARKS as MARKS
from deephochuli.report._terminal import NOTHING as NOTHING
from deephochuli.report._terminal import STYLES as STYLES
from deephochuli.report._terminal import findings_table as findings_table
from deephochuli.report._text import finite_or_none as finite_or_none
from deephochuli.report._text import plain as plain
from deephochuli.report._text import shortened as shortened
from deephochuli.report._text import sparkline as sparkline

__all__ = [
    "MANIFEST",
    "MARKS",
    "NOTHING",
    "STYLES",
    "Answer",
    "answer_of",
    "build_comparison_report",
    "build_report",
    "build_sheets_report",
    "claims_table",
    "comparison_tables",
    "comparison_to_json",
    "diagnosis_tables",
    "diagnosis_to_json",
    "ending",
    "findings_table",
    "finite_or_none",
    "kept_tables",
    "kept_to_json",
    "live_page",
    "live_part",
    "names_of",
    "open_runs",
    "open_sources",
    "pairs_tables",
    "pairs_to_json",
    "plain",
    "print_findings",
    "read_ahead",
    "run_folders",
    "sheet_tables",
    "sheet_to_json",
    "sheets_to_json",
    "shortened",
    "sparkline",
    "to_json",
    "verdict_tables",
    "verdict_to_json",
    "write_figures",
    "write_markdown",
]
