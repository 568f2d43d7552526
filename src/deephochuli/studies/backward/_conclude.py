"""What the measurements say about the founding document's open work on the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deephochuli.studies._evidence import mean_of, number, told
from deephochuli.studies._study import Claim, Conclusion, Result, Verdict
from deephochuli.studies.backward._pictures import figures, tables
from deephochuli.studies.backward._plan import DEEP, LEARNING_RATE, SCALED
from deephochuli.studies.backward._read import (
    Look,
    looks,
    pick,
    states,
    summaries,
    total,
    vanished,
    vanished_share,
    whole,
)

FOUNDING = "founding project, open work on the backward pass"
LITERATURE = "literature (Micikevicius et al. 2018, arXiv 1710.03740)"
OURS = "ours"


def conclude(results: Sequence[Result]) -> Conclusion:
    """Claims, tables and figures from all points."""
    found = looks(results)
    summed = list(summaries(found))
    return Conclusion(
        answer=_answer(found),
        claims=(
            _control(found),
            _microscopic(found),
            _two_kinds(found),
            _where(found),
            _cause(found),
            _training(found),
            _direction(found),
            _size(found),
            _decided(found),
            _effect(found),
            *(_scale(found, name) for name in SCALED),
        ),
        tables=tables(found, summed),
        figures=figures(found),
        notes=(
            "Networks: the digits CNN, an MLP of five layers, a CNN with batch normalisation, each "
            "at the start and after 20 epochs, and an MLP of 20 layers with torch's default "
            "initialisation; one batch of training images; SGD with learning rate "
            f"{LEARNING_RATE:g}.",
            "Exact gradients are those of the same weights and batch in binary64; an element is "
            "vanished where it is zero in the arithmetic only, and the forward's other decisions "
            "(a silent unit, another maximum) are not the reason.",
            "bf16 and fp16: operands, results and gradients in the format, sums in FP32; fp8: "
            "operands E4M3, gradients E5M2, unscaled. No GPU was measured.",
            "Intervals over networks are Student's, 95 %; those of single gradients are in the "
            "analysis (`deephochuli.backward`).",
        ),
    )


def _shares(found: Sequence[Look], name: str, *, trained: bool) -> list[float]:
    """Vanished shares of the gradients of parameters, a number for each network."""
    return [
        vanished_share(each.parameters)
        for each in pick(found, name, trained=trained)
        if each.what != DEEP
    ]


def _answer(found: Sequence[Look]) -> str:
    plain = pick(found, "fp32")
    gone = sum(vanished(row) for each in plain for row in each.parameters)
    live = sum(total(each.parameters, "live") for each in plain)
    half = mean_of(_shares(found, "fp16", trained=True))
    fits = [bool(each.scale["fits"]) for each in pick(found, "fp16", trained=True)]
    return (
        f"Gradients do vanish at a microscopic scale, but not in FP32 ({gone} of {live} elements): "
        f"FP16 loses {told(half, 2)} of the elements of trained networks' weight gradients without "
        "a loss scale, by its range and not in sums, and where the loss begins. Ordinary vanishing "
        "is another thing: it is there in exact arithmetic, and no format cures it. A single "
        f"loss scale that brings back 95 % of every gradient exists for {sum(fits)} of "
        f"{len(fits)} trained networks in FP16."
    )


def _control(found: Sequence[Look]) -> Claim:
    rows = [row for each in pick(found, "fp64") for row in each.rows]
    lost = total(rows, "lost") + total(rows, "nonfinite")
    return Claim(
        text="Exact arithmetic loses no gradient",
        source=OURS,
        expected="0",
        measured=f"{lost} of {total(rows, 'live')} elements in {len(rows)} gradients",
        verdict="confirmed" if lost == 0 else "refuted",
        because="The control: the same analysis of binary64 beside itself.",
    )


def _microscopic(found: Sequence[Look]) -> Claim:
    said: list[str] = []
    for name in ("fp32", "bf16", "fp16", "fp8"):
        rows = [row for each in pick(found, name) for row in each.rows]
        hit = sum(row["vanishing"] in ("microscopic", "both") for row in rows)
        share = mean_of([vanished_share(each.rows) for each in pick(found, name)])
        said.append(f"{name}: {told(share, 2)}, {hit} of {len(rows)}")
    wide = [row for name in ("fp32", "bf16") for each in pick(found, name) for row in each.rows]
    narrow = [row for each in pick(found, "fp16") for row in each.rows]
    verdict: Verdict = (
        "refined" if vanished_share(wide) < 1e-3 and vanished_share(narrow) > 0.01 else "open"
    )
    return Claim(
        text="Gradients vanish at a microscopic scale: to the format, and not in exact arithmetic",
        source=FOUNDING,
        expected="elements that are zero in a format and not in binary64",
        measured="mean share of vanished elements, gradients that lose 1 % and more: "
        + "; ".join(said)
        + f"; {len(pick(found, 'fp32'))} networks",
        verdict=verdict,
        because="It takes a format of few exponent bits. FP32 and BF16, which reach down to 2^-149 "
        "and 2^-133, lose next to nothing; FP16 ends at 2^-24, E5M2 at 2^-16.",
    )


def _two_kinds(found: Sequence[Look]) -> Claim:
    counts: Counter[str] = Counter()
    for each in [*pick(found, "fp16"), *pick(found, "fp32")]:
        for row in each.rows:
            counts[f"{each.arithmetic} {row['vanishing']}"] += 1
    deep = [row for each in pick(found, "fp32") if each.what == DEEP for row in each.rows]
    only_exact = sum(row["vanishing"] == "ordinary" for row in deep)
    only_format = counts["fp16 microscopic"]
    is_so = only_exact > 0 and only_format > 0
    return Claim(
        text="Vanishing to a format and ordinary vanishing are different things",
        source=FOUNDING,
        expected="gradients of each kind without the other",
        measured=", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
        + f"; in FP32 {only_exact} of {len(deep)} gradients of the deep network vanish by "
        "themselves",
        verdict="confirmed" if is_so else "open",
        because="A deep network with torch's initialisation shrinks gradients by 0.4 a layer in "
        "any arithmetic; a trained one has gradients that are small everywhere, and decay nowhere.",
    )


def _where(found: Sequence[Look]) -> Claim:
    """Where the chain loses its elements first."""
    shares: list[float] = []
    for each in pick(found, "fp16", trained=True):
        chain = each.chain
        if not chain or not sum(map(vanished, chain)):
            continue
        last = max(chain, key=lambda row: row["order"])
        shares.append(vanished_share([last]) / max(vanished_share([row]) for row in chain))
    if not shares:
        return _undecided("Most of it is lost in the layer next to the loss", FOUNDING)
    share = mean_of(shares)
    return Claim(
        text="Most of it is lost in the layer next to the loss",
        source=FOUNDING,
        expected="the share that has vanished there is at least half of the largest one anywhere",
        measured=f"{told(share)} of the largest share, {len(shares)} trained networks in FP16",
        verdict="confirmed" if share.value > 0.5 else "refuted",
        because="The loss hands down p - y, which is tiny for samples that are fitted: underflow "
        "begins there, and not by products over many layers.",
    )


def _undecided(text: str, source: str) -> Claim:
    because = "The plan holds no case that could decide."
    return Claim(text, source, "", "nothing of the kind in these points", "open", because)


def _cause(found: Sequence[Look]) -> Claim:
    counts = [
        (total(each.rows, "inside"), total(each.rows, "rounded")) for each in pick(found, "fp16")
    ]
    shares = [inside / (inside + rounded) for inside, rounded in counts if inside + rounded]
    share = mean_of(shares)
    return Claim(
        text="What vanishes in FP16 is lost to its range, and not swallowed by sums",
        source=FOUNDING,
        expected="of the elements lost where they are computed, below 5 % inside of sums",
        measured=f"{told(share, 2)}, at most {number(max(shares))}; {len(shares)} networks",
        verdict="confirmed" if max(shares) < 0.05 else "refuted",
        because="Sums are formed in FP32, where absorbed addends are many and carry next to no "
        "mass (see the study of swamping).",
    )


def _training(found: Sequence[Look]) -> Claim:
    pairs = [
        (vanished_share(before.parameters), vanished_share(after.parameters))
        for before in pick(found, "fp16", trained=False)
        for after in pick(found, "fp16", trained=True)
        if (before.what, before.seed) == (after.what, after.seed)
    ]
    grown = sum(after > before for before, after in pairs)
    return Claim(
        text="Training makes more gradients vanish in FP16",
        source=OURS,
        expected="a larger share after training in every network",
        measured=f"{grown} of {len(pairs)} networks; from "
        f"{told(mean_of([before for before, _ in pairs]))} to "
        f"{told(mean_of([after for _, after in pairs]))} of the elements",
        verdict="confirmed" if pairs and grown == len(pairs) else "refined",
        because="The better a sample is fitted, the smaller its gradient.",
    )


def _direction(found: Sequence[Look]) -> Claim:
    cosines = {
        name: [whole(each.parameters)[0] for each in pick(found, name) if each.what != DEEP]
        for name in ("fp32", "bf16", "fp16", "fp8")
    }
    is_so = min(cosines["bf16"]) > 0.95 and min(cosines["fp16"]) > 0.99
    return Claim(
        text="Gradients of FP16 and BF16 point where the exact gradient points",
        source=FOUNDING,
        expected="cosine of the whole gradient above 0.99 in FP16 and above 0.95 in BF16",
        measured="; ".join(
            f"{name}: {told(mean_of(values), 6)}, lowest {min(values):.6g}"
            for name, values in cosines.items()
        ),
        verdict="confirmed" if is_so else "refuted",
        because="What vanishes is small: a tenth of the elements holds next to nothing of the "
        "norm. Unscaled 8-bit gradients are another matter.",
    )


def _size(found: Sequence[Look]) -> Claim:
    scales = {
        name: mean_of(
            [whole(each.parameters)[1] for each in pick(found, name) if each.what != DEEP]
        )
        for name in ("fp32", "bf16", "fp16", "fp8")
    }
    half, brain = scales["fp16"], scales["bf16"]
    is_so = 0.99 < half.value < 1.01 and 0.95 < brain.value < 1.05
    return Claim(
        text="No format changes the size of the whole gradient by more than its own roundings",
        source=FOUNDING,
        expected="norm ratio within 1 % of 1 in FP16, within 5 % in BF16",
        measured="; ".join(f"{name}: {told(value, 5)}" for name, value in scales.items()),
        verdict="confirmed" if is_so else "refuted",
        because="In trained networks the norm hangs on few samples, so that BF16's forward errors "
        "show as a scale. FP8 without scaling loses a part of the norm.",
    )


def _decided(found: Sequence[Look]) -> Claim:
    rows = [row for each in pick(found, "bf16") for row in each.parameters]
    lost, decided = total(rows, "lost"), total(rows, "decided")
    networks = sum(total(each.parameters, "lost") > 0 for each in pick(found, "bf16"))
    return Claim(
        text="Gradients that BF16 sets to zero are silenced by its forward",
        source=OURS,
        expected="at least 90 % of them",
        measured=f"{decided} of {lost} elements, in {networks} networks",
        verdict="confirmed" if lost and decided >= 0.9 * lost else ("refined" if lost else "open"),
        because="BF16 has FP32's range. A pre-activation on the other side of zero closes a unit, "
        "and with it the gradients of its weights: a change of the function, and no underflow. "
        "The rest are sums that cancel.",
    )


def _effect(found: Sequence[Look]) -> Claim:
    values: list[float] = []
    for each in pick(found, "fp16", trained=True):
        gone = sum(map(vanished, each.parameters))
        if gone:
            values.append(total(each.parameters, "effective") / gone)
    if not values:
        return _undecided("Vanished gradients would have moved their weights", FOUNDING)
    share = mean_of(values)
    return Claim(
        text="Vanished gradients would have moved their weights",
        source=FOUNDING,
        expected=f"more than half of them, by SGD with learning rate {LEARNING_RATE:g} and FP32 "
        "weights",
        measured=f"{told(share)} of them, {len(values)} trained networks in FP16",
        verdict="confirmed" if share.value > 0.5 else "refuted",
        because="Most of what FP16 loses would have been absorbed by the weight anyway, even in "
        "FP32: its loss is felt by optimizers that divide by the gradient's size, as Adam does.",
    )


def _scale(found: Sequence[Look], name: str) -> Claim:
    runs = pick(found, name)
    fits = [bool(each.scale["fits"]) for each in runs]
    by_state = {
        state: sum(bool(each.scale["fits"]) for each in runs if each.state == state)
        for state in states(runs)
    }
    ratios = [
        vanished_share(each.rescued) / vanished_share(each.rows)
        for each in runs
        if vanished_share(each.rows) > 1e-3
    ]
    infinite = sum(total(each.rescued, "nonfinite") for each in runs)
    limits = Counter(each.scale["limiting"].partition(":")[2] for each in runs)
    left = mean_of(ratios)
    return Claim(
        text=f"One loss scale brings back 95 % of every gradient that underflows in {name}",
        source=LITERATURE,
        expected="a power of two that does so and overflows nowhere, for every network",
        measured=f"{sum(fits)} of {len(fits)} networks ("
        + ", ".join(f"{state}: {count}" for state, count in by_state.items())
        + f"); with the advised one {told(left, 2)} of the vanished elements are left, {infinite} "
        "elements overflow; limiting are "
        + ", ".join(f"{tensor} ({count})" for tensor, count in limits.most_common())
        + f"; advised 2^{min(each.scale['advised'] for each in runs):.0f} to "
        f"2^{max(each.scale['advised'] for each in runs):.0f}",
        verdict="confirmed" if all(fits) and infinite == 0 else "refined",
        because="The exact gradients of trained networks span more binades than the format has, so "
        "that a scale for the smallest ones overflows the largest; most of the loss goes away "
        "nevertheless.",
    )
