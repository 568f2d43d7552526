"""What the points of the study say together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deephochuli.studies._study import Result

Key = tuple[str, str, str, str]
"""Layer, sum, format or tensor core, order."""


def of_kind(results: Sequence[Result], what: str) -> list[Result]:
    """The results of one kind of points."""
    return [result for result in results if result.params["what"] == what]


@dataclass(frozen=True, slots=True)
class Spread:
    """One number over several trained networks.

    Attributes:
        mean: Over the seeds.
        low: Smallest of the seeds.
        high: Largest.
        n: Seeds.
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Mean and range."""
        if self.n == 1 or self.low == self.high:
            return f"{self.mean:.2g}"
        return f"{self.mean:.2g} ({self.low:.2g} to {self.high:.2g})"


def spread(values: Sequence[float]) -> Spread:
    """Mean and range of numbers."""
    return Spread(float(np.mean(values)), min(values), max(values), len(values))


def sums(results: Sequence[Result], *, trained: bool, value: str = "absorbed") -> dict[Key, Spread]:
    """A number of every sum of the digits network, over the seeds."""
    found: dict[Key, list[float]] = {}
    for result in of_kind(results, "sums"):
        if (result.params["epochs"] > 0) is not trained:
            continue
        way = result.params.get("format") or result.params["arithmetic"]
        for row in result.values["rows"]:
            if row[value] is not None:
                key = (row["layer"], row["sum"], way, row["order"])
                found.setdefault(key, []).append(_number(row[value]))
    return {key: spread(values) for key, values in found.items()}


def _number(value: Any) -> float:
    """A count, or the middle of an interval."""
    return float(value) if isinstance(value, int | float) else float(value[0])


def updates(results: Sequence[Result]) -> dict[tuple[str, str, int], Spread]:
    """Share of unmoved weights by optimizer, format and step, over the seeds.

    Without a finite gradient that is not zero there is no share: see `broken`.
    """
    found: dict[tuple[str, str, int], list[float]] = {}
    for result in of_kind(results, "updates"):
        for row in result.values["rows"]:
            if row["live"]:
                key = (result.params["optimizer"], result.params["format"], row["step"])
                found.setdefault(key, []).append(row["unmoved"] / row["live"])
    return {key: spread(values) for key, values in found.items()}


def broken(results: Sequence[Result]) -> tuple[str, ...]:
    """Trainings that have no finite gradient left which is not zero."""
    return tuple(
        sorted(
            {
                f"{result.params['optimizer']} in {result.params['format']}"
                for result in of_kind(results, "updates")
                if any(not row["live"] for row in result.values["rows"])
            }
        )
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """Absorbed shares by K of one kind of addends in one format.

    Attributes:
        format: Of the partial sums.
        addends: "normal" or "positive".
        ks: Numbers of addends.
        shares: By order, a spread over the seeds for each K.
        predicted: By the random walk, likewise.
    """

    format: str
    addends: str
    ks: tuple[int, ...]
    shares: Mapping[str, tuple[Spread, ...]]
    predicted: tuple[Spread, ...]


def growths(results: Sequence[Result]) -> Iterator[Growth]:
    """All scans over K."""
    points = of_kind(results, "growth")
    for key in dict.fromkeys((r.params["format"], r.params["addends"]) for r in points):
        tables: list[list[dict[str, Any]]] = [
            r.values["rows"] for r in points if (r.params["format"], r.params["addends"]) == key
        ]

        def column(name: str, tables: list[list[dict[str, Any]]] = tables) -> tuple[Spread, ...]:
            return tuple(spread([row[name] for row in rows]) for rows in zip(*tables, strict=True))

        orders = ("sequential", "blocked", "pairwise")
        ks = tuple(int(row["k"]) for row in tables[0])
        yield Growth(*key, ks, {name: column(name) for name in orders}, column("predicted"))


def by_depth(results: Sequence[Result], kind: str) -> list[list[dict[str, Any]]]:
    """Rows of one kind of sum, layer by layer from the input on, for each deep network."""
    found: list[list[dict[str, Any]]] = []
    for result in of_kind(results, "depth"):
        rows = [row for row in result.values["rows"] if row["sum"] == kind]
        found.append(sorted(rows, key=lambda row: int(row["layer"])))
    return found


def off_by(a: float, b: float) -> float:
    """By which factor two numbers differ, from 1 on."""
    if a == b:
        return 1.0
    return math.inf if min(a, b) <= 0 else max(a / b, b / a)


def is_near(ours: Spread, theirs: float, factor: float) -> bool:
    """Whether a number lies in our range, or within a factor of our mean."""
    return ours.low <= theirs <= ours.high or off_by(ours.mean, theirs) <= factor
