"""The points of the study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from deephochuli.studies._study import Params

_ZOOMS: Final = {20: 10, 30: 20, 40: 30}
"""Depth -> log2 of how short the segment is: 2^10 pieces lie on it before the step."""

_DEEPEST: Final = {18: (4, 6, 8, 10, 12, 16), 20: (4, 8, 12, 16)}
"""Depth -> log2 of noise levels, where less noise leaves too many places to decide exactly."""

_STEPS: Final = (
    ("last", "sin", -4),
    ("last", "sin", -10),
    ("last", "step", -4),
    ("square", "sin", -4),
    ("square", "square", -4),
)
"""Start, target and log2 of the learning rate of single steps."""

_NOISES: Final = (
    *("exact", "relative 2^-4", "relative 2^-12", "relative 2^-40"),
    "operations 2^-8",
)
_WIDTHS: Final = (8, 16, 32, 64, 128)
_FORMATS: Final = ("exact", "fp32", "fp16", "bf16", "fp8")


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan has fewer networks, depths and steps of training."""
    points = _quick() if quick else _whole()
    n_nets = 4 if quick else 20
    return [{"n_nets": n_nets, "seed": 1, "zoom": 0} | point for point in points]


def weight(params: Params) -> float:
    """Rough cost of a point in seconds."""
    if params["kind"] == "reference":
        return 1.0
    n_units = params.get("width", 2 * params.get("n_chains", 1)) * params["depth"]
    counting = params["n_nets"] * len(params["ways"]) * (0.02 + 1e-4 * n_units)
    emulated = params["ways"][0] in _FORMATS[1:]
    return counting + params.get("n_steps", 0) * params["depth"] * (1e-3 if emulated else 2e-4)


def _absolute(depth: int, levels: range | tuple[int, ...], **others: Any) -> dict[str, Any]:
    ways = [f"absolute 2^-{level}" for level in levels]
    return {"kind": "absolute", "start": "last", "depth": depth, "ways": ways} | others


def _step(start: str, target: str, log2_lr: int, depth: int, **others: Any) -> dict[str, Any]:
    made = {"kind": "step", "start": start, "target": target, "log2_lr": log2_lr, "depth": depth}
    return made | {"ways": list(_NOISES)} | others


def _training(
    start: str, target: str, depth: int, way: str, n_steps: int = 1000, **others: Any
) -> dict[str, Any]:
    made = {"kind": "training", "start": start, "target": target, "depth": depth, "log2_lr": -4}
    return made | {"n_steps": n_steps, "ways": [way]} | others


def _kept(depth: int, n_steps: int) -> dict[str, Any]:
    ways = ["exact", "relative 2^-1", "relative 2^-4", "relative 2^-12"]
    ways += [f"absolute 2^-{level}" for level in (4, 8, 12, 16, 24, 40)]
    made = {"kind": "kept", "depth": depth, "n_steps": n_steps, "target": "sin", "log2_lr": -5}
    return made | {"ways": ways}


def _he(width: int, depth: int) -> dict[str, Any]:
    ways = ["exact", "relative 2^-8", "bf16"]
    return _step("he", "sin", -4, depth, width=width, ways=ways)


def _whole() -> Iterator[dict[str, Any]]:
    yield from _random_biases()
    yield from _single_steps()
    for depth in (4, 8, 12):
        yield _step("tents", "sin", -10, depth)
        yield _kept(depth, 1000)
    for depth, widths in ((2, _WIDTHS), (5, _WIDTHS), (10, _WIDTHS), (20, _WIDTHS[:3])):
        for width in widths:
            yield _he(width, depth)
    yield from _trainings()


def _random_biases() -> Iterator[dict[str, Any]]:
    for depth in range(2, 17, 2):
        yield _absolute(depth, (4, 6, 8, 10, 12, 16, 20, 40))
    for depth, levels in _DEEPEST.items():
        yield _absolute(depth, levels)
    for depth, zoom in _ZOOMS.items():
        yield _absolute(depth, range(8, 41, 4), zoom=zoom)
    for width in _WIDTHS:
        yield _absolute(8, (3, 4, 5), n_chains=width // 2)


def _single_steps() -> Iterator[dict[str, Any]]:
    for width in _WIDTHS:
        yield _step("last", "sin", -4, 6, n_chains=width // 2, ways=["relative 2^-4"])
    for start, target, log2_lr in _STEPS:
        for depth in (2, 5, 8, 11, 14):
            yield _step(start, target, log2_lr, depth)
    for start in ("last", "square"):
        for depth, zoom in _ZOOMS.items():
            yield _step(start, "sin", -14, depth, zoom=zoom)
            yield _step(start, "sin", -14, depth, zoom=zoom, ways=list(_FORMATS))
        for depth in (4, 8, 12):
            yield _step(start, "sin", -4, depth, ways=list(_FORMATS))
        yield {"kind": "reference", "start": start, "target": "sin", "depth": 8, "n_nets": 2}


def _trainings() -> Iterator[dict[str, Any]]:
    for start in ("last", "square"):
        for depth in (4, 8, 12):
            for way in ("exact", "relative 2^-4", "relative 2^-12", "absolute 2^-12"):
                yield _training(start, "sin", depth, way)
    for way in ("exact", "relative 2^-4", "bf16"):
        yield _training("square", "square", 8, way)
        yield _training("he", "sin", 5, way, width=32)
    for way in ("fp32", "fp16", "bf16"):
        yield _training("last", "sin", 8, way)


def _quick() -> Iterator[dict[str, Any]]:
    for depth in (2, 4, 6, 8):
        yield _absolute(depth, (4, 6, 20))
        yield _step("last", "sin", -4, depth, ways=list(_NOISES[:2]))
    yield _absolute(20, (8, 16, 40), zoom=10)
    for n_chains in (4, 8):
        yield _absolute(6, (3, 4), n_chains=n_chains)
    for width in (8, 16, 32):
        for depth in (2, 4):
            yield _he(width, depth) | {"ways": ["exact", "relative 2^-8"]}
    yield _step("last", "sin", -4, 8, ways=["exact", "fp32", "bf16"])
    yield {"kind": "reference", "start": "last", "target": "sin", "depth": 4, "n_nets": 1}
    yield _step("tents", "sin", -10, 6, ways=list(_NOISES[:2]))
    yield _kept(6, 100)
    for way in ("exact", "relative 2^-4"):
        yield _training("last", "sin", 6, way, 100)
