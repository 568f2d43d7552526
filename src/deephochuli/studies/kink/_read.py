"""Results of the study put together: nets, volumes, the law and trainings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._study import Result
from deephochuli.studies.kink._plan import LAW, REFERENCE, TRAINING, VOLUME


@dataclass(frozen=True, slots=True)
class Net:
    """The reference net in one way.

    Attributes:
        way: Name of the execution.
        bias: "default", "none" or "zero".
        epochs: Of training.
        n: Pre-activations.
        zero: Of these, exactly zero.
        first: Of the first layer: pre-activations, and zeros.
        causes: How often each cause.
        changed: Batches whose gradient hangs on ReLU'(0), one by one.
        half: r(1/2), batch by batch.
        whole: r(1).
        weights: Share of the weights whose gradient changes.
        predicted: Zeros that the law of the last addend expects; None where it was not asked.
    """

    way: str
    bias: str
    epochs: int
    n: int
    zero: int
    first: tuple[int, int]
    causes: Mapping[str, int]
    changed: Sequence[bool]
    half: Sequence[float]
    whole: Sequence[float]
    weights: Sequence[float]
    predicted: float | None

    @property
    def numerical(self) -> int:
        """Zeros that are not structural."""
        return self.zero - self.causes["structural"]

    @property
    def share_changed(self) -> Estimate:
        """Share of batches with Clopper and Pearson's interval."""
        return share(sum(self.changed), len(self.changed))

    @property
    def size(self) -> float:
        """Median of r(1)."""
        return median(self.whole)

    @property
    def linearity(self) -> float | None:
        """Median of r(1/2) / r(1) over the batches that change."""
        pairs = [(a, b) for a, b in zip(self.half, self.whole, strict=True) if b]
        return median(a / b for a, b in pairs) if pairs else None


@dataclass(frozen=True, slots=True)
class Zone:
    """All draws of weights of one net in one way."""

    net: str
    way: str
    n: int
    n_changed: int
    n_batches: int
    n_batches_changed: int
    n_seen: int
    n_zero: int

    @property
    def volume(self) -> Estimate:
        """Share of the draws with Clopper and Pearson's interval."""
        return share(self.n_changed, self.n)


@dataclass(frozen=True, slots=True)
class Race:
    """Trainings of one net that differ in ReLU'(0) alone, a row for each seed."""

    net: str
    optimizer: str
    way: str
    accuracy: tuple[tuple[float, ...], ...]
    loss: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[str, ...], ...]


def share(part: int, whole: int) -> Estimate:
    """A share with Clopper and Pearson's 95 % interval."""
    return Estimate(part / whole, *clopper_pearson(part, whole))


def nets(results: Iterable[Result]) -> list[Net]:
    """The reference net in each way that was measured."""
    return [_net(each) for each in results if each.params["what"] == REFERENCE]


def _net(result: Result) -> Net:
    params, values = result.params, result.values
    layers: Mapping[str, Any] = values["layers"]
    first = layers["1"]
    return Net(
        way=params["way"],
        bias=params["bias"],
        epochs=params["epochs"],
        n=sum(layer["n"] for layer in layers.values()),
        zero=sum(layer["zero"] for layer in layers.values()),
        first=(first["n"], first["zero"]),
        causes=values["causes"],
        changed=values["changed"],
        half=values["half"],
        whole=values["whole"],
        weights=values["weights"],
        predicted=values.get("predicted"),
    )


def zones(results: Iterable[Result]) -> list[Zone]:
    """Blocks of draws added up."""
    names = ("n", "n_changed", "n_batches", "n_batches_changed", "n_seen", "n_zero")
    sums: dict[tuple[str, str], Counter[str]] = {}
    for each in results:
        if each.params["what"] == VOLUME:
            key = (each.params["net"], each.params["way"])
            sums.setdefault(key, Counter()).update({name: each.values[name] for name in names})
    return [Zone(*key, *(found[name] for name in names)) for key, found in sums.items()]


@dataclass(frozen=True, slots=True)
class Law:
    """Exact zeros of one dense layer in FP32.

    Attributes:
        n: Pre-activations.
        fused: Zeros where torch's kernel adds the bias.
        apart: Zeros where it is added to the rounded sum.
        predicted: Expected zeros, N p0 ulp(b), where it is added last.
    """

    n: int
    fused: int
    apart: int
    predicted: float


def law(results: Iterable[Result]) -> Law:
    """All draws of the dense layer."""
    found = [each.values for each in results if each.params["what"] == LAW]
    n, fused, apart = (sum(values[name] for values in found) for name in ("n", "fused", "apart"))
    return Law(n, fused, apart, sum(values["predicted"] for values in found))


def races(results: Iterable[Result]) -> list[Race]:
    """Seeds of each way to train put together."""
    rows: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in results:
        if each.params["what"] == TRAINING:
            key = (each.params["net"], each.params["optimizer"], each.params["way"])
            rows.setdefault(key, []).append(each.values)
    return [
        Race(
            *key,
            *(tuple(tuple(v[name]) for v in found) for name in ("accuracy", "loss", "weights")),
        )
        for key, found in rows.items()
    ]


def pick(found: Iterable[Net], way: str, bias: str = "default", epochs: int = 0) -> Net | None:
    """The net in one way; None where it was not measured."""
    for net in found:
        if (net.way, net.bias, net.epochs) == (way, bias, epochs):
            return net
    return None


def zone_of(found: Iterable[Zone], net: str, way: str) -> Zone | None:
    """The draws of one net in one way; None where there are none."""
    return next((each for each in found if (each.net, each.way) == (net, way)), None)
