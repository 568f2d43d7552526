"""Claims on the sums of a network: which passes absorb, in which order and format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deephochuli.analysis import percent
from deephochuli.studies._evidence import number
from deephochuli.studies._study import Claim, Result
from deephochuli.studies.swamping._expected import ORDERS, PROTOTYPE, SUMS
from deephochuli.studies.swamping._read import Key, Spread, is_near, off_by, sums


def forward(trained: Mapping[Key, Spread]) -> Claim:
    """Forward sums lose nothing."""
    shares = [
        value.high
        for (layer, kind, way, _), value in trained.items()
        if (kind, way) == ("forward", "fp32") and layer != "conv1"
    ]
    worst = max(shares)
    return Claim(
        text="The forward pass in FP32 loses nothing measurable to swamping",
        source=PROTOTYPE,
        expected="absorbed share of the forward sums below 1e-3, in every order",
        measured=f"at most {number(worst)} ({len(shares)} kinds of sums, worst network)",
        verdict="confirmed" if worst < 1e-3 else "refuted",
        because="Products of one layer lie within few binades of each other and of their sum.",
    )


def gradients(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Claim:
    """Gradient sums absorb much, of little mass."""
    mass = sums(results, trained=True, value="lost_mass")
    picked = [
        (value, mass[key])
        for key, value in trained.items()
        if key[1:] == ("weight gradient", "fp32", "sequential") and key[0] != "fc1"
    ]
    low, high = min(a.low for a, _ in picked), max(a.high for a, _ in picked)
    least, most = min(m.low for _, m in picked), max(m.high for _, m in picked)
    is_so = low > 0.05 and high < 0.6 and most < 1e-5
    return Claim(
        text="FP32 gradient sums absorb 13 to 39 % of the addends, but only 1e-8 to 2e-7 of the "
        "mass",
        source=PROTOTYPE,
        expected="many additions, no consequence: shares of tenths, masses below 1e-6",
        measured=f"shares {percent(low)} to {percent(high)}, masses {least:.1e} to {most:.1e}, "
        "sequential sums of four layers",
        verdict=("confirmed" if low > 0.13 and high < 0.42 else "refined") if is_so else "open",
        because="Fitted samples contribute addends that are tiny beside those of the few others; "
        "how tiny depends on how far a network is trained.",
    )


def training(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Claim:
    """What training makes of it."""
    fresh = sums(results, trained=False)
    picked = [
        (trained[key], fresh[key])
        for key in trained
        if key[1:] == ("weight gradient", "fp32", "sequential") and key in fresh
    ]
    before, after = max(b.high for _, b in picked), min(a.low for a, _ in picked)
    return Claim(
        text="Absorption in gradient sums grows with training",
        source=PROTOTYPE,
        expected="FP32, sequential: below 1e-3 at the start, tenths after training",
        measured=f"at most {number(before)} at the start, at least {number(after)} after training, "
        f"{len(picked)} layers",
        verdict="confirmed" if before < 1e-3 and after > 10 * before else "refuted",
        because="At the start all samples contribute alike.",
    )


def orders(trained: Mapping[Key, Spread]) -> Claim:
    """What the order of a sum does."""
    triples = [
        [trained[(*key[:3], order)].mean for order in ORDERS]
        for key in trained
        if key[3] == "sequential" and (*key[:3], "pairwise") in trained and key[1] != "bias add"
    ]
    large = [each for each in triples if each[0] > 0.01]
    ordered = sum(each[0] >= each[1] >= each[2] for each in large)
    factors = sorted(each[0] / each[2] for each in large if each[2])
    return Claim(
        text="Sequential sums absorb most, blocks of 32 less, pairwise sums least",
        source=PROTOTYPE,
        expected="in every sum in which at least 1 % of the additions are absorbed",
        measured=f"{ordered} of {len(large)} sums; sequential ones absorb {number(factors[0])} to "
        f"{number(factors[-1])} times as much as pairwise ones, in the median "
        f"{number(factors[len(factors) // 2])} times",
        verdict="confirmed" if ordered >= 0.95 * len(large) else "refuted",
        because="An addend meets a partial sum of few addends in a tree, and of all before it in a "
        "chain.",
    )


def prototype_again(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Iterator[Claim]:
    """The table of the prototype, cell by cell."""
    cells = {
        key: (trained[key], theirs)
        for key, theirs in SUMS.items()
        if key in trained and theirs >= 0.01
    }
    if not cells:
        return
    near = [key for key, (ours, theirs) in cells.items() if is_near(ours, theirs, 1.5)]
    far = [
        f"{' '.join(key)}: {ours} ({theirs:g})"
        for key, (ours, theirs) in cells.items()
        if key not in near
    ]
    yield Claim(
        text="The absorbed shares of the prototype's table, of 1 % and more",
        source=PROTOTYPE,
        expected="within a factor of 1.5 of our mean, or within our range",
        measured=f"{len(near)} of {len(cells)} cells"
        + ("; others: " + "; ".join(far) if far else ""),
        verdict="confirmed" if len(near) == len(cells) else "refined",
        because="Theirs is one network, from other initial weights and other random outputs; ours "
        "are three. What is left differs from one network to the next.",
    )


def narrow(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Iterator[Claim]:
    """What narrow accumulators do."""
    fp16, bf16 = (
        {key[0]: value for key, value in trained.items() if key[1:] == (kind, way, "sequential")}
        for kind, way in (("weight gradient", "fp16"), ("weight gradient", "bf16"))
    )
    if fp16 and bf16:
        gone = sums(results, trained=True, value="underflowed")
        lower = sum(fp16[layer].mean < bf16[layer].mean for layer in fp16)
        more = sum(
            gone[layer, "weight gradient", "fp16", "sequential"].mean
            > 10 * gone[layer, "weight gradient", "bf16", "sequential"].mean
            for layer in fp16
        )
        yield Claim(
            text="FP16 absorbs fewer gradient addends than BF16 because products underflow before",
            source=PROTOTYPE,
            expected="fewer absorbed, and more products of zero, in every layer",
            measured=f"fewer absorbed in {lower} of {len(fp16)} layers; more than ten times as "
            f"many products rounded to zero in {more}",
            verdict="confirmed" if lower == more == len(fp16) else "refined",
            because="FP16 has 3 bits more, so less is absorbed anyway; and what is zero cannot be.",
        )
    key = ("conv3", "forward", "fp8_e4m3fn", "sequential")
    if key in trained:
        lost = sums(results, trained=True, value="lost_mass")[key]
        is_so = off_by(trained[key].mean, 0.48) < 1.25 and off_by(lost.mean, 0.17) < 1.5
        yield Claim(
            text="E4M3 accumulators absorb half of the third convolution's forward additions, and "
            "a sixth of the mass",
            source=PROTOTYPE,
            expected="share 0.48, mass 0.17, within a factor of 1.25 and 1.5",
            measured=f"share {trained[key]}, mass {lost}",
            verdict="confirmed" if is_so else "refined",
            because="An accumulator of 4 bits stops moving when it is 16 times its addends.",
        )
    yield from _bias(trained)


def _bias(trained: Mapping[Key, Spread]) -> Iterator[Claim]:
    limits = {"fp32": 1e-6, "fp16": 0.025, "bf16": 0.27}
    found = {
        way: max(v.high for k, v in trained.items() if k[1] == "bias add" and k[2] == way)
        for way in limits
        if any(k[1] == "bias add" and k[2] == way for k in trained)
    }
    yield Claim(
        text="Bias additions absorb 0 (FP32), at most 2.5 % (FP16), at most 27 % (BF16)",
        source=PROTOTYPE,
        expected="these limits, within a factor of 1.5",
        measured=", ".join(f"{way}: at most {number(value)}" for way, value in found.items()),
        verdict="confirmed"
        if all(value <= 1.5 * limits[way] for way, value in found.items())
        else "refined",
        because="One of two operands is absorbed, the bias or the sum, whichever is smaller.",
    )
