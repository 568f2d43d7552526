"""What the measurements say about the founding document's claims on swamping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deephochuli.analysis import percent
from deephochuli.studies._evidence import count_ratio, exponent_of, mean_of, number, told
from deephochuli.studies._study import Claim, Conclusion, Result, Verdict
from deephochuli.studies.swamping import _expected
from deephochuli.studies.swamping._pictures import figures, tables
from deephochuli.studies.swamping._read import (
    Key,
    Spread,
    broken,
    by_depth,
    growths,
    of_kind,
    off_by,
    sums,
    updates,
)

FOUNDING = "founding project, section 1"
PROTOTYPE = "an earlier prototype of this project"
OURS = "derived (Format.absorption_threshold)"
HALF_ULP = 2.0**-24
"""Half the gap above 1 in FP32."""


def conclude(results: Sequence[Result]) -> Conclusion:
    """Claims, tables and figures from all points."""
    trained = sums(results, trained=True)
    return Conclusion(
        answer=_answer(results, trained),
        claims=(
            _document(results),
            _thresholds(results),
            *_pairs(results),
            _dice(results),
            _forward(trained),
            _gradients(results, trained),
            _training(results, trained),
            _orders(trained),
            *_prototype_again(results, trained),
            *_narrow(results, trained),
            *_growth(results),
            *_depth(results),
            *_updates(results),
        ),
        tables=tables(results),
        figures=figures(results),
        notes=(
            "An addition is absorbed when its result is its larger operand and the smaller one is "
            "not zero. Sums are replayed with the true addends of the digits network (conv 1-16, "
            "conv 16-32, max-pool, conv 32-32, 512-64, 64-10) on its first 64 training images.",
            "Shares are means over networks trained from different initial weights; ranges are "
            "those of the networks.",
            "Updates: weights, gradients and optimizer states in one format, as torch computes in "
            "it on a CPU; the loss in FP32. FP16 has one seed, the others two.",
        ),
    )


def _answer(results: Sequence[Result], trained: Mapping[Key, Spread]) -> str:
    mass = sums(results, trained=True, value="lost_mass")
    shares = _weight_gradients(trained, "fp32")
    lost = _weight_gradients(mass, "fp32")
    return (
        "FP32 absorbs x into 1 exactly for 0 < x <= 2^-24 = 5.960464477539063e-08 (the tie "
        "included) and for 0 > x >= -2^-25. In the trained digits network FP32 gradient sums "
        f"absorb {percent(min(shares))} to {percent(max(shares))} of their additions and "
        f"{min(lost):.0e} to {max(lost):.0e} of the mass if added one after the other; forward "
        "sums lose nothing that matters."
    )


def _weight_gradients(found: Mapping[Key, Spread], way: str) -> list[float]:
    """Means of the sequential weight-gradient sums of a format."""
    return [
        value.mean
        for (_, kind, name, order), value in found.items()
        if (kind, name, order) == ("weight gradient", way, "sequential")
    ]


def _document(results: Sequence[Result]) -> Claim:
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


def _thresholds(results: Sequence[Result]) -> Claim:
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


def _pairs(results: Sequence[Result]) -> Iterator[Claim]:
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


def _dice(results: Sequence[Result]) -> Claim:
    values = of_kind(results, "stochastic")[0].values
    ratios = [
        count_ratio(row["absorbed"], values["n"] * (1 - row["part"])) for row in values["rows"]
    ]
    inside = sum(each.low <= 1 <= each.high for each in ratios)
    worst = max(abs(each.value - 1) for each in ratios)
    return Claim(
        text="Stochastic rounding absorbs x with the probability 1 - |x| / ulp",
        source=OURS,
        expected="counts over their expectation: 1",
        measured=f"{inside} of {len(ratios)} intervals hold 1, n = {values['n']} each; largest "
        f"difference {100 * worst:.2g} %",
        verdict="confirmed" if inside >= len(ratios) - 1 else "refuted",
        because="No addend is absorbed for certain, and none is lost in the mean.",
    )


def _forward(trained: Mapping[Key, Spread]) -> Claim:
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


def _gradients(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Claim:
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


def _training(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Claim:
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


def _orders(trained: Mapping[Key, Spread]) -> Claim:
    triples = [
        [trained[(*key[:3], order)].mean for order in _expected.ORDERS]
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


def _prototype_again(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Iterator[Claim]:
    """The table of the prototype, cell by cell."""
    cells = {
        key: (trained[key], theirs)
        for key, theirs in _expected.SUMS.items()
        if key in trained and theirs >= 0.01
    }
    if not cells:
        return
    near = [key for key, (ours, theirs) in cells.items() if _is_near(ours, theirs, 1.5)]
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


def _is_near(ours: Spread, theirs: float, factor: float) -> bool:
    return ours.low <= theirs <= ours.high or off_by(ours.mean, theirs) <= factor


def _narrow(results: Sequence[Result], trained: Mapping[Key, Spread]) -> Iterator[Claim]:
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


def _growth(results: Sequence[Result]) -> Iterator[Claim]:
    found = list(growths(results))
    ratios = [
        (growth, k, ours.mean, law.mean)
        for growth in found
        for k, ours, law in zip(
            growth.ks, growth.shares["sequential"], growth.predicted, strict=True
        )
        if ours.mean > 1e-3
    ]
    worst = max(ratios, key=lambda each: off_by(each[2], each[3]))
    by_format = {
        name: max(off_by(ours, law) for growth, _, ours, law in ratios if growth.format == name)
        for name in dict.fromkeys(growth.format for growth, *_ in ratios)
    }
    yield Claim(
        text="A random walk predicts the absorbed share of sequential sums from their addends",
        source="derived (docs/swamping.md)",
        expected="within a quarter",
        measured="within a factor of "
        + ", ".join(f"{factor:.2f} ({name})" for name, factor in by_format.items())
        + f", {len(ratios)} cases (worst: {worst[0].format}, {worst[0].addends}, "
        f"K = {worst[1]}: {worst[2]:.2g}, predicted {worst[3]:.2g})",
        verdict="confirmed" if off_by(worst[2], worst[3]) <= 1.25 else "refined",
        because="What matters is how large a partial sum is beside the next addend. Where most "
        "addends are absorbed the sum stops growing, which the walk does not know: it then "
        "predicts too much.",
    )
    for addends, law, low, high in (("normal", 0.5, 0.4, 0.6), ("positive", 1.0, 0.8, 1.2)):
        slopes = {
            growth.format: slope
            for growth in found
            if growth.addends == addends
            and (slope := _slope(growth.ks, growth.shares["sequential"])) is not None
        }
        if not slopes:
            continue
        is_so = all(low <= slope <= high for slope in slopes.values())
        yield Claim(
            text=f"The absorbed share grows like K^{law:g} for {addends} addends, until it "
            "saturates",
            source="derived (docs/swamping.md)",
            expected=f"exponents of sequential sums from {low} to {high}, where shares are below "
            "0.2",
            measured=", ".join(f"{name}: {slope:.2f}" for name, slope in slopes.items()),
            verdict="confirmed" if is_so else "refined",
            because="Partial sums of both signs grow like a random walk, those of one sign like K. "
            "Blocks and trees do not grow so: their chains stay short.",
        )


def _slope(ks: Sequence[int], shares: Sequence[Spread]) -> float | None:
    """Exponent of the growth where it is neither noise nor saturated."""
    pairs = [(float(k), s.mean) for k, s in zip(ks, shares, strict=True) if 1e-6 < s.mean < 0.2]
    if len(pairs) < 2:
        return None
    return exponent_of([k for k, _ in pairs], [share for _, share in pairs])


def _depth(results: Sequence[Result]) -> Iterator[Claim]:
    nets = by_depth(results, "forward")
    if not nets:
        return
    exponents: list[float] = []
    factors: list[float] = []
    for rows in nets:
        inner = rows[1:]
        depths = [float(i + 2) for i in range(len(inner))]
        exponents.append(exponent_of(depths, [row["absorbed"][0] for row in inner]))
        factors += [off_by(row["absorbed"][0], row["predicted"]) for row in inner]
    exponent = mean_of(exponents)
    yield Claim(
        text="Swamping in forward sums does not grow with depth",
        source=OURS,
        expected="exponent in depth between -0.2 and 0.2, at one K, in BF16",
        measured=f"exponent {told(exponent, 2)}; {len(nets)} networks of {len(nets[0])} layers; "
        f"prediction right within a factor of {sorted(factors)[int(0.95 * len(factors))]:.2f} in "
        "95 % of the layers",
        verdict="confirmed" if abs(exponent.value) <= 0.2 else "refined",
        because="The share is that of a partial sum to its own addends: a scale of activations "
        "common to both drops out.",
    )


def _updates(results: Sequence[Result]) -> Iterator[Claim]:
    found = updates(results)
    cells = {
        key: (ours, _expected.UPDATES[key])
        for key, ours in found.items()
        if key in _expected.UPDATES
    }
    near = {key for key, (ours, theirs) in cells.items() if _is_like(ours, theirs)}
    far = [
        f"{optimizer}, {fmt}, step {step}: {cells[optimizer, fmt, step][0]} "
        f"({cells[optimizer, fmt, step][1]:g})"
        for optimizer, fmt, step in cells
        if (optimizer, fmt, step) not in near
    ]
    verdict: Verdict = "confirmed" if len(near) >= 0.9 * len(cells) else "refined"
    lost = broken(results)
    yield Claim(
        text="The shares of absorbed updates of the prototype's table",
        source=PROTOTYPE,
        expected="within 0.05, or within a factor of 1.5; 90 % of the cells",
        measured=f"{len(near)} of {len(cells)} cells"
        + ("; others: " + "; ".join(far) if far else "")
        + (f"; no gradient left to update with: {', '.join(lost)}" if lost else ""),
        verdict=verdict,
        because="Early steps repeat closely; after 220 steps the networks have gone different "
        "ways."
        + (" Adam's eps of 1e-8 is zero in FP16, and so are small squares." if lost else ""),
    )
    small = [found[key] for key in found if key[:2] == ("SGD 0.01", "bf16")]
    if small:
        low, high = min(each.low for each in small), max(each.high for each in small)
        yield Claim(
            text="BF16 absorbs 98 % of the updates of SGD with learning rate 0.01",
            source=PROTOTYPE,
            expected="0.98 within 0.02",
            measured=f"{number(low)} to {number(high)}",
            verdict="confirmed" if low > 0.96 and high < 1 else "refined",
            because="An update moves a BF16 weight only from 2^-9 of it on.",
        )


def _is_like(ours: Spread, theirs: float) -> bool:
    return abs(ours.mean - theirs) <= 0.05 or _is_near(ours, theirs, 1.5)
