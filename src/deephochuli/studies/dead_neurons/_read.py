"""Results put together: counts of the deep net by arithmetic, units of the trained nets by arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deephochuli.analysis.death import Cluster, Paired, by_cluster, paired
from deephochuli.studies._study import Result
from deephochuli.studies.dead_neurons._plan import DEEP, LAW, TRAINED
from deephochuli.studies.dead_neurons._revive import FIRST

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Group:
    """Near-dead units after some steps in one format at one learning rate, over seeds.

    Attributes:
        arithmetic: The low format.
        rate: Learning rate.
        step: Steps that were made.
        seeds: By seed and arm: which units live, bool [units]; the first layer is not among them.
    """

    arithmetic: str
    rate: float
    step: int
    seeds: dict[int, dict[str, Bools]]

    def arms(self) -> list[str]:
        """Arms that any seed has, in order of appearance."""
        return list(dict.fromkeys(arm for each in self.seeds.values() for arm in each))

    def with_both(self, *arms: str) -> list[dict[str, Bools]]:
        """The seeds that have all of some arms."""
        return [each for each in self.seeds.values() if set(arms) <= set(each)]

    def count(self, arm: str, *others: str) -> tuple[int, int]:
        """Units alive in an arm and units altogether, in seeds that have the other arms too."""
        seeds = self.with_both(arm, *others)
        return sum(int(each[arm].sum()) for each in seeds), sum(each[arm].size for each in seeds)

    def pair(self, first: str, second: str) -> Paired:
        """Two arms unit by unit, all seeds together."""
        seeds = self.with_both(first, second)
        return paired(
            np.concatenate([each[first] for each in seeds]),
            np.concatenate([each[second] for each in seeds]),
        )

    def per_seed(self, first: str, second: str) -> Cluster:
        """Units alive in the second arm minus those in the first, a seed."""
        seeds = self.with_both(first, second)
        return by_cluster([int(each[second].sum()) - int(each[first].sum()) for each in seeds])


Groups = dict[tuple[str, float, int], Group]
"""By format, learning rate and step."""


def groups_of(results: Sequence[Result]) -> Groups:
    """Near-dead units by format, learning rate and steps."""
    found: Groups = {}
    for result in results:
        if result.params["what"] != TRAINED:
            continue
        for asked, got in zip(result.params["settings"], result.values["settings"], strict=True):
            rest = np.array([layer != FIRST for layer in got["layers"]])
            for place, step in enumerate(got["steps"]):
                key = (asked["arithmetic"], asked["rate"], step)
                group = found.setdefault(key, Group(*key, seeds={}))
                arms = group.seeds.setdefault(result.params["seed"], {})
                for arm, alive in got["alive"].items():
                    arms[arm] = np.array(alive[place], np.bool_)[rest]
    return found


def first_layer(results: Sequence[Result]) -> tuple[int, int]:
    """Near-dead units of the first layer that lived in any arm, and cases looked at."""
    n_alive = n_cases = 0
    for result in results:
        if result.params["what"] == TRAINED:
            for got in result.values["settings"]:
                first = np.array([layer == FIRST for layer in got["layers"]])
                flags = [np.array(alive)[:, first] for alive in got["alive"].values()]
                n_alive += sum(int(each.sum()) for each in flags)
                n_cases += sum(each.size for each in flags)
    return n_alive, n_cases


def laws_of(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """What was counted of the laws, by dtype."""
    return {r.params["dtype"]: dict(r.values) for r in results if r.params["what"] == LAW}


def deep_counts(
    results: Sequence[Result],
    arithmetic: str,
    *fates: str,
    bias: bool = False,
    scaled: bool = False,
) -> list[int]:
    """Units of the deep net that met any of some fates, one number a seed."""
    return [
        sum(int(result.values[fate]) for fate in fates)
        for result in results
        if result.params["what"] == DEEP
        and result.params["arithmetic"] == arithmetic
        and result.params["bias"] == bias
        and (result.params["loss_scale"] != 1.0) == scaled
    ]


def control_counts(results: Sequence[Result], arithmetic: str, *fates: str) -> list[int]:
    """The same for the trained net as it is."""
    return [
        sum(int(result.values["controls"][arithmetic][fate]) for fate in fates)
        for result in results
        if result.params["what"] == TRAINED and arithmetic in result.values["controls"]
    ]
