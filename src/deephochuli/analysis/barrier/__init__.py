"""The probability barrier: what limits the smallest pre-activations of a layer."""

from __future__ import annotations

from deephochuli.analysis.barrier._barrier import barrier as barrier
from deephochuli.analysis.barrier._barrier import counted as counted
from deephochuli.analysis.barrier._bits import lowest_bits as lowest_bits
from deephochuli.analysis.barrier._bits import trailing_zeros as trailing_zeros
from deephochuli.analysis.barrier._bits import ulps as ulps
from deephochuli.analysis.barrier._count import count as count
from deephochuli.analysis.barrier._judge import Judgement as Judgement
from deephochuli.analysis.barrier._judge import Limit as Limit
from deephochuli.analysis.barrier._judge import judge as judge
from deephochuli.analysis.barrier._lattice import CERTAIN as CERTAIN
from deephochuli.analysis.barrier._lattice import Lattice as Lattice
from deephochuli.analysis.barrier._lattice import lattice_of as lattice_of
from deephochuli.analysis.barrier._laws import Interval as Interval
from deephochuli.analysis.barrier._laws import cutoff as cutoff
from deephochuli.analysis.barrier._laws import poisson_two_sided as poisson_two_sided
from deephochuli.analysis.barrier._laws import trailing_upper as trailing_upper
from deephochuli.analysis.barrier._result import Barrier as Barrier
from deephochuli.analysis.barrier._result import Intervention as Intervention
from deephochuli.analysis.barrier._result import LayerBarrier as LayerBarrier
from deephochuli.analysis.barrier._runs import RunBarrier as RunBarrier
from deephochuli.analysis.barrier._runs import TapBarrier as TapBarrier
from deephochuli.analysis.barrier._runs import barrier_of_run as barrier_of_run
from deephochuli.analysis.barrier._scaling import Law as Law
from deephochuli.analysis.barrier._scaling import law_of as law_of
from deephochuli.analysis.barrier._sheets import COLUMNS as COLUMNS
from deephochuli.analysis.barrier._sheets import row_of as row_of
from deephochuli.analysis.barrier._tally import Tally as Tally
from deephochuli.analysis.barrier._tally import merge_tallies as merge_tallies

__all__ = [
    "CERTAIN",
    "COLUMNS",
    "Barrier",
    "Interval",
    "Intervention",
    "Judgement",
    "Lattice",
    "Law",
    "LayerBarrier",
    "Limit",
    "RunBarrier",
    "Tally",
    "TapBarrier",
    "barrier",
    "barrier_of_run",
    "count",
    "counted",
    "cutoff",
    "judge",
    "lattice_of",
    "law_of",
    "lowest_bits",
    "merge_tallies",
    "poisson_two_sided",
    "row_of",
    "trailing_upper",
    "trailing_zeros",
    "ulps",
]
