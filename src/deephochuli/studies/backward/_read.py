"""What the points of the study say together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._evidence import mean_of
from deephochuli.studies._study import Result

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One network in one arithmetic.

    Attributes:
        what: Kind of network.
        trained: Whether it is.
        seed: Of its weights.
        arithmetic: Name.
        rows: Gradients from the input on.
        rescued: The same with the advised loss scale; empty where it was not tried.
        scale: Loss scales that the exact gradients need and allow, as exponents of two.
    """

    what: str
    trained: bool
    seed: int
    arithmetic: str
    rows: Sequence[Row]
    rescued: Sequence[Row]
    scale: Mapping[str, Any]

    @property
    def state(self) -> str:
        """Network and state as people read them."""
        return f"{self.what}, {'trained' if self.trained else 'at the start'}"

    @property
    def parameters(self) -> list[Row]:
        """Gradients of the parameters."""
        return [row for row in self.rows if row["tensor"] != "input"]

    @property
    def chain(self) -> list[Row]:
        """Gradients that layers hand down."""
        return [row for row in self.rows if row["tensor"] == "input"]


def looks(results: Sequence[Result]) -> list[Look]:
    """All networks in all arithmetics."""
    return [
        Look(
            what=result.params["what"],
            trained=result.params["epochs"] > 0,
            seed=result.params["seed"],
            arithmetic=name,
            rows=found["rows"],
            rescued=found.get("rescued", ()),
            scale=found["scale"],
        )
        for result in results
        for name, found in result.values.items()
    ]


def pick(found: Sequence[Look], arithmetic: str, *, trained: bool | None = None) -> list[Look]:
    """The looks in one arithmetic, in one state or in both."""
    return [
        each for each in found if each.arithmetic == arithmetic and trained in (None, each.trained)
    ]


def states(found: Sequence[Look]) -> list[str]:
    """Networks and states in their order."""
    return list(dict.fromkeys(each.state for each in found))


def vanished(row: Row) -> int:
    """Elements that the backward lost."""
    return int(row["lost"]) - int(row["decided"])


def vanished_share(rows: Sequence[Row]) -> float:
    """Share of the elements that are not zero in exact arithmetic and vanish backward."""
    return sum(map(vanished, rows)) / max(1, sum(int(row["live"]) for row in rows))


def total(rows: Sequence[Row], name: str) -> int:
    """Sum of a count over gradients."""
    return sum(int(row[name] or 0) for row in rows)


def whole(rows: Sequence[Row]) -> tuple[float, float]:
    """Cosine and norm ratio of the gradients of all parameters as one vector."""
    exact = judged = product = 0.0
    for row in rows:
        cosine, scale = row["cosine"][0], row["scale"][0]
        square = row["rms"] ** 2 * row["n"]
        if scale is None:
            continue
        exact += square
        judged += scale**2 * square
        product += 0.0 if cosine is None else cosine * scale * square
    if not exact or not judged:
        return math.nan, math.nan
    return product / math.sqrt(exact * judged), math.sqrt(judged / exact)


@dataclass(frozen=True, slots=True)
class Summary:
    """One kind of network in one state and arithmetic, over the seeds.

    Attributes:
        state: Network and state.
        arithmetic: Name.
        n: Networks.
        parameters: Share of the elements of parameters' gradients that vanish.
        chain: Of the gradients that layers hand down.
        decided: Share of the elements of parameters' gradients that the forward decided.
        effective: Of the vanished elements of parameters, the share that would have moved a weight.
        cosine: Of the whole gradient with the exact one.
        scale: Its norm over the exact one.
        rescued: Share that vanishes with the advised loss scale; nan where it was not tried.
    """

    state: str
    arithmetic: str
    n: int
    parameters: Estimate
    chain: Estimate
    decided: Estimate
    effective: Estimate
    cosine: Estimate
    scale: Estimate
    rescued: Estimate


def summaries(found: Sequence[Look]) -> Iterator[Summary]:
    """All states in all arithmetics."""
    for arithmetic in dict.fromkeys(each.arithmetic for each in found):
        for state in states(found):
            group = [each for each in pick(found, arithmetic) if each.state == state]
            wholes = [whole(each.parameters) for each in group]
            yield Summary(
                state=state,
                arithmetic=arithmetic,
                n=len(group),
                parameters=mean_of([vanished_share(each.parameters) for each in group]),
                chain=mean_of([vanished_share(each.chain) for each in group]),
                decided=mean_of([_share(each.parameters, "decided") for each in group]),
                effective=mean_of([_effective(each.parameters) for each in group]),
                cosine=mean_of([cosine for cosine, _ in wholes]),
                scale=mean_of([scale for _, scale in wholes]),
                rescued=mean_of([vanished_share(each.rescued) for each in group if each.rescued]),
            )


def _share(rows: Sequence[Row], name: str) -> float:
    return total(rows, name) / max(1, total(rows, "live"))


def _effective(rows: Sequence[Row]) -> float:
    return total(rows, "effective") / max(1, sum(map(vanished, rows)))
