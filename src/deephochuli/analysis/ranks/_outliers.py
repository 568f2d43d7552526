"""Ranks through which other numbers pass than through the rest.

Definitions. Of each activation, or gradient of one, a rank has a root mean square in each recorded
step. Its *deviation* is the distance, in binades, to the median of the other ranks. If the data of
all ranks are alike, each of n ranks is as likely as any other to have the largest deviation of a
step. A rank is an outlier if it has it in more steps than chance allows: the probability of so many
(binomial, with 1/n), times the number of questions asked, is below 0.001; and if its median
deviation is at least half a binade. Two ranks deviate alike, so that both are named: there the sign
of their distance is counted, with 1/2.

Ranks that compute on the same data (tensor parallel) are one here, that with the lowest number.
What this cannot see: why. Data that are ordered or filtered by rank are no fault of arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence
from deephochuli.analysis.ranks._words import named, rank_of
from deephochuli.store import RunReader

SMALLEST_DEVIATION: Final = 0.5
"""In binades: a factor of 1.41."""
CHANCE: Final = 0.001
_FORWARD: Final = ("z", "a")
_FLOWING: Final = (*_FORWARD, "dz", "da")
_COLUMNS: Final = ("n", "n_inf", "n_nan", "sum_sq")


@dataclass(frozen=True, slots=True)
class Outlier:
    """A rank that stands apart at one tap.

    Attributes:
        ranks: The rank, or both of two.
        layer: Place in the model.
        quantity: z, a, dz or da.
        deviation: Median distance to the others, in binades, over the steps.
        n_hits: Steps in which it was farthest.
        n_steps: Steps that were compared.
        chance: Probability of so many by chance, times the number of questions asked.
        step_first: First step that was compared.
        step_last: Last one.
    """

    ranks: tuple[int, ...]
    layer: str
    quantity: str
    deviation: float
    n_hits: int
    n_steps: int
    chance: float
    step_first: int
    step_last: int


@dataclass(frozen=True, slots=True)
class _Table:
    """One tap: log2 of the root mean square, and numbers that are none, [ranks, steps]."""

    layer: str
    quantity: str
    steps: NDArray[np.int64]
    log_rms: NDArray[np.float64]
    nonfinite: NDArray[np.int64]


def outliers(run: RunReader) -> list[Outlier]:
    """Find the ranks that stand apart, the farthest first.

    Args:
        run: The merged run of several ranks.

    Numerics:
        The root mean square is that of the finite elements, from sums in binary64. Tail
        probabilities are sums of exact binomial terms (``math.comb``).
    """
    readers = _of_different_data(run)
    if len(readers) < 2:
        return []
    numbers = [rank_of(each).rank for each in readers]
    tables = list(_tables(readers))
    n_questions = max(1, len(tables) * len(numbers))
    found = [each for table in tables for each in _apart(table, numbers, n_questions)]
    return sorted(found, key=lambda each: (-each.deviation, each.layer, each.quantity))


def _of_different_data(run: RunReader) -> list[RunReader]:
    """The ranks with steps, one for each group that computes on the same data."""
    present = [each for each in run.ranks if len(each.steps["step"])]
    numbers = {rank_of(each).rank for each in present}
    return [
        each
        for each in present
        if (rank := rank_of(each)).rank == min({rank.rank, *rank.same_data} & numbers)
    ]


def _tables(readers: Sequence[RunReader]) -> Iterator[_Table]:
    """What all ranks have recorded of each tap, the forward first, in the steps that all have."""
    scalars = [each.all_scalars(_COLUMNS) for each in readers]
    indices = [
        {(tap.layer, tap.quantity): i for i, tap in enumerate(each.taps())} for each in readers
    ]
    flowing = [place for place in indices[0] if place[1] in _FLOWING]
    for place in sorted(flowing, key=lambda place: place[1] not in _FORWARD):
        if not all(place in index for index in indices):
            continue
        rows = [
            {name: column[_rows(table, index[place])] for name, column in table.items()}
            for table, index in zip(scalars, indices, strict=True)
        ]
        steps = reduce(np.intersect1d, [each["step"] for each in rows])
        if len(steps):
            common = [np.isin(each["step"], steps) for each in rows]
            parts = [
                {name: column[chosen] for name, column in each.items()}
                for each, chosen in zip(rows, common, strict=True)
            ]
            nonfinite = np.stack([each["n_inf"] + each["n_nan"] for each in parts])
            yield _Table(*place, steps, np.stack(list(map(_log_rms, parts))), nonfinite)


def _rows(table: dict[str, NDArray[Any]], tap: int) -> slice:
    first, last = np.searchsorted(table["tap"], [tap, tap + 1])
    return slice(int(first), int(last))


def _log_rms(columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    finite = (columns["n"] - columns["n_inf"] - columns["n_nan"]).astype(np.float64)
    sum_sq = columns["sum_sq"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return 0.5 * np.log2(sum_sq / finite)


def _apart(table: _Table, ranks: Sequence[int], n_questions: int) -> Iterator[Outlier]:
    usable = np.isfinite(table.log_rms).all(axis=0)
    values, steps = table.log_rms[:, usable], table.steps[usable]
    if len(steps) == 0:
        return
    for who, deviations, n_hits, chance in _judged(values, ranks):
        deviation = float(np.median(deviations))
        if deviation >= SMALLEST_DEVIATION and chance * n_questions < CHANCE:
            yield Outlier(
                ranks=who,
                layer=table.layer,
                quantity=table.quantity,
                deviation=deviation,
                n_hits=n_hits,
                n_steps=len(steps),
                chance=chance * n_questions,
                step_first=int(steps[0]),
                step_last=int(steps[-1]),
            )


_Judged = tuple[tuple[int, ...], NDArray[np.float64], int, float]


def _judged(values: NDArray[np.float64], ranks: Sequence[int]) -> Iterator[_Judged]:
    """Ranks with their deviations, in how many steps they are farthest, and how likely that is."""
    n_ranks, n_steps = values.shape
    if n_ranks == 2:
        distance = values[1] - values[0]
        n_hits = int(max((distance > 0).sum(), (distance < 0).sum()))
        chance = min(1.0, 2 * at_least(n_hits, n_steps, 1, 2))
        yield (ranks[0], ranks[1]), np.abs(distance), n_hits, chance
        return
    others = [np.median(np.delete(values, place, axis=0), axis=0) for place in range(n_ranks)]
    deviations = np.abs(values - np.stack(others))
    farthest = deviations.argmax(axis=0)
    for place, rank in enumerate(ranks):
        n_hits = int((farthest == place).sum())
        yield (rank,), deviations[place], n_hits, at_least(n_hits, n_steps, 1, n_ranks)


def at_least(n_hits: int, n: int, numerator: int, denominator: int) -> float:
    """Probability of at least so many hits of n, each with probability numerator / denominator.

    Numerics:
        The binomial tail as one quotient of integers, rounded once.

    Example:
        >>> at_least(10, 10, 1, 2) == 2**-10, at_least(0, 7, 1, 3)
        (True, 1.0)
    """
    other = denominator - numerator
    total = sum(math.comb(n, k) * numerator**k * other ** (n - k) for k in range(n_hits, n + 1))
    return total / denominator**n


def find_outliers(run: RunReader) -> list[Finding]:
    """Name ranks through which other numbers pass, and the one on which the first NaN arose."""
    found = outliers(run)
    groups: dict[tuple[int, ...], list[Outlier]] = {}
    for each in found:
        groups.setdefault(each.ranks, []).append(each)
    return [*_first_nonfinite(run), *(_finding(group) for group in groups.values())]


def _finding(group: Sequence[Outlier]) -> Finding:
    worst = group[0]
    who = named(worst.ranks)
    is_pair = len(worst.ranks) > 1
    tensor = f"{worst.layer} ({worst.quantity})"
    title = (
        f"Other numbers pass through rank {worst.ranks[0]} than through rank {worst.ranks[1]}"
        if is_pair
        else f"Other numbers pass through {who} than through the rest"
    )
    return Finding(
        kind="rank-apart",
        level="warning",
        score=min(1.0, worst.deviation / 8),
        title=f"{title}: {worst.deviation:.2g} binades in {tensor}",
        layer=worst.layer,
        quantity=worst.quantity,
        summary=(
            f"{len(group)} tensors stand apart. {tensor} is the farthest in {worst.n_hits} of "
            f"{worst.n_steps} recorded steps, by {worst.deviation:.2g} binades in the median; by "
            f"chance that many come with probability {worst.chance:.1g}, all questions counted."
        ),
        why="Ranks with like data see like magnitudes. One that does not has other data, other "
        "preprocessing or another arithmetic, and pulls the common gradient.",
        advice="Compare the data of this rank with those of another one: order, filter, scale, "
        "seed. If they are alike, run the same batch on both and compare.",
        code=f"dh.open_run(RUN).ranks[{worst.ranks[0]}]",
        numbers=(
            Number("deviation", worst.deviation, "binades"),
            Number("steps farthest", worst.n_hits, "steps"),
            Number("steps compared", worst.n_steps, "steps"),
        ),
        places=tuple(PlaceEvidence(o.layer, o.quantity, o.deviation) for o in group),
        step_first=min(each.step_first for each in group),
        step_last=max(each.step_last for each in group),
        evidence="headroom",
    )


def _first_nonfinite(run: RunReader) -> list[Finding]:
    """The first infinity or NaN in what flows, if some ranks have it and others do not."""
    readers = _of_different_data(run)
    if len(readers) < 2:
        return []
    numbers = [rank_of(each).rank for each in readers]
    hits = [
        (int(table.steps[at]), place, table, at)
        for place, table in enumerate(_tables(readers))
        if len(where := np.flatnonzero(table.nonfinite.any(axis=0)))
        for at in where[:1]
    ]
    if not hits:
        return []
    step, _, table, at = min(hits, key=lambda hit: hit[:2])
    hit = table.nonfinite[:, at] > 0
    if hit.all():
        return []
    ranks = [rank for rank, is_hit in zip(numbers, hit, strict=True) if is_hit]
    n = int(table.nonfinite[:, at].sum())
    tensor = f"{table.layer} ({table.quantity})"
    return [
        Finding(
            kind="rank-nonfinite",
            level="critical",
            score=1.0,
            title=f"Infinities or NaNs begin on {named(ranks)} alone: {tensor} at step {step}",
            layer=table.layer,
            quantity=table.quantity,
            summary=(
                f"{n} numbers of {tensor} are not finite on {named(ranks)} at step {step}, and "
                f"none on the other {len(numbers) - len(ranks)} ranks that recorded the step."
            ),
            why="The sum of the gradients over ranks carries one rank's NaN to all.",
            advice="Look at the data and the device of this rank at this step.",
            code=f"dh.open_run(RUN).ranks[{ranks[0]}]",
            numbers=(Number("not finite", n), Number("ranks hit", len(ranks))),
            places=(PlaceEvidence(table.layer, table.quantity, float(n)),),
            step_first=step,
            step_last=step,
            evidence="nonfinite",
        )
    ]
