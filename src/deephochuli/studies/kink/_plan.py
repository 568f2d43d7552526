"""What the study of the kink measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from deephochuli.studies._study import Params

REFERENCE: Final = "reference"
VOLUME: Final = "volume"
LAW: Final = "law"
TRAINING: Final = "training"

VOLUME_WAYS: Final = ("fp64", "fp32", "bf16", "fp16", "bf16 apart", "fp16 apart")

WAYS: Final = (*VOLUME_WAYS, "fp64 of bf16 weights")
"""Names of executions; "apart" adds biases to sums that are rounded already."""

LARGE: Final = "784-2000-128"
SMALL: Final = "64-256-256"
NORMED: Final = "64-256-256 with batch norm"

ALPHAS: Final = (0.0, 0.5, 1.0)


def plan(quick: bool) -> Sequence[Params]:
    """Parameters of all points."""
    return [*_references(quick), *_volumes(quick), *_laws(quick), *_trainings(quick)]


def _references(quick: bool) -> list[dict[str, Any]]:
    """The reference net in every way, with and without biases, new and trained."""
    epochs = (0,) if quick else (0, 20)
    n_batches = 3 if quick else 11
    made = [
        {"what": REFERENCE, "way": way, "bias": "default", "epochs": each, "batches": n_batches}
        for way in WAYS
        for each in epochs
    ]
    made += [
        {"what": REFERENCE, "way": way, "bias": bias, "epochs": 0, "batches": n_batches}
        for way in WAYS
        if not way.endswith("apart")
        for bias in ("none", "zero")
    ]
    return made


def _volumes(quick: bool) -> list[dict[str, Any]]:
    """Draws of weights in blocks of seeds."""
    n, n_blocks = (5, 1) if quick else (50, 2)
    made = [
        {"what": VOLUME, "net": net, "way": way, "first": block * n, "n": n}
        for net in (SMALL, NORMED)
        for way in VOLUME_WAYS
        for block in range(n_blocks)
    ]
    if not quick:
        made += [
            {"what": VOLUME, "net": LARGE, "way": "fp32", "first": first, "n": 2}
            for first in range(0, 16, 2)
        ]
    return made


def _laws(quick: bool) -> list[dict[str, Any]]:
    """Exact zeros of one dense layer in FP32 against N p0 ulp(b)."""
    n, n_blocks = (20, 1) if quick else (250, 8)
    return [{"what": LAW, "first": block * n, "n": n} for block in range(n_blocks)]


def _trainings(quick: bool) -> list[dict[str, Any]]:
    """Trainings that differ in ReLU'(0) alone."""
    n_seeds, epochs = (2, 2) if quick else (12, 8)
    ways = [
        (SMALL, "sgd", "bf16 apart"),
        (NORMED, "sgd", "bf16 apart"),
        (SMALL, "adam", "bf16 apart"),
    ]
    made = [
        {
            "what": TRAINING,
            "net": net,
            "optimizer": optimizer,
            "way": way,
            "seed": seed,
            "epochs": epochs,
        }
        for net, optimizer, way in ways
        for seed in range(n_seeds)
    ]
    return [*made, *({**made[0], "way": "fp32", "seed": seed} for seed in range(n_seeds // 4 + 1))]


def weight(params: Params) -> float:
    """Seconds, about."""
    if params["what"] == REFERENCE:
        trained = 10.0 if params["epochs"] else 0.0
        return trained + params["batches"] * (0.3 if params["way"].startswith("fp16") else 0.1)
    if params["what"] == VOLUME:
        return params["n"] * (6.0 if params["net"] == LARGE else 0.1)
    if params["what"] == LAW:
        return params["n"] * 0.03
    return params["epochs"] * 1.0
