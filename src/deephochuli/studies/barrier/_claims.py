"""Statements about the probability barrier, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deephochuli.analysis.barrier import Interval, poisson_two_sided
from deephochuli.studies._study import Claim, Result, Verdict
from deephochuli.studies.barrier._read import Counted, normal, rows, slope

REJECTED = 1e-3
FOUNDING = "founding project, probability barrier"


def decay(fp32: Counted, fp64: Counted) -> Claim:
    """The linear decay is no property of a format."""
    slopes = {each.way: slope(each.tally, _far(each)) for each in (fp32, fp64)}
    holds = all(abs(found.value - 1) < 0.01 for found in slopes.values())
    return Claim(
        text="Towards zero the number of values falls linearly with |z|, and this is a barrier "
        "that the arithmetic makes.",
        source=f"{FOUNDING}, Figure 2",
        expected="if rarity makes it: exponent 1 ± 0.01 in FP32 and in FP64 alike",
        measured="; ".join(
            f"{way.upper()} {found.value:.6f} [{found.low:.6f}, {found.high:.6f}]"
            for way, found in slopes.items()
        )
        + f"; N = {fp32.judgement.n:.3g} each",
        verdict="refined" if holds else "open",
        because="The decay is there, with the same exponent in FP32 and FP64: it is what any "
        "density makes that is finite and not zero at z = 0. It says nothing about a format.",
    )


def hardware(fp32: Counted, fp64: Counted, counts: Sequence[Counted]) -> Claim:
    """The end of the histogram moves with N."""
    first = [each for each in counts if each.layer == fp32.layer]
    exponents = "; ".join(
        f"{each.name} {_text(each.free.exponent)} for N from {each.free.n[0]:.2g} to "
        f"{each.free.n[-1]:.2g}"
        for each in first
    )
    ends = ", ".join(
        f"{each.name} {each.judgement.rarity.cutoff:.2g} of {each.judgement.n:.3g} (predicted "
        f"{each.judgement.rarity.predicted.value:.2g})"
        for each in first
    )
    moves = all(
        each.free.exponent.holds(-1) and not each.free.exponent.holds(0) for each in (fp32, fp64)
    )
    return Claim(
        text="Histograms of |z| end near 1e-8 because the hardware can go no further.",
        source=FOUNDING,
        expected="a limit of the hardware: exponent 0 of the smallest |z| against N; rarity: -1",
        measured=f"exponents {exponents}; smallest {ends}",
        verdict="refuted" if moves else "open",
        because="The smallest magnitude falls as 1/N in both formats, so its place tells how many "
        f"values were drawn: 1e-8 is the expected end for N = {_n_at(fp32, 1e-8):.2g} and 1e-9 for "
        f"N = {_n_at(fp32, 1e-9):.2g} at the density of this layer. Towards N = "
        f"{fp32.judgement.visible_from:.2g} the lattice of the biases slows FP32 down (exponent "
        f"{_text(fp32.law.exponent)} up to {fp32.law.n[-1]:.2g}); other biases would move it.",
    )


def expected_end(fp64: Counted) -> Claim:
    """1/(2 N p0) tells the end of the FP64 histogram."""
    rarity = fp64.judgement.rarity
    inside = rarity.predicted.low <= rarity.cutoff <= rarity.predicted.high
    return Claim(
        text="The smallest of N magnitudes in FP64 is what 1/(2 N p0) says.",
        source="formula: the minimum of N values with density p0 at 0 is exponential",
        expected=f"within the 95 % range [{rarity.predicted.low:.2g}, {rarity.predicted.high:.2g}]",
        measured=f"{rarity.cutoff:.3g} at N = {fp64.judgement.n:.4g}, p0 = {_text(rarity.p0)}; "
        f"{fp64.judgement.zeros.seen} exact zeros",
        verdict="confirmed" if inside and not fp64.judgement.zeros.seen else "open",
        because=f"Probability of a smallest magnitude as large as this or larger: {rarity.p:.2g}.",
    )


def anchored(with_bias: Sequence[Counted], results: Sequence[Result]) -> Claim:
    """The lattice of FP32 is the ulp of the bias, and moves with it."""
    lattices = [each.judgement.lattice for each in with_bias if each.way == "fp32"]
    agreeing = sum(each.n_agreeing for each in lattices)
    channels = sum(each.n_channels for each in lattices)
    gone, moved, n = _interventions(results)
    holds = agreeing >= 0.95 * channels and all(each.owner == "bias" for each in lattices)
    return Claim(
        text="Small pre-activations in FP32 are anchored to the bias: they are multiples of its "
        "ulp, channel by channel.",
        source=f"{FOUNDING}, bias anchoring; Sterbenz: the last addition is exact near zero",
        expected="spacing = ulp(b) or half of it in every channel; without bias the forced zero "
        "bits vanish, and with b + shift the spacing is ulp(b + shift)",
        measured=f"{agreeing} of {channels} channels of {len(lattices)} layer(s) agree; "
        f"spacing {min(each.spacing or math.nan for each in lattices):.3g} and up; of {n} "
        f"layers of models with this lattice {gone} lose it with b = 0 and {moved} move with b",
        verdict="confirmed" if holds and gone >= 0.9 * n and moved >= 0.9 * n else "refined",
        because="This holds where the bias is added last, as torch's convolutions do it here. "
        "Kernels that add it first have the lattice of the last partial sum instead.",
    )


def zeros(fp32: Counted, others: Sequence[Counted]) -> Claim:
    """Exact zeros of FP32 are as many as the lattice makes."""
    it = fp32.judgement
    expected = it.zeros.by_lattice
    elsewhere = ", ".join(f"{each.name}: {each.judgement.zeros.seen}" for each in others)
    clean = all(not each.judgement.zeros.seen for each in others if each.way == "fp64")
    verdict: Verdict = "open"
    if clean and it.zeros.lattice_p > REJECTED:
        verdict = "confirmed" if expected >= 3 else "open"
    return Claim(
        text="FP32 makes exact zeros that FP64 does not make of the same inputs, as many as the "
        "lattice of the biases predicts.",
        source="formula: Poisson with mean sum of N p0 ulp(b) over channels",
        expected=f"{expected:.3g} of {it.n:.3g}, two-sided p > {REJECTED:g}; none in FP64",
        measured=f"{it.zeros.seen} (p = {it.zeros.lattice_p:.2g}), of which {it.zeros.in_shadow} "
        f"are zero in binary64 too; {elsewhere}",
        verdict=verdict,
        because=f"One zero in {it.visible_from / math.log(2):.2g} values: the lattice shows "
        "itself in a histogram only at about as many values as end near it by rarity, so that the "
        "two are easily taken for each other.",
    )


def visible(counts: Sequence[Counted]) -> Claim:
    """From which N on the lattice can be seen at all."""
    stated = {"conv1": 1.09e8, "conv2": 3.5e8}
    found = {
        each.layer: each.judgement.visible_from / math.log(2)
        for each in counts
        if each.way == "fp32" and each.bias
    }
    close = all(1 / 3 < found[layer] / stated[layer] < 3 for layer in found)
    return Claim(
        text="The lattice of FP32 makes one exact zero in 1.09e8 values of the first layer and in "
        "3.5e8 of the second.",
        source="reference tables, probability barrier",
        expected="within a factor of 3: the biases are those of another training",
        measured=", ".join(f"{layer} one in {value:.3g}" for layer, value in found.items()),
        verdict="confirmed" if close else "refined",
        because="The rate is sum N p0 ulp(b) over N, and ulps of biases are powers of two.",
    )


def narrow(results: Sequence[Result]) -> Claim:
    """Zeros of a BF16 accumulator with the bias last."""
    found = [
        row["judgement"]
        for params, row in rows(results)
        if params["way"] == "bf16, bias last"
        and params["model"] == "convolutional"
        and params["bias"]
        and row["layer"] == "2"
    ]
    it = found[0]
    expected = it["zeros_by_lattice"] or 0.0
    p = poisson_two_sided(it["zeros"], expected)
    return Claim(
        text="With sums in BF16, the bias last, the second convolution makes 194 exact zeros in "
        "2^20 values.",
        source="reference tables, probability barrier",
        expected=f"Poisson with the mean of this net's biases, {expected:.4g}, p > {REJECTED:g}",
        measured=f"{it['zeros']} of {it['n']} (p = {p:.2g})",
        verdict="confirmed" if p > REJECTED and it["limit"] == "bias" else "refined",
        because="The number follows from N, p0 and the ulps of the biases; 194 is that of another "
        "training and other inputs.",
    )


def few_values(results: Sequence[Result]) -> Claim:
    """Trailing zeros prove the lattice from four values."""
    proven = total = 0
    for params, row in rows(results):
        if params["way"] == "fp32" and row["judgement"]["lattice"]["owner"] == "bias":
            proven += row["groups_of_four"][0]
            total += row["groups_of_four"][1]
    share = proven / total if total else math.nan
    return Claim(
        text="Three or four values below 2^-12 prove the lattice of FP32 by their trailing zero "
        "bits (p < 1e-6).",
        source="formula: trailing zeros without a lattice are negative binomial",
        expected="nearly all groups of four do",
        measured=f"{proven} of {total} groups of four ({100 * share:.1f} %)",
        verdict="confirmed" if share > 0.95 else "refined" if share > 0.5 else "refuted",
        because="Each such value carries about twelve forced zero bits; histograms need 10^8 "
        "values for what four values show.",
    )


def blunt_tests(results: Sequence[Result]) -> Claim:
    """Tests of magnitudes alone do not see the lattice."""
    proven = {
        (params["model"], params["bias"], row["layer"])
        for params, row in rows(results)
        if params["way"] == "fp32" and row["judgement"]["lattice"]["owner"] is not None
    }
    hit, n = {"fp32": 0, "fp64": 0}, 0
    for params, row in rows(results):
        way, key = params["way"], (params["model"], params["bias"], row["layer"])
        if way in hit and key in proven:
            values = [row["judgement"][name] for name in ("bins_p", "uniform_p")]
            hit[way] += sum(p is not None and p < REJECTED for p in values)
            n += 2 * (way == "fp32")
    return Claim(
        text="Goodness-of-fit tests of |z| alone have little power against the lattice.",
        source=f"{FOUNDING}, tests",
        expected=f"where trailing zeros prove a lattice in FP32, they reject (p < {REJECTED:g}) as "
        "seldom as in FP64 of the same inputs",
        measured=f"{hit['fp32']} of {n} tests reject in FP32, {hit['fp64']} in FP64",
        verdict="confirmed" if n and abs(hit["fp32"] - hit["fp64"]) <= 1 else "refined",
        because="The lattice is far finer than the magnitudes that histograms and their tests "
        "compare; what they reject is a density that is not flat.",
    )


def plain(results: Sequence[Result]) -> Claim:
    """Normal numbers pass all tests."""
    it, law = normal(results)
    p0 = it["p0"]
    n = it["lattice"]["n_values"]
    deviation = abs(it["lattice"]["trailing_mean"] - 1) / math.sqrt(2 / n)
    exponent = law.exponent if law is not None else Interval(math.nan, math.nan, math.nan)
    good = (
        p0[1] <= 0.398942 <= p0[2] * 1.001
        and (it["bins_p"] or 1) > REJECTED
        and (it["uniform_p"] or 1) > REJECTED
        and deviation < 3
        and it["limit"] == "rarity"
    )
    return Claim(
        text="Normal numbers, which no layer computed, pass every test as rarity.",
        source="formula: density 0.3989 at zero",
        expected="p0 = 0.3989 within its interval, p > 1e-3, 1 trailing zero on average (3 sigma), "
        "exponent -1",
        measured=f"p0 = {p0[0]:.5g} [{p0[1]:.5g}, {p0[2]:.5g}], bins p = {it['bins_p']:.2g}, "
        f"uniform p = {it['uniform_p']:.2g}, {it['lattice']['trailing_mean']:.3g} trailing zeros "
        f"of {n} values ({deviation:.1f} sigma), exponent {_text(exponent)}",
        verdict="confirmed" if good else "refuted",
        because="The tests reject nothing where there is nothing.",
    )


def everywhere(results: Sequence[Result]) -> Claim:
    """The verdict over architectures, arithmetics and biases."""
    every = list(rows(results))
    fp64 = [row for params, row in every if params["way"] == "fp64"]
    limits = [row["judgement"]["limit"] for row in fp64]
    false = [limit for limit in limits if limit not in ("rarity", "undecided")]
    last = [
        row["judgement"]["limit"]
        for params, row in every
        if params["way"].endswith("bias last") and params["bias"] and row["judgement"]["n"] >= 10**5
    ]
    models = len({params["model"] for params, _ in every})
    ways = len({params["way"] for params, _ in every})
    return Claim(
        text="The answer holds for other networks and formats: FP64 is limited by rarity, and a "
        "16-bit accumulator that adds the bias last by the bias.",
        source=FOUNDING,
        expected="no layer in FP64 that is limited by the arithmetic; nearly all of 10^5 values or "
        "more that add the bias last in 16 bits limited by the bias",
        measured=f"{models} models, {ways} arithmetics, {len(every)} layers; in FP64 "
        f"{_shares(limits)}; with the bias last in 16 bits {_shares(last)}",
        verdict=_verdict_everywhere(len(false), last),
        because="What limits small values depends on the ulp of what is added last and on N, not "
        "on the network.",
    )


def _verdict_everywhere(n_false: int, last: Sequence[str]) -> Verdict:
    if n_false:
        return "refuted"
    return "confirmed" if last.count("bias") >= 0.9 * len(last) else "refined"


def _shares(limits: Sequence[str]) -> str:
    counts = {each: limits.count(each) for each in dict.fromkeys(limits)}
    return ", ".join(f"{count} of {len(limits)} {limit}" for limit, count in counts.items())


def _interventions(results: Sequence[Result]) -> tuple[int, int, int]:
    """Of layers whose lattice is the bias's in FP32: gone without it, moved with it, and all."""
    gone = moved = n = 0
    for params, row in rows(results):
        if params["way"] != "fp32" or row["judgement"]["lattice"]["owner"] != "bias":
            continue
        n += 1
        for name, lattice in row["interventions"].items():
            if name == "b = 0":
                gone += lattice["owner"] != "bias"
            else:
                moved += lattice["owner"] == "bias"
    return gone, moved, n


def _far(each: Counted) -> float:
    """Magnitudes from which on a lattice leaves counts per binade alone."""
    lattice = each.judgement.lattice
    return 64 * max(lattice.by_channel) if lattice.owner == "bias" else 0.0


def _n_at(each: Counted, cutoff: float) -> float:
    return 1 / (2 * each.judgement.rarity.p0.value * cutoff)


def _text(it: Any) -> str:
    return f"{it.value:.4g} [{it.low:.4g}, {it.high:.4g}]"
