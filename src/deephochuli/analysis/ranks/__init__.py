"""Is one rank of several unlike the others: in what it holds, in what it sees, in what it recorded?

Three facts that are told apart:

- What all ranks hold alike (a whole parameter under DDP, the copies of a part) must be alike to the
  bit. A rank with other numbers trains another model.
- What passes through a rank depends on its data. One rank that is always at the edge of the others
  sees other data, or computes otherwise.
- What a rank has recorded: none of its steps, or not those of the others.
"""

from __future__ import annotations

from deephochuli.analysis._finding import Finding
from deephochuli.analysis.ranks._copies import Difference as Difference
from deephochuli.analysis.ranks._copies import differences as differences
from deephochuli.analysis.ranks._copies import find_copies
from deephochuli.analysis.ranks._outliers import Outlier as Outlier
from deephochuli.analysis.ranks._outliers import find_outliers
from deephochuli.analysis.ranks._outliers import outliers as outliers
from deephochuli.analysis.ranks._presence import find_presence
from deephochuli.store import RunReader

__all__ = ["Difference", "Outlier", "differences", "find", "outliers"]


def find(run: RunReader) -> list[Finding]:
    """Ask the ranks of a run; a run of one process has none."""
    if len(run.ranks) == 0:
        return []
    return [*find_presence(run), *find_copies(run), *find_outliers(run)]
