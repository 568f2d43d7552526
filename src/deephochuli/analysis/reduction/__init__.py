"""What is lost when gradients are averaged over ranks: what the sum itself swamps.

Of every gradient that was looked at (`deephochuli.watch_reduction`) there is what each rank
contributed and what came back. The exact mean of the contributions is a rational number; beside it
stand two questions:

- Does every contribution leave a trace? It does not if the exact mean without it rounds to the same
  number of the format. That is a property of the numbers and the format: no order of the sum, and
  no better algorithm, would have kept it.
- Is the result the exact mean, rounded? What differs is the doing of the reduction: partial sums
  that are rounded, in whatever order.
"""

from __future__ import annotations

from deephochuli.analysis.reduction._judge import Judged as Judged
from deephochuli.analysis.reduction._judge import judge as judge
from deephochuli.analysis.reduction._read import Reduced as Reduced
from deephochuli.analysis.reduction._read import read_reductions as read_reductions
from deephochuli.analysis.reduction._result import ParameterReduction as ParameterReduction
from deephochuli.analysis.reduction._result import Reduction as Reduction
from deephochuli.analysis.reduction._result import reduction as reduction

__all__ = [
    "Judged",
    "ParameterReduction",
    "Reduced",
    "Reduction",
    "judge",
    "read_reductions",
    "reduction",
]
