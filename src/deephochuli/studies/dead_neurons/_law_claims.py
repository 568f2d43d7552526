"""Claims on the laws by which a weight moves."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.studies._evidence import number
from deephochuli.studies._study import Claim, Result
from deephochuli.studies.dead_neurons._read import laws_of


def laws(results: Sequence[Result]) -> list[Claim]:
    """When a weight moves."""
    found = laws_of(results)
    wrong = sum(each["n_never_moved"] + each["n_always_unmoved"] for each in found.values())
    n = sum(each["n_never"] + each["n_always"] for each in found.values())
    subnormal = [name for name, each in found.items() if not each["subnormal_moved"]]
    inert = {name: each["decayed_typical"] for name, each in found.items()}
    below = max(each["decayed_below"] for each in found.values())
    above = min(each["decayed_above"] for each in found.values())
    return [
        Claim(
            text="A weight never moves if |lr g| < 2^-(p+1) |w|, and always if > 2^-p |w|",
            source="derived",
            expected="no exception in FP64, FP32, BF16 and FP16, in torch's own SGD",
            measured=f"{wrong} exceptions in {n} normal weights; the smallest subnormal does not "
            f"move by a quarter of itself in {', '.join(subnormal) or 'no dtype'}",
            verdict="refuted" if wrong else "refined" if subnormal else "confirmed",
            because="Exact for normal weights. For subnormal ones the gap is no longer "
            "proportional to the weight, and 'always' does not hold: there the threshold is half "
            "the smallest subnormal.",
        ),
        Claim(
            text="Weight decay is inert if lr wd < 2^-(p+1): with lr 0.1 and wd 5e-4 pure BF16 and "
            "FP16 weights do not decay at all",
            source="derived",
            expected="share of weights that decay: 0 below the threshold, 1 above 2^-p; with lr 0.1"
            " and wd 5e-4: 0 in BF16 and FP16, 1 in FP32 and FP64",
            measured=f"below at most {number(below)}, above at least {number(above)}; "
            + ", ".join(f"{name} {number(share)}" for name, share in inert.items()),
            verdict="confirmed"
            if (below, above) == (0, 1)
            and [inert[x] for x in ("float64", "float32", "bfloat16", "float16")] == [1, 1, 0, 0]
            else "refuted",
            because="20 steps of torch's SGD with gradient zero, 100,000 weights a dtype: a dead "
            "unit whose only way back is the decay of a negative bias never returns.",
        ),
    ]
