"""Claims on the rule by which one addition absorbs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from deephochuli.studies._evidence import count_ratio
from deephochuli.studies._study import Claim, Result
from deephochuli.studies.swamping._expected import FOUNDING, OURS
from deephochuli.studies.swamping._read import of_kind

HALF_ULP: Final = 2.0**-24
"""Half the gap above 1 in FP32."""
SURE: Final = 0.999
"""Confidence of intervals that all must hold the truth: of seven, chance lets one miss it in fewer
than one study of a hundred."""


def document(results: Sequence[Result]) -> Claim:
    """What the founding document says of FP32 at 1."""
    curve = of_kind(results, "curve")[0].values
    left, x = curve["left"]["fp32"], curve["x"]
    erased = max(each for each, rest in zip(x, left, strict=True) if rest == 0)
    kept = min(each for each, rest in zip(x, left, strict=True) if rest > 0)
    is_so = erased <= HALF_ULP < kept
    return Claim(
        text="FP32 at 1.0 absorbs addends of about 1e-8",
        source=FOUNDING,
        expected="1 + x == 1 up to about 1e-8",
        measured=f"by hardware, of {len(x)} values of x the largest absorbed is {erased:.4g}, the "
        f"smallest kept {kept:.4g}; 2^-24 = {HALF_ULP:.16g} itself is absorbed",
        verdict="refined" if is_so else "open",
        because="The border is half the gap above 1, 2^-24, tie included, because the significand "
        "of 1 is even; below 1 gaps are half as wide, and the border for negative x is 2^-25. Read "
        "on a grid of powers of ten it lies between 1e-7 (kept) and 1e-8 (absorbed): 1e-8 is the "
        "decade below, 6 times too small.",
    )


def thresholds(results: Sequence[Result]) -> Claim:
    """The border between what is absorbed and what is kept."""
    points = [result.values for result in of_kind(results, "thresholds")]
    tried, native = (sum(each[name] for each in points) for name in ("tried", "native"))
    wrong = sum(each["wrong"] + each["native_wrong"] for each in points)
    return Claim(
        text="An addend is absorbed up to half the gap on its side, the tie only by an even "
        "significand; nothing by a subnormal; when cutting, up to the whole gap away from zero",
        source=OURS,
        expected="no exception on either side of any threshold, nor on any tie",
        measured=f"{wrong} exceptions in {tried} sums rounded exactly and {native} additions by "
        f"torch; {len(points)} formats",
        verdict="confirmed" if not wrong else "refuted",
        because="Checked with exact rationals at powers of two, odd and even significands, both "
        "ends of the normal range and a subnormal, in three roundings.",
    )


def pairs(results: Sequence[Result]) -> Iterator[Claim]:
    """Every pair of numbers of a narrow format."""
    for result in of_kind(results, "pairs"):
        name, values = result.params["format"], result.values
        modes = {mode: each for mode, each in values.items() if mode != "n"}
        wrong = sum(each["wrong"] for each in modes.values())
        is_all = name.startswith("fp8")
        yield Claim(
            text=f"The rule decides every {'pair' if is_all else 'tried pair'} of {name} numbers",
            source=OURS,
            expected="no mismatch",
            measured=f"{wrong} mismatches in {values['n']} pairs"
            + "".join(f"; {mode}: {each['absorbed']} absorbed" for mode, each in modes.items()),
            verdict="confirmed" if not wrong else "refuted",
            because="All pairs of finite numbers but zero, sums formed exactly and rounded."
            if is_all
            else "100 normal numbers with all finite ones, added by torch.",
        )


def dice(results: Sequence[Result]) -> Claim:
    """How often stochastic rounding absorbs."""
    values = of_kind(results, "stochastic")[0].values
    ratios = [
        count_ratio(row["absorbed"], values["n"] * (1 - row["part"]), SURE)
        for row in values["rows"]
    ]
    inside = sum(each.low <= 1 <= each.high for each in ratios)
    worst = max(abs(each.value - 1) for each in ratios)
    return Claim(
        text="Stochastic rounding absorbs x with the probability 1 - |x| / ulp",
        source=OURS,
        expected="counts over their expectation: 1",
        measured=f"{inside} of {len(ratios)} intervals of confidence {SURE} hold 1, n = "
        f"{values['n']} each; largest difference {100 * worst:.2g} %",
        verdict="confirmed" if inside == len(ratios) else "refuted",
        because="No addend is absorbed for certain, and none is lost in the mean.",
    )
