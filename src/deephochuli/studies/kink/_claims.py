"""What others and the founding project say about ReLU'(0), and what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deephochuli.analysis import percent
from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._evidence import count_ratio, mean_of, number, told
from deephochuli.studies._study import Claim, Verdict
from deephochuli.studies.kink._plan import LARGE, NORMED, SMALL
from deephochuli.studies.kink._read import Law, Net, Race, Zone, pick, share, zone_of

BERTOIN = "Bertoin, Bolte, Gerchinovitz, Pauwels, NeurIPS 2021, arXiv 2106.12915"
FOUNDING = "founding project, science section 5"


def told_share(estimate: Estimate) -> str:
    """A share with its interval, in percent."""
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def half_of_the_time(found: Sequence[Zone], law: Law) -> Claim:
    """FP32: about half."""
    large, small = zone_of(found, LARGE, "fp32"), zone_of(found, SMALL, "fp32")
    rate = law.n / max(law.fused, 1)
    measured = f"one zero in {rate:.2g} pre-activations of a dense layer" if law.n else ""
    if small is not None:
        measured += f"; 64-256-256 net, 256 images: {told_share(small.volume)} of {small.n} draws"
    verdict: Verdict = "open"
    because = "No net of the size of the paper's was drawn."
    if large is not None and small is not None:
        measured += f"; {LARGE} net, 60,000 images: {told_share(large.volume)} of {large.n} draws"
        measured += f" with {large.n_zero / large.n:.2g} zeros each"
        is_half = large.volume.high >= 0.25 and large.volume.low <= 0.75
        verdict = "refined" if is_half and small.volume.high < 0.25 else "refuted"
        because = (
            "It holds for a net and an epoch of the paper's size and is no property of 32 bits: "
            "the volume is 1 - exp(-N p0 ulp(b)) with N pre-activations, and one half is N = "
            "0.69 / (p0 ulp(b)); smaller nets are hardly ever in the zone."
        )
    return Claim(
        text="At 32 bits backpropagation differs with ReLU'(0) about half of the time",
        source=BERTOIN,
        expected="volume of the bifurcation zone between 0.25 and 0.75",
        measured=measured,
        verdict=verdict,
        because=because,
    )


def never_at_64(found: Sequence[Net], volumes: Sequence[Zone]) -> Claim:
    """FP64: never."""
    wide = [net for net in found if net.way == "fp64" and net.bias != "zero"]
    n, changed = sum(len(net.changed) for net in wide), sum(sum(net.changed) for net in wide)
    zones = [each for each in volumes if each.way == "fp64"]
    draws, hit = sum(each.n for each in zones), sum(each.n_changed for each in zones)
    zero, few = pick(found, "fp64", "zero"), pick(found, "fp64 of bf16 weights")
    measured = f"{changed} of {n} batches, {hit} of {draws} draws of weights"
    exceptions: list[str] = []
    if zero is not None and any(zero.changed):
        measured += f"; biases of zero: {sum(zero.changed)} of {len(zero.changed)} batches"
        exceptions.append("biases that begin at zero, where an empty patch gives exactly the bias")
    if few is not None and any(few.changed):
        measured += f"; weights with 8 bits: {sum(few.changed)} of {len(few.changed)} batches"
        exceptions.append("weights with few bits on quantised data, whose exact sum can be zero")
    is_immune = not changed and not hit
    return Claim(
        text="At 64 bits it never differs",
        source=f"{BERTOIN}; {FOUNDING}",
        expected="0 batches and 0 draws",
        measured=measured,
        verdict=("refined" if exceptions else "confirmed") if is_immune else "refuted",
        because="It holds for rounding. Not for zeros that no arithmetic makes: "
        + (" and ".join(exceptions) or "none was met")
        + ".",
    )


def always_at_16(found: Sequence[Net], volumes: Sequence[Zone]) -> Claim:
    """16 bits: always."""
    rows = [net for net in found if net.bias == "default" and "64" not in net.way]
    rows = [net for net in rows if "16" in net.way]
    zones = [zone for way in ("bf16", "fp16") if (zone := zone_of(volumes, SMALL, way)) is not None]
    told_rows = [f"{net.way}, {_state(net)} {told_share(net.share_changed)}" for net in rows]
    told_zones = [f"dense net, {e.way}: {told_share(e.volume)} of {e.n} draws" for e in zones]
    measured = "; ".join(["batches: " + ", ".join(told_rows), *told_zones])
    is_always = all(all(net.changed) for net in rows)
    apart = [net for net in rows if net.way.endswith("apart") and not net.epochs]
    verdict: Verdict = "confirmed" if is_always else "refined"
    return Claim(
        text="At 16 bits it always differs",
        source=BERTOIN,
        expected="every batch",
        measured=measured,
        verdict=verdict if all(all(net.changed) for net in apart) else "refuted",
        because="Always in a new net whose biases are added to sums that are rounded to 16 bits "
        "already. A kernel that adds them before it rounds leaves the few zeros that quantised "
        "data make, and training moves pre-activations away from zero: in FP16 some batches of a "
        "trained net meet no zero that matters.",
    )


def zero_is_best(found: Sequence[Race]) -> Claim:
    """Zero trains best with SGD."""
    difference = _difference(found, SMALL, "sgd")
    verdict: Verdict = "open"
    if difference is not None and difference.low > 0:
        verdict = "confirmed"
    if difference is not None and difference.high < 0:
        verdict = "refuted"
    bound = (
        ""
        if difference is None
        else f"{100 * max(map(abs, (difference.low, difference.high))):.2g}"
    )
    return Claim(
        text="SGD learns best with ReLU'(0) = 0",
        source=BERTOIN,
        expected="accuracy with 0 minus accuracy with 1 above zero, paired over seeds",
        measured=_told_points(difference, found, SMALL, "sgd"),
        verdict=verdict,
        because=f"With one zero in a few thousand pre-activations (BF16, biases apart) the "
        f"difference is at most {bound} points on this task; the losses of ten points and more "
        "that the paper reports are those of nets of the size of ImageNet's."
        if verdict == "open"
        else "The paired interval lies on one side of zero.",
    )


def buffered(found: Sequence[Race], volumes: Sequence[Zone]) -> Claim:
    """Batch normalisation and Adam buffer the effect."""
    effects = {
        name: _effect(found, *key)
        for name, key in {
            "SGD": (SMALL, "sgd"),
            "SGD with batch norm": (NORMED, "sgd"),
            "Adam": (SMALL, "adam"),
        }.items()
    }
    told_effects = [f"{name} {told(each, 2)}" for name, each in effects.items() if each is not None]
    plain, normed = zone_of(volumes, SMALL, "bf16"), zone_of(volumes, NORMED, "bf16")
    measured = "mean |loss with 1 - loss with 0| over the loss: " + "; ".join(told_effects)
    widened = False
    if plain is not None and normed is not None:
        measured += f"; volume in BF16 {told_share(plain.volume)}"
        measured += f" without and {told_share(normed.volume)} with batch norm"
        widened = normed.volume.low > plain.volume.high
    base, others = effects["SGD"], [effects["SGD with batch norm"], effects["Adam"]]
    is_less = base is not None and all(e is not None and e.high < base.low for e in others)
    is_more = base is not None and all(e is not None and e.low > base.high for e in others)
    verdict: Verdict = "confirmed" if is_less else ("refuted" if is_more else "open")
    return Claim(
        text="Batch normalisation and Adam buffer the effect on training",
        source=BERTOIN,
        expected="a smaller change of the loss with either than with SGD alone",
        measured=measured,
        verdict=verdict,
        because=(
            "The zone itself is wider with batch norm, which subtracts a mean from inputs that "
            "are rounded already; "
            if widened
            else ""
        )
        + "whether training suffers less is decided by the intervals of the loss alone.",
    )


def _race(found: Sequence[Race], net: str, optimizer: str) -> Race | None:
    wanted = (net, optimizer, "bf16 apart")
    return next((e for e in found if (e.net, e.optimizer, e.way) == wanted), None)


def _difference(found: Sequence[Race], net: str, optimizer: str) -> Estimate | None:
    race = _race(found, net, optimizer)
    return None if race is None else mean_of([row[0] - row[-1] for row in race.accuracy])


def _effect(found: Sequence[Race], net: str, optimizer: str) -> Estimate | None:
    race = _race(found, net, optimizer)
    return None if race is None else mean_of([abs(row[-1] - row[0]) / row[0] for row in race.loss])


def _told_points(
    difference: Estimate | None, found: Sequence[Race], net: str, optimizer: str
) -> str:
    race = _race(found, net, optimizer)
    if difference is None or race is None:
        return ""
    points = Estimate(*(100 * x for x in (difference.value, difference.low, difference.high)))
    return f"{told(points, 2)} points, BF16 with biases apart, {len(race.accuracy)} seeds"


def shares_of_zeros(found: Sequence[Net]) -> Claim:
    """0.004 to 0.07 % zeros."""
    chosen = [net for net in found if net.way in ("bf16 apart", "fp16 apart")]
    chosen = [net for net in chosen if net.bias == "default"]
    shares = {f"{net.way}, {_state(net)}": net.numerical / net.n for net in chosen}
    low, high = 0.8 * 4e-5, 1.25 * 7e-4
    is_inside = all(low <= each <= high for each in shares.values())
    return Claim(
        text="With biases added after rounding 0.004 to 0.07 % of the pre-activations are exactly "
        "zero without being so by structure",
        source=FOUNDING,
        expected="between 0.004 % and 0.07 %, within a quarter",
        measured="; ".join(f"{name} {percent(each)}" for name, each in shares.items()),
        verdict="confirmed" if is_inside else "refined",
        because="FP16 at the lower end, BF16 at the upper: the share is p0 ulp(b), and their ulps "
        "differ by eight."
        if is_inside
        else "The share is p0 ulp(b), which moves with the weights.",
    )


def _state(net: Net) -> str:
    return f"{net.epochs} epochs" if net.epochs else "new"


def expected_zeros(found: Sequence[Net], law: Law) -> Claim:
    """N p0 ulp(b)."""
    rows = [net for net in found if net.predicted and net.way.endswith("apart")]
    ratios = {
        f"{net.way}, {_state(net)}": count_ratio(net.causes["cancellation"], net.predicted or 1.0)
        for net in rows
    }
    if law.predicted:
        ratios[f"fp32 apart, {law.n:.2g} pre-activations"] = count_ratio(law.apart, law.predicted)
    is_right = [_is_one(ratio) for ratio in ratios.values()]
    fused = count_ratio(law.fused, law.predicted) if law.predicted else None
    return Claim(
        text="Zeros by rounding number N p0 ulp(b), summed over channels",
        source=f"{FOUNDING}, and section 2",
        expected="observed over expected 1: inside the interval, or within 15 %",
        measured="; ".join(f"{name} {told(ratio)}" for name, ratio in ratios.items()),
        verdict="confirmed" if all(is_right) else "refined",
        because=(
            "The last addend's gap is the lattice on which a sum near zero lies."
            if all(is_right)
            else "The order of magnitude is that of the gap of the bias; not every count agrees "
            "within its interval, which takes zeros as independent."
        )
        + (f" With torch's own FP32 kernel: {told(fused)} of it." if fused is not None else ""),
    )


def _is_one(ratio: Estimate) -> bool:
    return ratio.low <= 1 <= ratio.high or abs(math.log(max(ratio.value, 1e-9))) < math.log(1.15)


def bf16_always(found: Sequence[Net]) -> Claim:
    """BF16 with biases apart: 100 %."""
    rows = [net for net in found if net.way == "bf16 apart" and net.bias == "default"]
    n, changed = sum(len(net.changed) for net in rows), sum(sum(net.changed) for net in rows)
    r = "; ".join(f"r(1) = {number(net.size, 2)} ({_state(net)})" for net in rows)
    return Claim(
        text="BF16 with biases added after rounding: every batch hangs on ReLU'(0), and the "
        "gradient changes by up to 7 %",
        source=f"{FOUNDING} and short answer 5",
        expected="100 % of batches; largest r at most 0.07, within a quarter",
        measured=f"{told_share(share(changed, n))} of {n} batches; medians {r}; largest "
        f"{number(max(max(net.whole) for net in rows), 2)}",
        verdict="refuted"
        if changed < n
        else ("confirmed" if max(max(net.whole) for net in rows) <= 0.0875 else "refined"),
        because="Each batch meets some hundred zeros; how much hangs on them is decided by which "
        "units they lie in.",
    )


def linear_in_alpha(found: Sequence[Net]) -> Claim:
    """r(1/2) = r(1) / 2."""
    ratios = [
        net.linearity
        for net in found
        if net.way.endswith("apart") and net.linearity is not None and net.bias == "default"
    ]
    is_half = all(abs(ratio - 0.5) < 0.03 for ratio in ratios)
    return Claim(
        text="r(1/2) = 0.5 r(1)",
        source=FOUNDING,
        expected="0.50 +- 0.03",
        measured="medians over batches " + ", ".join(number(ratio) for ratio in ratios),
        verdict="confirmed" if is_half else "refined",
        because="Zeros are so rare that hardly two lie on one path, and the gradient is linear in "
        "the slope of each.",
    )


def structure_is_harmless(found: Sequence[Net]) -> Claim:
    """Structural zeros change nothing."""
    bare = [net for way in ("fp64", "fp32") if (net := pick(found, way, "none")) is not None]
    zero = [net for way in ("fp64", "fp32") if (net := pick(found, way, "zero")) is not None]
    changed, begun = sum(sum(net.changed) for net in bare), sum(sum(net.changed) for net in zero)
    n, n_begun = (sum(len(net.changed) for net in rows) for rows in (bare, zero))
    empty = ", ".join(percent(net.first[1] / net.first[0]) for net in bare[:1])
    verdict: Verdict = "refuted" if changed else ("refined" if begun else "confirmed")
    return Claim(
        text="Structural zeros (13 % of the first layer without biases) change no gradient",
        source=FOUNDING,
        expected="13 % of the first layer, 0 batches, in every format",
        measured=f"{empty} of the first layer, {changed} of {n} batches without biases; with "
        f"biases that are zero {begun} of {n_begun}",
        verdict=verdict,
        because="Their inputs are zero, and so are the gradients of the weights. The gradient of "
        "a bias is not: where biases exist and are still zero, as many initialisations leave them, "
        "the same zeros change every gradient, in binary64 too.",
    )


def extras(found: Sequence[Net]) -> Claim:
    """Without biases: 21 zeros in BF16 and 5 in FP16."""
    rows = {way: net for way in ("bf16", "fp16") if (net := pick(found, way, "none")) is not None}
    same = pick(found, "fp64 of bf16 weights", "none")
    measured = "; ".join(
        f"{way} {net.numerical} ({net.causes['exact']} of them exact sums), "
        f"{told_share(net.share_changed)} of batches"
        for way, net in rows.items()
    )
    is_exact = all(net.causes["exact"] >= 0.5 * net.numerical for net in rows.values())
    if same is not None:
        measured += f"; binary64 with the same BF16 weights {same.numerical}"
    return Claim(
        text="Without biases 16 bits make a few zeros more (21 in BF16, 5 in FP16), which change "
        "82 % and 27 % of the batches",
        source=FOUNDING,
        expected="21 and 5 zeros within their Poisson intervals; 82 % and 27 % of 11 batches",
        measured=measured,
        verdict="refined" if is_exact else "confirmed",
        because="They are there, and are not made by rounding pre-activations: the exact sums of "
        "few-bit weights on pixels of 17 levels are zero, and binary64 finds the same ones.",
    )
