"""What the measurements say about each statement on dead neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deephochuli.analysis.death import Cluster
from deephochuli.studies._evidence import mean_of, number, told
from deephochuli.studies._study import Claim, Result, Verdict
from deephochuli.studies.dead_neurons._plan import (
    FORMATS,
    N_LONG,
    N_SEEDS,
    N_STEPS,
    RATE,
    SLOW_RATE,
)
from deephochuli.studies.dead_neurons._read import (
    Group,
    control_counts,
    deep_counts,
    first_layer,
    laws_of,
)

FOUNDING: Final = "founding project, section 4"
SHARED: Final = "notes on the founding project, section 4"
ROUNDING: Final = ("by rounding", "by inherited rounding")
NO_GRADIENT: Final = ("frozen by underflow", "frozen by death")
ENOUGH: Final = 10
"""Seeds below which no verdict on a number is given."""

Groups = dict[tuple[str, float, int], Group]


def stays_dead(groups: Groups) -> Claim:
    """The closing question: units that stay dead in low precision alone."""
    group = groups["bf16-pure", RATE, N_STEPS]
    seeds = group.per_seed("low", "exact")
    return Claim(
        text="In low precision units stay dead that would come back in exact arithmetic",
        source=FOUNDING,
        expected="from one state more units live in FP64 than in the format (p < 0.01 over seeds)",
        measured="; ".join(_beside(each) for each in groups.values() if each.step == N_STEPS),
        verdict=_decided(seeds, seeds.low > 0 and seeds.p_value < 0.01, "refined"),
        because="It is so in pure BF16, and in pure FP16 at a small learning rate; FP32 and FP64 "
        "lose none of these units. So it is the format of the weights that decides, and FP32 "
        "weights are enough.",
    )


def _beside(group: Group) -> str:
    pair, seeds = group.pair("low", "exact"), group.per_seed("low", "exact")
    return (
        f"{group.arithmetic} at lr {group.rate:g}: {pair.n_both + pair.n_first} against "
        f"{pair.n_both + pair.n_second} of {pair.n} in FP64, {_mean(seeds)} a seed, McNemar p = "
        f"{pair.p_value:.1g}"
    )


def _mean(seeds: Cluster) -> str:
    if seeds.n < 2:
        return f"{seeds.mean:+.2f}"
    return f"{seeds.mean:+.2f} [{seeds.low:.2f}, {seeds.high:.2f}]"


def _decided(seeds: Cluster, holds: bool, verdict: Verdict = "confirmed") -> Verdict:
    if seeds.n < ENOUGH:
        return "open"
    return verdict if holds else "refuted"


def stated_revival(groups: Groups) -> Claim:
    """The numbers stated for BF16."""
    group = groups["bf16-pure", RATE, N_STEPS]
    names = ("low", "exact", "exact-update", "low-update")
    a, b, c, d = (group.count(name, *names)[0] for name in names)
    n_seeds = len(group.with_both(*names))
    holds = abs(a - d) <= 3 and abs(b - c) <= 3 and b - a > 40
    return Claim(
        text=f"BF16, learning rate {RATE}, {N_STEPS} steps: all low revives as many units as low "
        "updates alone (A = D), all exact as many as exact updates alone (B = C), and B - A > 40",
        source=SHARED,
        expected="|A - D| <= 3, |B - C| <= 3, B - A > 40 (26 against 99 in another choice of "
        "units)",
        measured=f"A {a}, D {d}, B {b}, C {c}, of {group.count('low', *names)[1]} units in "
        f"{n_seeds} seeds",
        verdict="open" if n_seeds < N_SEEDS else "confirmed" if holds else "refuted",
        because="How many units there are to revive depends on the net and on the choice of units, "
        "so that counts compare only within one state.",
    )


def cause(groups: Groups) -> Claim:
    """Absorbed updates, not rounded gradients."""
    group = groups["bf16-pure", RATE, N_STEPS]
    update = group.per_seed("low", "exact-update")
    gradient = group.per_seed("exact-update", "exact")
    wrong = group.per_seed("low", "low-update")
    parts = [
        f"exact update alone {_mean(update)} units a seed",
        f"what an exact gradient adds to it {_mean(gradient)}",
        f"exact gradient alone {_mean(wrong)}",
        *(
            f"{name} alone {_mean(group.per_seed('low', name))} (n = "
            f"{len(group.with_both('low', name))})"
            for name in ("exact-forward", "exact-backward")
            if name in group.arms()
        ),
    ]
    rest = max(abs(gradient.mean), abs(wrong.mean))
    holds = update.low > 0 and rest <= 0.25 * update.mean
    return Claim(
        text="What keeps units dead is the absorption of updates, not the rounding of gradients",
        source=FOUNDING,
        expected="an exact update restores the difference; exact forward, backward or both do not "
        "(within a quarter of it)",
        measured=f"{update.n} seeds: " + "; ".join(parts),
        verdict=_decided(update, holds),
        because="The weights of the layers before do not move, since lr |g| is below half an ulp "
        "of most of them; a dead unit's own gradient is zero in every format, so that nothing else "
        "could bring it back here.",
    )


def own_gradient(results: Sequence[Result]) -> Claim:
    """A dead unit has no gradient of its own."""
    n_alive, n_cases = first_layer(results)
    return Claim(
        text="A dead unit never comes back by its own gradient: where its inputs do not change, "
        "no arithmetic revives it",
        source="derived: ReLU'(0) = 0",
        expected="no near-dead unit of the first layer lives in any arm, without weight decay and "
        "momentum",
        measured=f"{n_alive} of {n_cases} cases",
        verdict="confirmed" if n_cases and not n_alive else "refuted" if n_alive else "open",
        because="A control of the experiment too: what revives units is the drift of their inputs.",
    )


def treatments(groups: Groups) -> list[Claim]:
    """What heals, and what does not."""
    group = groups["bf16-pure", RATE, N_STEPS]
    claims: list[Claim] = []
    for name, heals, text in (
        ("master-fp32", True, "FP32 master weights restore the revival"),
        ("stochastic", True, "Stochastic rounding of updates restores the revival"),
        ("kahan", True, "Compensated (Kahan) updates restore the revival"),
        ("loss-scale", False, "A loss scale does not restore the revival in BF16"),
    ):
        if name in group.arms():
            claims.append(_treatment(group, name, heals, text))
    return claims


def _treatment(group: Group, name: str, heals: bool, text: str) -> Claim:
    seeds = group.with_both("low", name)
    whole = sum(int(each["exact"].sum()) - int(each["low"].sum()) for each in seeds)
    part = sum(int(each[name].sum()) - int(each["low"].sum()) for each in seeds)
    share = part / whole if whole else 0.0
    holds = share >= 0.75 if heals else abs(share) <= 0.25
    return Claim(
        text=text,
        source=SHARED,
        expected="at least three quarters of the difference between BF16 and FP64"
        if heals
        else "within a quarter of that difference of none: nothing underflows in BF16",
        measured=f"{part:+d} of {whole:+d} units, {_mean(group.per_seed('low', name))} a seed, "
        f"{len(seeds)} seeds",
        verdict="open" if len(seeds) < ENOUGH or not whole else "confirmed" if holds else "refuted",
        because="It acts on the absorption of updates."
        if heals
        else "Absorption compares the update with its weight; the scale is taken out before that.",
    )


def permanent(groups: Groups) -> Claim:
    """For how long."""
    group = groups.get(("bf16-pure", RATE, N_LONG))
    early = groups["bf16-pure", RATE, N_STEPS]
    if group is None:
        early_only = _beside(early)
        measured, verdict, seeds = f"not measured in this plan; {early_only}", "open", None
    else:
        seeds = group.per_seed("low", "exact")
        then = [early.seeds[seed] for seed in group.seeds]
        lost = [each["exact"] & ~each["low"] for each in then]
        later = [each["low"] for each in group.seeds.values()]
        n_lost = sum(int(each.sum()) for each in lost)
        n_back = sum(int((a & b).sum()) for a, b in zip(lost, later, strict=True))
        measured = (
            f"of {n_lost} units that FP64 had revived after {N_STEPS} steps and BF16 had not, BF16 "
            f"revived {n_back} by step {N_LONG}; then {_beside(group)}; {seeds.n} seeds"
        )
        verdict = "open" if not n_lost else "refuted" if n_back == n_lost else "refined"
    return Claim(
        text="Such units are dead for good",
        source=FOUNDING,
        expected=f"none of them comes back by step {N_LONG}",
        measured=measured,
        verdict=verdict,
        because="Permanence follows from a law only where nothing moves at all, as with weight "
        "decay below its threshold; what larger gradients and other batches do later is measured "
        "up to this many steps and not known beyond.",
    )


def small_rate(groups: Groups) -> Claim:
    """FP16 at a small learning rate."""
    group = groups.get(("fp16-pure", SLOW_RATE, N_STEPS))
    if group is None:
        return _not_planned("Pure FP16 loses revivals at a small learning rate only", SHARED)
    slow = group.per_seed("low", "exact")
    fast = groups["fp16-pure", RATE, N_STEPS].per_seed("low", "exact")
    return Claim(
        text="Pure FP16 loses revivals at a small learning rate only",
        source=SHARED,
        expected=f"a difference at lr {SLOW_RATE} above zero, and above that at lr {RATE}",
        measured=f"lr {SLOW_RATE}: {_mean(slow)} units a seed (sign flips p = {slow.p_value:.2g}); "
        f"lr {RATE}: {_mean(fast)}; {slow.n} seeds",
        verdict=_decided(slow, slow.low > 0 and slow.mean > fast.mean),
        because="With three bits more than BF16 FP16 absorbs what is eight times smaller.",
    )


def _not_planned(text: str, source: str) -> Claim:
    return Claim(text, source, "see the whole plan", "not in this plan", "open", "Not measured.")


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
