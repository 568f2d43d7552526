"""What is measured: products by K, deep networks by width, and the trained network."""

from __future__ import annotations

from typing import Any

from deephochuli.studies._study import Params

PRODUCT, DEEP, TRAINED = "product", "deep network", "trained network"
KS = (64, 144, 288, 390, 576, 1152, 2304, 4608)
INPUTS = ("normal", "rectified")
DEPTH = 24


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan has fewer sizes and seeds."""
    ks = (64, 576, 2304) if quick else KS
    seeds = (5, 6) if quick else (5, 6, 7)
    points: list[dict[str, Any]] = [
        {"what": PRODUCT, "k": k, "inputs": inputs, "seed": seed}
        for k in ks
        for inputs in INPUTS
        for seed in seeds
    ]
    widths = ((32, 1), (32, 2)) if quick else ((16, 1), (16, 2), (43, 1), (64, 1), (64, 2), (64, 3))
    points += [
        {"what": DEEP, "channels": channels, "images": 64, "seed": seed}
        for channels, seed in widths
    ]
    if not quick:
        points += [{"what": TRAINED, "epochs": 20, "seed": seed} for seed in (0, 1, 2)]
    return list(points)


def weight(params: Params) -> float:
    """Rough seconds of a point."""
    if params["what"] == PRODUCT:
        return 0.1 + params["k"] / 5000
    return 5.0 if params["what"] == TRAINED else 0.2 + params["channels"] ** 2 / 500
