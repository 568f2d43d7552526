"""The exact border between absorbed and not, against every pair, hardware and dice."""

# torch's types of some operations on tensors are partial.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deephochuli.arithmetic import round_to
from deephochuli.formats import Format, Overflow, Rounding, decode_array, get_format, round_scalar
from deephochuli.studies._study import Params

NATIVE = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Formats in which torch adds on a CPU."""

MODES = (Rounding.NEAREST_EVEN, Rounding.NEAREST_AWAY, Rounding.TOWARD_ZERO)
BESIDE = Fraction(1, 2**60)
"""How far from a threshold its two sides are tried, relative."""


def measure_thresholds(params: Params) -> Mapping[str, Any]:
    """Thresholds of one format at several accumulators, tried on both sides and on the tie."""
    fmt = get_format(params["format"])
    rows: list[dict[str, Any]] = []
    tried = wrong = native = native_wrong = 0
    for a in accumulators(fmt):
        for toward in ("away", "zero"):
            for mode in MODES:
                limit = fmt.absorption_threshold(a, toward, mode)
                outcomes = list(_tried(fmt, a, toward, limit.value, limit.inclusive, mode))
                tried, wrong = tried + len(outcomes), wrong + outcomes.count(False)
                if mode is Rounding.NEAREST_EVEN:
                    rows.append(
                        {
                            "a": a,
                            "toward": toward,
                            "threshold": float(limit.value),
                            "inclusive": limit.inclusive,
                        }
                    )
                    seen = list(_on_hardware(fmt, a, toward, limit.value, limit.inclusive))
                    native, native_wrong = native + len(seen), native_wrong + seen.count(False)
    return {
        "rows": rows,
        "tried": tried,
        "wrong": wrong,
        "native": native,
        "native_wrong": native_wrong,
    }


def accumulators(fmt: Format) -> list[float]:
    """Powers of two, odd and even significands, the ends of the normal range, a subnormal."""
    ulp = fmt.ulp(1.0)
    tenth = float(round_scalar(0.1, fmt))
    return [
        *(1.0, 1.5, 1.0 + ulp, 2.0 - ulp, tenth, -1.0, 16.0),
        *(fmt.smallest_normal, 2 * fmt.smallest_normal, fmt.smallest_subnormal),
    ]


def _signed(a: float, toward: str, x: Fraction) -> Fraction:
    """An addend of magnitude x that points away from zero, or towards it."""
    return x if (a > 0) == (toward == "away") else -x


def _tried(
    fmt: Format, a: float, toward: str, limit: Fraction, inclusive: bool, mode: Rounding
) -> Iterator[bool]:
    """Whether rounding the exact sum agrees below a threshold, on it, and above it."""
    if limit == 0:
        cases = [(Fraction(fmt.smallest_subnormal) / 2**10, False)]
    else:
        below, above = limit * (1 - BESIDE), limit * (1 + BESIDE)
        cases = [(below, True), (limit, inclusive), (above, False)]
    for x, is_absorbed in cases:
        total = Fraction(a) + _signed(a, toward, x)
        yield (Fraction(round_scalar(total, fmt, mode)) == Fraction(a)) == is_absorbed


def _on_hardware(
    fmt: Format, a: float, toward: str, limit: Fraction, inclusive: bool
) -> Iterator[bool]:
    """The same by torch's own addition, with addends of the format itself."""
    dtype = NATIVE.get(fmt.name)
    if dtype is None or limit < Fraction(fmt.smallest_subnormal):
        return
    tie = torch.tensor(float(limit), dtype=dtype)
    beside = [torch.nextafter(tie, tie * 0), tie, torch.nextafter(tie, tie * 4)]
    acc = torch.tensor(a, dtype=dtype)
    for x, is_absorbed in zip(beside, (True, inclusive, False), strict=True):
        if x == 0:
            continue
        addend = x if _signed(a, toward, Fraction(1)) > 0 else -x
        yield bool(acc + addend == acc) == is_absorbed


def measure_pairs(params: Params) -> Mapping[str, Any]:
    """The rule against additions of all pairs of an 8-bit format, or of 100 numbers with all.

    Sums of 8-bit numbers are formed exactly and rounded; FP16 and BF16 are added by torch.
    """
    fmt = get_format(params["format"])
    every = _finite(fmt)
    if len(every) < 1000:
        chosen = every
    else:
        rng = np.random.default_rng(params["seed"])
        chosen = rng.choice(every[np.abs(every) >= fmt.smallest_normal], 100, replace=False)
    modes = MODES if fmt.name not in NATIVE else MODES[:1]
    values: dict[str, Any] = {"n": len(chosen) * len(every)}
    for mode in modes:
        wrong = absorbed = 0
        for a in chosen:
            by_rule = _by_rule(fmt, float(a), every, mode)
            by_adding = _by_adding(fmt, float(a), every, mode)
            wrong += int((by_rule != by_adding).sum())
            absorbed += int(by_rule.sum())
        values[str(mode)] = {"wrong": wrong, "absorbed": absorbed}
    return values


def _finite(fmt: Format) -> npt.NDArray[np.float64]:
    """All finite numbers of a format but zero."""
    values = decode_array(np.arange(1 << fmt.bits), fmt)
    return values[np.isfinite(values) & (values != 0)]


def _by_rule(
    fmt: Format, a: float, x: npt.NDArray[np.float64], mode: Rounding
) -> npt.NDArray[np.bool_]:
    absorbed = np.zeros(len(x), np.bool_)
    for toward in ("away", "zero"):
        limit = fmt.absorption_threshold(a, toward, mode)
        here = ((x > 0) == (a > 0)) == (toward == "away")
        bound = float(limit.value)
        within = (np.abs(x) < bound) | ((np.abs(x) == bound) & limit.inclusive)
        absorbed |= here & within
    return absorbed


def _by_adding(
    fmt: Format, a: float, x: npt.NDArray[np.float64], mode: Rounding
) -> npt.NDArray[np.bool_]:
    dtype = NATIVE.get(fmt.name)
    addends = torch.from_numpy(x)
    if dtype is None:
        # A sum that saturates ends at the largest number, too, but that is no absorption.
        total: Tensor = round_to(addends + a, fmt, rounding=mode, overflow=_beyond(fmt))
        total = total.where((addends + a).abs() < fmt.max_finite + fmt.ulp(fmt.max_finite), 0.0)
    else:
        total = addends.to(dtype) + torch.tensor(a, dtype=dtype)
    return (total.double() == a).numpy()


def _beyond(fmt: Format) -> Overflow:
    """What stands beyond the largest number where it is not saturated."""
    return Overflow.INFINITY if fmt.overflow is Overflow.INFINITY else Overflow.NAN


def measure_stochastic(params: Params) -> Mapping[str, Any]:
    """How often stochastic rounding absorbs an addend of a part of an ulp."""
    fmt, n = get_format(params["format"]), params["n"]
    ulp = fmt.ulp(1.0)
    rows: list[dict[str, float]] = []
    for eighths in range(1, 8):
        part = eighths / 8
        total = torch.full((n,), 1.0 + part * ulp, dtype=torch.float64)
        rounded = round_to(total, fmt, rounding="stochastic", key=eighths)
        rows.append({"part": part, "absorbed": int((rounded == 1.0).sum())})
    return {"n": n, "rows": rows}


def measure_curve(params: Params) -> Mapping[str, Any]:
    """What is left of x after 1 + x - 1, in every format that this machine adds in."""
    steps = params["per_binade"]
    x = np.exp2(np.arange(-60 * steps, 1) / steps)
    curves: dict[str, list[float]] = {}
    for name, dtype in NATIVE.items():
        one = torch.ones((), dtype=dtype)
        left = (one + torch.from_numpy(x).to(dtype)) - one
        curves[name] = [float(each) for each in left]
    return {"x": [float(each) for each in x], "left": curves}
