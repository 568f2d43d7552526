"""Claims on dead units that come back in exact arithmetic and not in a format."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis.death import Cluster
from deephochuli.studies._study import Claim, Result, Verdict
from deephochuli.studies.dead_neurons._plan import (
    ENOUGH,
    FOUNDING,
    N_LONG,
    N_SEEDS,
    N_STEPS,
    RATE,
    SHARED,
    SLOW_RATE,
)
from deephochuli.studies.dead_neurons._read import Group, Groups, first_layer


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
