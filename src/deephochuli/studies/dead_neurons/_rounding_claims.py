"""Claims on units that a format kills or freezes, at birth and in trained nets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deephochuli.studies._evidence import mean_of, told
from deephochuli.studies._study import Claim, Result, Verdict
from deephochuli.studies.dead_neurons._plan import ENOUGH, FORMATS, SHARED
from deephochuli.studies.dead_neurons._read import control_counts, deep_counts

ROUNDING: Final = ("by rounding", "by inherited rounding")
NO_GRADIENT: Final = ("frozen by underflow", "frozen by death")


def by_rounding(results: Sequence[Result]) -> Claim:
    """Where arithmetic kills."""
    counts = {each: deep_counts(results, each, *ROUNDING) for each in FORMATS}
    wide, bf16 = sum(counts["fp64"]) + sum(counts["fp32"]), sum(counts["bf16-pure"])
    verdict = _of_number(71, counts["fp16-pure"], wide == 0)
    return Claim(
        text="In 20 layers of default initialisation without bias rounding kills units only in "
        "FP16, by underflow: 71 of 1280",
        source=SHARED,
        expected="none in FP64, FP32 and BF16; 71 in FP16, within 5 %",
        measured=f"FP16 {told(mean_of(counts['fp16-pure']))} ({_range(counts['fp16-pure'])}); all "
        f"nets together: BF16 {bf16}, FP32 and FP64 {wide}, of {1280 * len(counts['fp64'])} units",
        verdict="refined" if verdict == "confirmed" and bf16 else verdict,
        because="Each such layer multiplies the spread of its inputs by 1/sqrt(6): after twenty "
        "the pre-activations are below 2^-25, which FP16 rounds to zero. How many depends on the "
        "initial weights. In BF16, which does not underflow here, the rounding of earlier layers "
        "can kill a few units that hardly fire.",
    )


def by_rounding_trained(results: Sequence[Result]) -> Claim:
    """Where arithmetic kills in a trained net."""
    own = {each: control_counts(results, each, *ROUNDING) for each in FORMATS}
    n_nets = min(map(len, own.values()))
    total = {each: sum(counts) for each, counts in own.items()}
    wide = total["fp64"] + total["fp32"]
    verdict: Verdict = "refuted" if wide else "refined" if any(total.values()) else "confirmed"
    return Claim(
        text="Numerically dead units occur only by underflow in FP16",
        source=f"{SHARED}, short answer 4",
        expected="in a trained net none in any format",
        measured=", ".join(f"{name} {count}" for name, count in total.items())
        + f", of {144 * n_nets} units in {n_nets} trained nets",
        verdict=verdict if n_nets else "open",
        because="Besides underflow the rounding of earlier layers can kill a unit that hardly "
        "fires: one whose largest FP64 pre-activation is within the error of its inputs. That is "
        "rare in 16 bits and was not seen in FP32.",
    )


def _range(counts: Sequence[int]) -> str:
    return f"{min(counts)} to {max(counts)} over {len(counts)} seeds" if counts else "not measured"


def _of_number(stated: float, counts: Sequence[int], holds: bool = True) -> Verdict:
    """Of a number that was stated for one net.

    Confirmed if the mean of many is within 5 %, refined if it is not and some have such a number.
    """
    if len(counts) < ENOUGH:
        return "open"
    if not holds:
        return "refuted"
    if abs(mean_of(counts).value / stated - 1) <= 0.05:
        return "confirmed"
    return "refined" if min(counts) <= stated <= max(counts) else "refuted"


def frozen(results: Sequence[Result]) -> list[Claim]:
    """How many units of the deep net cannot move."""
    absorbed = ("frozen by absorption",)
    return [
        _frozen(
            "1005 of 1280 units of that net have no gradient in FP16 although the exact one is not "
            "zero",
            1005,
            deep_counts(results, "fp16-pure", *NO_GRADIENT),
        ),
        _frozen(
            "about 898 of 1280 units of that net are frozen by absorbed updates in FP32",
            898,
            deep_counts(results, "fp32", *absorbed),
        ),
        _frozen(
            "193 of 1280 units are frozen in pure FP32 in the same net with biases",
            193,
            deep_counts(results, "fp32", *absorbed, bias=True),
        ),
    ]


def _frozen(text: str, stated: int, counts: Sequence[int]) -> Claim:
    return Claim(
        text=text,
        source=SHARED,
        expected=f"{stated}, within 5 %",
        measured=f"{told(mean_of(counts), 4)} ({_range(counts)})",
        verdict=_of_number(stated, counts),
        because="The number is one of a range: nets of other seeds differ by more than 5 %, and "
        "in FP32 it depends on the learning rate too.",
    )


def control(results: Sequence[Result]) -> Claim:
    """FP64 must show nothing."""
    fates = (*ROUNDING, "frozen by absorption", *NO_GRADIENT)
    deep, own = deep_counts(results, "fp64", *fates), control_counts(results, "fp64", *fates)
    total = sum(deep) + sum(own)
    return Claim(
        text="In FP64 no unit is dead by rounding or frozen",
        source="control",
        expected="0",
        measured=f"{total} of {1280 * len(deep) + 144 * len(own)} units in {len(deep)} deep and "
        f"{len(own)} trained nets",
        verdict="confirmed" if deep and not total else "refuted" if total else "open",
        because="The shadow is the same arithmetic: what differs would be a fault of ours.",
    )


def loss_scale(results: Sequence[Result]) -> Claim:
    """What a loss scale heals."""
    before = deep_counts(results, "fp16-pure", "frozen by underflow")
    after = deep_counts(results, "fp16-pure", "frozen by underflow", scaled=True)
    absorbed = deep_counts(results, "fp16-pure", "frozen by absorption", scaled=True)
    dead = deep_counts(results, "fp16-pure", *ROUNDING, scaled=True)
    dead_before = deep_counts(results, "fp16-pure", *ROUNDING)
    holds = sum(after) < sum(before) and sum(absorbed) > 0 and dead == dead_before
    return Claim(
        text="A loss scale removes underflow of gradients, and neither absorption nor death",
        source="theory; Micikevicius et al. 2018",
        expected="fewer units frozen by underflow; those that feel their gradient again are frozen "
        "by absorption; as many dead by rounding as before",
        measured=f"FP16, scale 2^14: frozen by underflow {told(mean_of(before), 4)} before, "
        f"{told(mean_of(after), 4)} ({_range(after)}) after; by "
        f"absorption {told(mean_of(absorbed), 4)} after; dead by rounding "
        f"{told(mean_of(dead_before))} before, {told(mean_of(dead))} after; {len(after)} seeds",
        verdict="open" if len(after) < ENOUGH else "confirmed" if holds else "refuted",
        because="Scaling lifts the gradient, not the activations that it is multiplied with, and "
        "not the product of learning rate and gradient beside the weight. Least is healed in "
        "nets with many units dead by rounding: they pass no gradient, however it is scaled.",
    )
