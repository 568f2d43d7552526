"""Where and when recorded runs part from each other."""

from __future__ import annotations

from deephochuli.analysis.parting import _sheet as _sheet  # which registers itself
from deephochuli.analysis.parting._align import Alignment as Alignment
from deephochuli.analysis.parting._align import Unaligned as Unaligned
from deephochuli.analysis.parting._align import align as align
from deephochuli.analysis.parting._align import renamed as renamed
from deephochuli.analysis.parting._diff import MOST_RUNS as MOST_RUNS
from deephochuli.analysis.parting._diff import diff as diff
from deephochuli.analysis.parting._distance import chance_of_sampling as chance_of_sampling
from deephochuli.analysis.parting._distance import distances as distances
from deephochuli.analysis.parting._environment import Change as Change
from deephochuli.analysis.parting._environment import changes as changes
from deephochuli.analysis.parting._judge import TapParting as TapParting
from deephochuli.analysis.parting._judge import judge as judge
from deephochuli.analysis.parting._pair import RunPair as RunPair
from deephochuli.analysis.parting._result import Parting as Parting
from deephochuli.analysis.parting._rows import RunRows as RunRows
from deephochuli.analysis.parting._rows import TapRows as TapRows
from deephochuli.analysis.parting._rows import read_rows as read_rows
from deephochuli.analysis.parting._training import FindingChange as FindingChange
from deephochuli.analysis.parting._training import Losses as Losses
from deephochuli.analysis.parting._training import SettingChange as SettingChange

__all__ = [
    "MOST_RUNS",
    "Alignment",
    "Change",
    "FindingChange",
    "Losses",
    "Parting",
    "RunPair",
    "RunRows",
    "SettingChange",
    "TapParting",
    "TapRows",
    "Unaligned",
    "align",
    "chance_of_sampling",
    "changes",
    "diff",
    "distances",
    "judge",
    "read_rows",
    "renamed",
]
