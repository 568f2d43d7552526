"""What points have cost on this machine, so that the next plan can be priced before it starts."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Final, cast

from deephochuli.studies._study import Params, Study

_MOST_BYTES: Final = 16 << 20


class Ledger:
    """Costs of measured points: a line of JSON each, beside the results and not among them.

    Results are the same to the byte wherever they are measured; costs are not. A line that cannot
    be read, such as the last one of a run that was killed, is passed over: it is an estimate that
    gets worse, and no result.

    Args:
        path: The file; None: nothing is known, and nothing is kept.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._sums: dict[str, tuple[int, float, float]] = {}
        for line in self._lines():
            _add(self._sums, line)

    def n_timed(self, study: Study) -> int:
        """How many points of a study have a known cost."""
        return self._sums.get(_key(study), (0, 0.0, 0.0))[0]

    def expected(self, study: Study, params: Params) -> float:
        """Expected cost of a point in CPU-seconds.

        Numerics:
            The study's own weight w, times sum(seconds) / sum(w) over the study's points with a
            known cost; w itself, which is in seconds of some machine, where there are none.
        """
        _, weights, seconds = self._sums.get(_key(study), (0, 0.0, 0.0))
        weight = study.weight(params)
        return weight * seconds / weights if weights > 0 else weight

    def add(self, study: Study, params: Params, seconds: float) -> None:
        """Keep what a point has cost, for later runs; this one's estimates do not change."""
        if self._path is None:
            return
        record = {"study": _key(study), "weight": study.weight(params), "seconds": seconds}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(record) + "\n")

    def _lines(self) -> list[str]:
        if self._path is None or not self._path.exists():
            return []
        with self._path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", errors="replace").splitlines()


def _key(study: Study) -> str:
    return f"{study.name}@{study.version}"


def _add(sums: dict[str, tuple[int, float, float]], line: str) -> None:
    try:
        loaded: Any = json.loads(line)
        record = cast("dict[str, Any]", loaded)
        key, weight, seconds = record["study"], float(record["weight"]), float(record["seconds"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return
    if isinstance(key, str) and 0 < weight < math.inf and 0 <= seconds < math.inf:
        n, weights, total = sums.get(key, (0, 0.0, 0.0))
        sums[key] = n + 1, weights + weight, total + seconds
