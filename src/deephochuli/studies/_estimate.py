"""What a plan will cost, before it starts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deephochuli.studies._cache import PointCache
from deephochuli.studies._ledger import Ledger
from deephochuli.studies._study import Study


@dataclass(frozen=True, slots=True)
class StudyCost:
    """What is left to measure of one study.

    Attributes:
        study: Its name.
        n_points: Points of the plan.
        n_known: Of these, measured before.
        n_timed: Points from whose known cost the estimate comes; 0: it is the study's own guess.
        points: Expected cost of each point that is left, in CPU-seconds.
    """

    study: str
    n_points: int
    n_known: int
    n_timed: int
    points: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """CPU-seconds of all points that are left."""
        return sum(self.points)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to measure of several studies.

    Attributes:
        studies: Each study.
    """

    studies: tuple[StudyCost, ...]

    @property
    def seconds(self) -> float:
        """CPU-seconds of all points that are left."""
        return sum(each.seconds for each in self.studies)

    @property
    def n_left(self) -> int:
        """Points that are left."""
        return sum(len(each.points) for each in self.studies)

    def elapsed(self, n_workers: int) -> float:
        """Seconds that pass on so many workers, which have nothing else to do."""
        return makespan((s for each in self.studies for s in each.points), n_workers)


def estimate(
    studies: Sequence[Study], cache: PointCache, ledger: Ledger, *, quick: bool = False
) -> Estimate:
    """Price what `run_studies` would measure; measures nothing, and reads no result.

    Args:
        studies: What would be run.
        cache: Where results are; a point with a file there costs nothing.
        ledger: What points have cost.
        quick: Price the short plans.
    """
    return Estimate(tuple(_cost(study, cache, ledger, quick=quick) for study in studies))


def _cost(study: Study, cache: PointCache, ledger: Ledger, *, quick: bool) -> StudyCost:
    points = {point.id: point for point in study.points(quick)}
    left = [point for point in points.values() if not cache.path(point).exists()]
    seconds = tuple(ledger.expected(study, point.params) for point in left)
    n_known = len(points) - len(left)
    return StudyCost(study.name, len(points), n_known, ledger.n_timed(study), seconds)


def makespan(seconds: Iterable[float], n_workers: int) -> float:
    """Time until the last worker is done, where the longest point that is left begins next.

    Numerics:
        List scheduling in order of falling cost (Graham 1969): at most 4/3 - 1/(3 n) times the
        best possible.

    >>> makespan([3.0, 3.0, 2.0, 2.0, 2.0], 2)
    7.0
    """
    ends = [0.0] * n_workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)
