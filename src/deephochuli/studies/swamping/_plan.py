"""What is measured: thresholds, pairs, sums by order, growth by K and depth, updates."""

from __future__ import annotations

from typing import Any

from deephochuli.studies._study import Params

FORMATS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2")
SUM_FORMATS = ("fp32", "fp16", "bf16", "fp8_e4m3fn")
TENSOR_CORES = ("h100-fp16", "h100-bf16", "h100-fp8")
OPTIMIZERS: dict[str, tuple[str, float, float]] = {
    "SGD 0.1": ("SGD", 0.1, 0.0),
    "SGD 0.01": ("SGD", 0.01, 0.0),
    "SGD 0.001": ("SGD", 1e-3, 0.0),
    "SGD 0.00001": ("SGD", 1e-5, 0.0),
    "SGD 0.05, momentum 0.9": ("SGD", 0.05, 0.9),
    "Adam 0.001": ("Adam", 1e-3, 0.0),
    "Adam 0.0001": ("Adam", 1e-4, 0.0),
}
"""Name -> kind, learning rate, momentum."""

STEPS = (3, 22, 220)
KS = tuple(2**k for k in range(6, 15, 2))
LONG_KS = tuple(2**k for k in range(10, 19, 2))


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan has one seed, fewer formats and fewer replayed sums."""
    points: list[dict[str, Any]] = [{"what": "thresholds", "format": name} for name in FORMATS]
    points += [{"what": "pairs", "format": name, "seed": 0} for name in FORMATS[-2:]]
    points += [{"what": "curve", "per_binade": 2 if quick else 8}]
    points += [{"what": "stochastic", "format": "bf16", "n": 20_000 if quick else 200_000}]
    points += _sums(quick) + _growth(quick) + _updates(quick)
    if not quick:
        points += [{"what": "pairs", "format": name, "seed": 0} for name in ("fp16", "bf16")]
    return list(points)


def _sums(quick: bool) -> list[dict[str, Any]]:
    """Sums of the digits network, trained and not."""
    if quick:
        ways = [("format", name) for name in ("fp32", "bf16")]
        states, n = [(20, 0), (0, 0)], 32
    else:
        ways = [("format", name) for name in SUM_FORMATS]
        ways += [("arithmetic", name) for name in TENSOR_CORES]
        states, n = [(20, 0), (20, 1), (20, 2), (0, 0), (0, 1), (0, 2)], 512
    return [
        {"what": "sums", kind: name, "epochs": epochs, "seed": seed, "outputs": n}
        for epochs, seed in states
        for kind, name in ways
    ]


def _growth(quick: bool) -> list[dict[str, Any]]:
    """Growth of the absorbed share with K, and with depth at one K."""
    formats = ("bf16",) if quick else ("bf16", "fp16", "fp8_e4m3fn")
    growth: list[dict[str, Any]] = [
        {"what": "growth", "format": name, "addends": addends, "ks": list(KS), "seed": seed}
        for name in formats
        for addends in ("normal", "positive")
        for seed in ((1,) if quick else (1, 2, 3))
    ]
    if quick:
        return growth
    growth += [
        {"what": "growth", "format": "fp32", "addends": addends, "ks": list(LONG_KS), "seed": 1}
        for addends in ("normal", "positive")
    ]
    growth += [{"what": "depth", "format": "bf16", "channels": 16, "seed": s} for s in (1, 2, 3)]
    return growth


def _updates(quick: bool) -> list[dict[str, Any]]:
    """Absorbed updates by optimizer and format; FP16 is slow on CPUs, and has one seed."""
    if quick:
        names, runs, steps = ("SGD 0.01", "Adam 0.001"), [("fp32", 0), ("bf16", 0)], STEPS[:2]
    else:
        names, steps = tuple(OPTIMIZERS), STEPS
        runs = [("fp32", 0), ("fp32", 1), ("bf16", 0), ("bf16", 1), ("fp16", 0)]
    return [
        {"what": "updates", "optimizer": name, "format": fmt, "seed": seed, "steps": list(steps)}
        for name in names
        for fmt, seed in runs
    ]


def weight(params: Params) -> float:
    """Rough seconds of a point."""
    if params["what"] == "updates":
        return max(params["steps"]) * (0.05 if params["format"] == "fp16" else 0.006)
    return {"sums": 1.0, "pairs": 2.0, "depth": 2.0, "growth": 0.5}.get(params["what"], 0.3)
