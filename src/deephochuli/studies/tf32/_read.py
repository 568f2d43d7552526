"""What the points of the study say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._evidence import rms_ratio
from deephochuli.studies._study import Result
from deephochuli.studies.tf32._laws import ratio
from deephochuli.studies.tf32._plan import DEEP, PRODUCT, TRAINED
from deephochuli.studies.tf32._products import BLOCKS

NONZERO = {"normal": 1.0, "rectified": 0.5}
"""Share of the products that are not zero, by operands."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Products of one K, pooled over the seeds.

    Attributes:
        way: How they were summed.
        inputs: "normal" or "rectified".
        k: Products in one sum.
        seeds: How many products there are.
        rms: Ratio of the rms errors of rounded TF32 operands to those of FP32.
        cut: Ratio of the rms errors of cut to those of rounded operands.
        max: Mean over the seeds of the ratio of the largest errors.
        mean: Of the mean errors.
        fp32, tf32: Rms errors, in units of the rms of the exact results (which is 1, or 0.7).
    """

    way: str
    inputs: str
    k: int
    seeds: int
    rms: Estimate
    cut: Estimate
    max: float
    mean: float
    fp32: float
    tf32: float

    def predicted(self, block: int | None) -> float:
        """The ratio that theory gives for sums in blocks."""
        return ratio(self.k, block, NONZERO[self.inputs])


def of_kind(results: Sequence[Result], what: str) -> list[Result]:
    """The results of one kind of points."""
    return [result for result in results if result.params["what"] == what]


def cells(results: Sequence[Result]) -> list[Cell]:
    """All products, by way, operands and K."""

    def key(result: Result) -> tuple[str, int]:
        return result.params["inputs"], result.params["k"]

    found: list[Cell] = []
    for (inputs, k), group in groupby(sorted(of_kind(results, PRODUCT), key=key), key):
        values = [result.values for result in group]
        ways = [way for way in values[0] if way not in ("n", "equal_bits")]
        found += [_cell(way, inputs, k, [each[way] for each in values]) for way in ways]
    return found


def _cell(way: str, inputs: str, k: int, values: Sequence[Mapping[str, Any]]) -> Cell:
    squares = {
        name: np.concatenate([np.array(each[name]["squares"]) for each in values])
        for name in ("fp32", "tf32", "tf32-rz")
    }

    def mean_ratio(statistic: str) -> float:
        ratios = [each["tf32"][statistic] / each["fp32"][statistic] for each in values]
        return float(np.mean(ratios))

    return Cell(
        way=way,
        inputs=inputs,
        k=k,
        seeds=len(values),
        rms=rms_ratio(squares["tf32"], squares["fp32"]),
        cut=rms_ratio(squares["tf32-rz"], squares["tf32"]),
        max=mean_ratio("max"),
        mean=mean_ratio("mean"),
        fp32=float(np.sqrt(squares["fp32"].mean())),
        tf32=float(np.sqrt(squares["tf32"].mean())),
    )


def block_of_this_machine(results: Sequence[Result]) -> tuple[int | None, int]:
    """The block in which torch's kernel sums here, and how many products say so.

    A block is found where sums emulated in it are those of the kernel, all of them and to the bit,
    in every product that is longer than two of the largest candidates and a multiple of this one.
    """
    long = [r for r in of_kind(results, PRODUCT) if r.params["k"] >= 2 * max(BLOCKS)]
    for block in BLOCKS:
        asked = [r for r in long if r.params["k"] % block == 0]
        if asked and all(r.values["equal_bits"][str(block)] == 1 for r in asked):
            return block, len(asked)
    return None, len(long)


@dataclass(frozen=True, slots=True)
class Depth:
    """One network, layer by layer.

    Attributes:
        name: What network.
        layers: What was measured in each of its layers with weights, from the input on.
    """

    name: str
    layers: Sequence[Mapping[str, Any]]

    def total(self, way: str, statistic: str) -> list[float]:
        """A statistic of the total errors, layer by layer."""
        return [layer["total"][way][statistic] for layer in self.layers]

    def ratios(self, which: str, way: str = "tf32", statistic: str = "rms") -> list[float]:
        """Errors of a way over those of FP32, layer by layer; `which` is "own" or "total"."""
        return [
            layer[which][way][statistic] / layer[which]["fp32"][statistic] for layer in self.layers
        ]


def networks(results: Sequence[Result], what: str) -> Iterator[Depth]:
    """The networks of a kind: DEEP or TRAINED."""
    for result in of_kind(results, what):
        params = result.params
        name = f"{params['channels']} channels" if what == DEEP else "digits"
        yield Depth(f"{name}, seed {params['seed']}", result.values["layers"])


def flips(results: Sequence[Result], way: str, what: str = DEEP) -> tuple[int, float, float, int]:
    """Sign flips; expected from errors near zero, and from all errors; pre-activations."""
    rows = [layer for net in networks(results, what) for layer in net.layers]
    counts = [row["flips"][way] for row in rows]
    return (
        sum(int(each["flips"]) for each in counts),
        float(sum(each["expected"] for each in counts)),
        float(sum(each["expected_from_all"] for each in counts)),
        sum(int(row["n"]) for row in rows),
    )


__all__ = [
    "DEEP",
    "TRAINED",
    "Cell",
    "Depth",
    "block_of_this_machine",
    "cells",
    "flips",
    "networks",
]
