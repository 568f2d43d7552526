"""What is measured: laws of one update, a deep net at birth, near-dead units of trained nets.

Beside that stands where the claims come from, and how many seeds they need.
"""

from __future__ import annotations

from typing import Any, Final

from deephochuli.studies._study import Params

LAW: Final = "law"
DEEP: Final = "deep net"
TRAINED: Final = "trained net"

FORMATS: Final = ("fp64", "fp32", "bf16-pure", "fp16-pure")
LAW_DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
RATE: Final = 0.05
SLOW_RATE: Final = 0.005
N_STEPS: Final = 30
N_LONG: Final = 200
LOSS_SCALE: Final = 2.0**14
N_SEEDS: Final = 20
N_CONTROLLED: Final = 4
"""Seeds whose nets are also searched for units dead by rounding, in every format."""

FOUNDING: Final = "founding project, section 4"
SHARED: Final = "notes on the founding project, section 4"
ENOUGH: Final = 10
"""Seeds below which no verdict on a number is given."""

_FOUR = ["low", "exact", "exact-update", "low-update"]
_TREATMENTS = ["loss-scale", "master-fp32", "stochastic", "kahan"]
_INGREDIENTS = ["exact-forward", "exact-backward"]


def plan(quick: bool) -> list[Params]:
    """All points; the quick plan has fewer seeds, formats and arms."""
    laws = [{"what": LAW, "dtype": dtype, "n": 100_000, "seed": 0} for dtype in LAW_DTYPES]
    seeds = range(2) if quick else range(N_SEEDS)
    deep = [each for seed in seeds for each in _deep(seed)]
    trained = [_trained(seed, quick) for seed in (range(1) if quick else seeds)]
    return [*laws, *deep, *trained]


def _deep(seed: int) -> list[dict[str, Any]]:
    def point(arithmetic: str, bias: bool = False, scale: float = 1.0) -> dict[str, Any]:
        return {
            **{"what": DEEP, "arithmetic": arithmetic, "bias": bias, "loss_scale": scale},
            **{"rate": RATE, "steps": 5, "seed": seed},
        }

    plain = [point(arithmetic) for arithmetic in FORMATS]
    return [*plain, point("fp32", bias=True), point("fp16-pure", scale=LOSS_SCALE)]


def _trained(seed: int, quick: bool) -> dict[str, Any]:
    def setting(arithmetic: str, arms: list[str], **more: Any) -> dict[str, Any]:
        plain = {"arithmetic": arithmetic, "rate": RATE, "steps": [N_STEPS], "arms": arms}
        return {**plain, **more}

    if quick:
        settings = [setting("bf16-pure", [*_FOUR, "master-fp32"]), setting("fp64", _FOUR[:2])]
        return {"what": TRAINED, "seed": seed, "controls": ["fp64"], "settings": settings}
    settings = [
        setting("fp64", _FOUR[:2]),
        setting("fp32", _FOUR[:2]),
        setting("bf16-pure", [*_FOUR, *_TREATMENTS, *_INGREDIENTS]),
        setting("bf16-pure", _FOUR[:2], steps=[N_STEPS, N_LONG]),
        setting("fp16-pure", _FOUR[:2]),
        setting("fp16-pure", [*_FOUR, *_TREATMENTS[:2]], rate=SLOW_RATE),
    ]
    controls = list(FORMATS) if seed < N_CONTROLLED else []
    return {"what": TRAINED, "seed": seed, "controls": controls, "settings": settings}


def weight(params: Params) -> float:
    """Rough seconds of a point."""
    if params["what"] != TRAINED:
        return 0.5
    steps = sum(max(each["steps"]) * len(each["arms"]) for each in params["settings"])
    return 4.0 + 0.02 * steps
