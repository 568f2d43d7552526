"""What is measured: single layers up to 2^32 values, whole models in several arithmetics."""

from __future__ import annotations

from typing import Any

from deephochuli.studies._study import Params

LAYER, MODEL, NORMAL = "layer", "model", "normal numbers"

CONV1, CONV2 = "0", "2"
"""Layers of the reference net that are counted alone: 9 and 144 products, then the bias."""

PART = 29
"""log2 of the values in one point of a large count."""

MODELS = ("convolutional", "dense", "residual")
WAYS = (
    "fp64",
    "fp32",
    "bf16",
    "fp16",
    "bf16, bias last",
    "fp16, bias last",
    "fp32, product last",
)
QUICK_WAYS = ("fp64", "fp32", "bf16, bias last")


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan counts fewer values of fewer models."""
    points = [{"what": NORMAL, "log2_n": 20 if quick else 24, "seed": 1}]
    points += _quick_layers() if quick else _layers()
    for model in MODELS:
        for way in QUICK_WAYS if quick else WAYS:
            for bias in (True,) if quick else (True, False):
                points.append(
                    {
                        "what": MODEL,
                        "model": model,
                        "way": way,
                        "bias": bias,
                        "log2_n": 17 if quick else 20,
                        "epochs": 1 if quick else 20,
                        "seed": 1,
                    }
                )
    return list(points)


def _layers() -> list[dict[str, Any]]:
    """2^32 values of conv1 in FP32 and in FP64 of the same inputs; fewer of its variants."""
    parts = [(CONV1, "fp32", True, 8), (CONV1, "fp64", True, 8), (CONV1, "fp32", False, 4)]
    parts += [(CONV2, "fp32", True, 2)]
    return [
        _layer(layer, way, bias, PART, 20, seed)
        for layer, way, bias, n_parts in parts
        for seed in range(n_parts)
    ]


def _quick_layers() -> list[dict[str, Any]]:
    return [_layer(CONV1, way, True, 23, 1, seed) for way in ("fp32", "fp64") for seed in (0, 1)]


def _layer(layer: str, way: str, bias: bool, log2_n: int, epochs: int, seed: int) -> dict[str, Any]:
    return {
        "what": LAYER,
        "layer": layer,
        "way": way,
        "bias": bias,
        "log2_n": log2_n,
        "epochs": epochs,
        "seed": seed,
    }


def weight(params: Params) -> float:
    """Rough seconds of a point."""
    seconds = 2.0 ** (params["log2_n"] - PART)
    if params["what"] == LAYER:
        return 1 + seconds * (6 if params["layer"] == CONV1 else 15)
    return 1 + seconds * (50 if params["what"] == NORMAL else 500)
