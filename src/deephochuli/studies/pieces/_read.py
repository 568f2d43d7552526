"""Results as rows that can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deephochuli.studies._study import Params, Result


@dataclass(frozen=True, slots=True)
class Row:
    """One group of networks after a step, or a training, in one way.

    Attributes:
        params: Parameters of the point.
        way: How it was computed.
        before: Regions of each network before.
        values: What was measured.
        point: All values of the point.
    """

    params: Params
    way: str
    before: Sequence[int]
    values: dict[str, Any]
    point: dict[str, Any]

    @property
    def regions(self) -> list[int]:
        """Activation regions of each network after."""
        return self.values["regions"]

    @property
    def pieces(self) -> list[int]:
        """Affine pieces of each network after."""
        return self.values["pieces"]

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(np.mean(self.regions))

    @property
    def mean_before(self) -> float:
        """Mean of the regions before."""
        return float(np.mean(self.before))

    @property
    def level(self) -> float:
        """Level of the noise."""
        return 2.0 ** int(self.way.split("^")[1])

    @property
    def bound(self) -> float | None:
        """The bound from the largest slope."""
        return self.values["bound"]

    @property
    def n_neurons(self) -> int:
        """Hidden units of a network."""
        width = self.params.get("width", 2 * self.params.get("n_chains", 1))
        return width * self.params["depth"]


def rows_of(results: Sequence[Result]) -> list[Row]:
    """All rows, in the order of the plan."""
    return [
        Row(result.params, row["way"], result.values["before"]["regions"], row, dict(result.values))
        for result in results
        if "rows" in result.values
        for row in result.values["rows"]
    ]


def chosen(rows: Sequence[Row], way: str | None = None, **wanted: Any) -> list[Row]:
    """Rows of a way, or of a kind of way such as "relative", whose parameters have these values."""
    return [
        row
        for row in rows
        if way in (None, row.way, row.way.split(" ")[0])
        and all(row.params.get(key, _DEFAULTS.get(key)) == value for key, value in wanted.items())
    ]


_DEFAULTS = {"n_chains": 1}
