"""Results of the study, read back: large counts merged, models as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deephochuli.analysis.barrier import (
    Interval,
    Judgement,
    Law,
    Tally,
    judge,
    law_of,
    merge_tallies,
)
from deephochuli.formats import get_format
from deephochuli.studies._study import Result
from deephochuli.studies.barrier._plan import CONV1, LAYER, MODEL, NORMAL

_Z95 = 1.959963984540054
_ENOUGH = 100
REACH = 64
"""A lattice is out of reach of groups smaller by this factor than where it is seen."""
NAMES = {CONV1: "conv1", "2": "conv2"}


@dataclass(frozen=True, slots=True)
class Counted:
    """One layer in one way, all its points together.

    Attributes:
        layer: "conv1" or "conv2".
        way: "fp32" or "fp64".
        bias: Whether it has one.
        tally: What was counted.
        judgement: What follows.
        law: How the smallest magnitude fell with the number of values.
        free: The same, from groups that are too small for a lattice to show: one in 64 of them or
            fewer holds an exact zero.
    """

    layer: str
    way: str
    bias: bool
    tally: Tally
    judgement: Judgement
    law: Law
    free: Law

    @property
    def name(self) -> str:
        """For tables and legends."""
        return f"{self.layer}, {self.way}" + ("" if self.bias else ", no bias")


def counted(results: Sequence[Result]) -> list[Counted]:
    """The large counts, in the order of the plan."""
    groups: dict[tuple[str, str, bool], list[Result]] = {}
    for result in results:
        it = result.params
        if it["what"] == LAYER:
            groups.setdefault((it["layer"], it["way"], it["bias"]), []).append(result)
    return [_counted(key, group) for key, group in groups.items()]


def _counted(key: tuple[str, str, bool], group: list[Result]) -> Counted:
    layer, way, has_bias = key
    tally = merge_tallies(Tally.from_json(result.values["tally"]) for result in group)
    bias = np.array(group[0].values["bias"], np.float64) if has_bias else None
    judgement = judge(tally, get_format(way), bias=bias)
    law = law_of(tally.blocks)
    free = law_of(tally.blocks, largest=judgement.visible_from / REACH)
    assert law is not None  # every point has more than 8 blocks
    assert free is not None
    return Counted(NAMES[layer], way, has_bias, tally, judgement, law, free)


def normal(results: Sequence[Result]) -> tuple[dict[str, Any], Law | None]:
    """The judgement of normal numbers, and their law."""
    (values,) = (result.values for result in results if result.params["what"] == NORMAL)
    return values["judgement"], law_of(Tally.from_json(values["tally"]).blocks)


def rows(results: Sequence[Result]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Parameters and rows of all layers of all models."""
    for result in results:
        if result.params["what"] == MODEL:
            for row in result.values["rows"]:
                yield result.params, row


def slope(tally: Tally, above: float) -> Interval:
    """Exponent of the counts per binade against magnitude, between `above` and near zero.

    Numerics:
        Weighted least squares of the logarithms of counts of at least 100; the variance of the
        logarithm of a Poisson count n is 1/n. Slope 1 is a density that is flat at zero.
    """
    counts = tally.binades.sum(0).astype(np.float64)
    x = np.log(tally.near_below) - math.log(2) * np.arange(1, len(counts) + 1)
    chosen = (counts >= _ENOUGH) & (np.exp(x) >= above)
    x, n = x[chosen], counts[chosen]
    centred = x - float((n * x).sum() / n.sum())
    spread = float((n * centred**2).sum())
    value = float((n * centred * np.log(n)).sum()) / spread
    half = _Z95 / math.sqrt(spread)
    return Interval(value, value - half, value + half)
