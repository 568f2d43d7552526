"""What is measured: networks at the start and trained, in five arithmetics, over seeds."""

from __future__ import annotations

from typing import Any

from deephochuli.studies._study import Params

CNN, MLP, NORMALISED, DEEP = "cnn", "mlp", "normalised cnn", "deep mlp"
ARITHMETICS = ("fp64", "fp32", "bf16", "fp16", "fp8")
SCALED = ("fp16", "fp8")
"""Arithmetics that are run once more with the loss scale that the first run advises."""

LEARNING_RATE = 0.05
"""Of the training, and of the step that a lost gradient is measured by."""


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan has two architectures and one seed."""
    if quick:
        quick_points: list[dict[str, Any]] = [
            {"what": what, "epochs": epochs, "seed": 0, "images": 32}
            for what, epochs in ((MLP, 0), (MLP, 20), (DEEP, 0))
        ]
        return list(quick_points)
    points: list[dict[str, Any]] = [
        {"what": what, "epochs": epochs, "seed": seed, "images": 64}
        for what in (CNN, MLP, NORMALISED)
        for epochs in (0, 20)
        for seed in (0, 1, 2)
    ]
    points += [{"what": DEEP, "epochs": 0, "seed": seed, "images": 64} for seed in (0, 1, 2)]
    return list(points)


def weight(params: Params) -> float:
    """Rough seconds of a point."""
    return 3.0 + (3.0 if params["epochs"] else 0.0)
