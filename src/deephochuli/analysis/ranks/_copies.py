"""Numbers that several ranks hold alike, and the rank whose numbers are others.

Definitions. Two ranks hold *copies* of a parameter if both hold it whole, or the same part of it.
Copies are alike if the sums, the extremes and the counts that the ranks recorded of them are the
same to the bit: alike numbers give alike sums, for the order of the sum is fixed. A difference of
ranks of unlike machines is judged by counts and extremes alone. The *odd* ranks are those that
differ from most; among two ranks, or as many against as many, both are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence
from deephochuli.analysis.ranks._words import named, rank_of
from deephochuli.store import RunReader

_EXACT: Final = ("n", "n_zero", "n_inf", "n_nan", "n_unmoved", "min_abs", "max_abs")
_SUMMED: Final = ("sum", "sum_sq")
_COPIED: Final = ("w", "g", "dw")


@dataclass(frozen=True, slots=True)
class Difference:
    """Copies of one tensor that are not alike.

    Attributes:
        layer: Name of the parameter.
        quantity: w, g, dw or state:NAME.
        step: First recorded step in which they differ.
        n_steps: In how many recorded steps they do.
        n_compared: In how many they were compared.
        odd: Ranks that differ from most; all of them where there is no majority.
        copies: Ranks that hold the tensor alike.
        order: Place in the order of execution.
    """

    layer: str
    quantity: str
    step: int
    n_steps: int
    n_compared: int
    odd: tuple[int, ...]
    copies: tuple[int, ...]
    order: int


def differences(run: RunReader) -> list[Difference]:
    """Compare what ranks hold alike, step by step.

    Args:
        run: The merged run of several ranks.

    Returns:
        Tensors of which some ranks hold other numbers than the rest, earliest first.
    """
    alike = {(each.manifest.platform, each.manifest.device.split(":")[0]) for each in run.ranks}
    columns = (*_EXACT, *_SUMMED) if len(alike) == 1 else _EXACT
    tables = {rank_of(each).rank: _Looks(each, columns) for each in run.ranks}
    found = [
        difference
        for (layer, quantity), copies in _copies(run)
        if (difference := _compare(layer, quantity, copies, tables)) is not None
    ]
    return sorted(found, key=lambda d: (d.step, _stage(d.quantity), d.order, d.layer))


def _stage(quantity: str) -> int:
    """The order in which a step of training makes numbers; states come last."""
    return ("g", "dw", "w").index(quantity) if quantity in _COPIED else len(_COPIED)


class _Looks:
    """What one rank recorded of its parameters, step by step, as bytes."""

    def __init__(self, run: RunReader, columns: Sequence[str]) -> None:
        table = run.all_scalars(columns)
        self.order = [tap.order for tap in run.taps()]
        self._index = {(tap.layer, tap.quantity): i for i, tap in enumerate(run.taps())}
        self._bounds = np.searchsorted(table["tap"], np.arange(len(run.taps()) + 1))
        self._steps = table["step"]
        self._looks = np.stack([table[name].astype(np.float64).view(np.int64) for name in columns])

    def of(self, place: tuple[str, str]) -> tuple[int, dict[int, bytes]]:
        """Order of a tensor, and its look in each step."""
        index = self._index.get(place)
        if index is None:
            return 0, {}
        rows = range(int(self._bounds[index]), int(self._bounds[index + 1]))
        looks = {int(self._steps[row]): self._looks[:, row].tobytes() for row in rows}
        return self.order[index], looks


def _copies(run: RunReader) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Tensors of which several ranks hold the same part, with those ranks."""
    for tap in run.taps():
        if tap.quantity not in _COPIED and not tap.quantity.startswith("state:"):
            continue
        parts: defaultdict[Any, list[int]] = defaultdict(list)
        for each in run.ranks:
            rank = rank_of(each)
            parts[tuple(rank.shards.get(tap.layer, ()))].append(rank.rank)
        for ranks in parts.values():
            if len(ranks) > 1:
                yield (tap.layer, tap.quantity), ranks


def _compare(
    layer: str, quantity: str, copies: Sequence[int], tables: dict[int, _Looks]
) -> Difference | None:
    looks = {rank: tables[rank].of((layer, quantity)) for rank in copies}
    holders = {rank: by_step for rank, (_, by_step) in looks.items() if by_step}
    every = [set(by_step) for by_step in holders.values()]
    steps = sorted(every[0].intersection(*every[1:])) if len(every) > 1 else []
    hit = [step for step in steps if len({by_step[step] for by_step in holders.values()}) > 1]
    if not hit:
        return None
    return Difference(
        layer=layer,
        quantity=quantity,
        step=hit[0],
        n_steps=len(hit),
        n_compared=len(steps),
        odd=_odd({rank: by_step[hit[0]] for rank, by_step in holders.items()}),
        copies=tuple(sorted(holders)),
        order=looks[next(iter(holders))][0],
    )


def _odd(looks: dict[int, bytes]) -> tuple[int, ...]:
    """Ranks whose look is not that of most."""
    (most, n), *rest = Counter(looks.values()).most_common()
    if rest and rest[0][1] == n:
        return tuple(sorted(looks))
    return tuple(sorted(rank for rank, look in looks.items() if look != most))


def find_copies(run: RunReader) -> list[Finding]:
    """Name the rank whose weights are not those of the others.

    Gradients alone prove nothing: some optimizers average them inside of their step.
    """
    found = differences(run)
    weights = [difference for difference in found if difference.quantity == "w"]
    return [_finding(weights, found)] if weights else []


def _finding(weights: Sequence[Difference], found: Sequence[Difference]) -> Finding:
    first = weights[0]
    is_split = len(first.odd) == len(first.copies)
    who = named(first.odd)
    verb = "differ" if len(first.odd) > 1 else "differs"
    whom = "" if is_split else f" from {named(sorted(set(first.copies) - set(first.odd)))}"
    where = f"{first.layer} at step {first.step}"
    gradients = [difference.step for difference in found if difference.quantity == "g"]
    return Finding(
        kind="odd-rank",
        level="critical",
        score=1.0,
        title=f"{who[0].upper()}{who[1:]} {verb}{whom}: first in {where}",
        layer=first.layer,
        quantity=first.quantity,
        summary=(
            f"{len(weights)} weights that these ranks should hold alike differ; {first.layer} does "
            f"in {first.n_steps} of {first.n_compared} recorded steps, from step {first.step} on."
            + (" Most ranks cannot be told from few, so all are named." if is_split else "")
            + (f" Their gradients differ from step {min(gradients)} on." if gradients else "")
        ),
        why="Ranks with different weights train different models, and averaging their gradients "
        "trains neither. A checkpoint holds what one of them has.",
        advice="Did a rank start from other weights, leave out a gradient, or skip a step alone? "
        "If nothing in the program explains it, test the memory and the device of that rank.",
        code="torch.distributed.broadcast(parameter.data, src=0)",
        numbers=(
            Number("weights that differ", len(weights)),
            Number("steps that differ", first.n_steps, "steps"),
        ),
        places=tuple(PlaceEvidence(d.layer, d.quantity, float(d.n_steps)) for d in weights),
        step_first=first.step,
        step_last=max(d.step for d in weights),
        evidence="headroom",
    )
