"""What follows: the theorem and its assumptions, claim by claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.studies._study import Claim, Verdict
from deephochuli.studies.pieces._fit import Estimate, exponent, rate
from deephochuli.studies.pieces._read import Row, chosen

PAPER = "Karner, Kazeev, Petersen 2024"
_BOUNDS = ("bound", "bound_variation")
_OURS = "ours, as a control"


def claims(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """All claims in the order of the paper, then the controls; those without data are open."""
    makers: tuple[Callable[[Sequence[Row]], Claim], ...] = (
        *(_bound, _in_depth, _in_noise, _in_width, _bound_in_width),
        *(_reciprocals_in_width, _reciprocals_in_depth, _staying_dead, _slopes),
        *(_accuracy, _cause, _random_nets, _tents, _kept, _kept_under_noise, _trained, _optimum),
    )
    return tuple(maker(rows) for maker in makers)


def _bound(rows: Sequence[Row]) -> Claim:
    bounded = [row for row in rows if row.bound is not None and row.params["kind"] != "training"]
    above = [sum(_exceeds(row, row.values[key]) for row in bounded) for key in _BOUNDS]
    telling = [sum(row.values[key] < row.mean_before for row in bounded) for key in _BOUNDS]
    return _claim(
        "After one perturbed step the expected number of pieces is at most a bound that is linear "
        "in the layers and inverse to the noise.",
        f"{PAPER}, Theorem 3.4; the constants are derived by the project: 1 + C |I| / (2 eps) "
        "times the sum of 1/|D|",
        "no mean count is above the bound from measured C, D and eps by more than three standard "
        "errors",
        f"{_below(above[0], bounded)} cases below the bound from C, {_below(above[1], bounded)} "
        f"below the one from variations; smaller than the count before the step, so that they say "
        f"something, are the bounds in {telling[0]} and {telling[1]} cases",
        *_decided(
            bounded,
            above == [0, 0],
            "The bound holds. For relative noise it is far above what is counted: it says "
            "something only where noise of a given size is put on all biases.",
        ),
    )


def _exceeds(row: Row, bound: float) -> bool:
    """Whether a mean count lies above a bound by more than chance."""
    error = float(np.std(row.regions)) / max(1, len(row.regions) - 1) ** 0.5
    return row.mean - 3 * error > bound


def _below(n_above: int, cases: Sequence[Row]) -> str:
    n = len(cases)
    return f"{n - n_above} of {n} ({(n - n_above) / n:.1%})" if n else "no"


def _in_depth(rows: Sequence[Row]) -> Claim:
    noisy = [
        row
        for row in chosen(rows, kind="absolute", zoom=0, n_chains=1)
        if row.level >= 4 * 2.0 ** -row.params["depth"]
    ]
    coarsest = max((row.way for row in noisy), key=lambda way: -int(way.split("-")[1]), default="")
    here = [row for row in noisy if row.way == coarsest]
    if len(here) < 2:
        return _open("Under noise the count grows at most linearly in the layers.")
    found = exponent([row.params["depth"] for row in here], [row.regions for row in here])
    quiet = chosen(rows, "absolute 2^-40", kind="absolute", zoom=0, n_chains=1) or chosen(
        rows, "absolute 2^-20", kind="absolute", zoom=0, n_chains=1
    )
    control = rate([r.params["depth"] for r in quiet], [r.before for r in quiet])
    return _claim(
        "Under noise the expected number of pieces grows at most linearly in the layers.",
        f"{PAPER}, Lemma 3.1 and Theorem 3.4; here noise of a given size on every bias of scaled "
        "teeth",
        "exponent of L at most 1, where the noise is well above 2^-L",
        f"exponent {found} at noise {coarsest[9:]}, L = {here[0].params['depth']} to "
        f"{here[-1].params['depth']}; without noise 2^({control} L)",
        *_decided(here, found.high <= 1.05, "The interval lies below 1.", "It reaches above 1."),
    )


def _in_noise(rows: Sequence[Row]) -> Claim:
    absolute = chosen(rows, kind="absolute", zoom=0, n_chains=1)
    deepest = max((row.params["depth"] for row in absolute), default=0)
    here = [r for r in chosen(absolute, depth=deepest) if r.level >= 4 * 2.0**-deepest]
    text = "The expected number of pieces is inversely proportional to the noise level."
    if len(here) < 2:
        return _open(text)
    found = exponent([1 / row.level for row in here], [row.regions for row in here])
    return _claim(
        text,
        f"{PAPER}, Theorem 3.4 (an upper bound); noise of a given size on every bias",
        f"exponent of 1/s at most 1, at L = {deepest}, noise {here[0].way[9:]} to "
        f"{here[-1].way[9:]}",
        f"exponent {found}",
        *_graded(found, 0.9, 1.1, "The count falls somewhat slower than the bound does."),
    )


def _in_width(rows: Sequence[Row]) -> Claim:
    text = "The expected number of pieces is at most polynomial, in practice quadratic, in N."
    here = [row for row in chosen(rows, kind="absolute") if row.params.get("n_chains", 1) > 1]
    coarsest = max((row.way for row in here), key=lambda way: -int(way.split("-")[1]), default="")
    here = [row for row in here if row.way == coarsest]
    if len(here) < 2:
        return _open(text)
    found = exponent([2 * row.params["n_chains"] for row in here], [row.regions for row in here])
    widths = [2 * row.params["n_chains"] for row in here]
    return _claim(
        text,
        f"{PAPER}, Theorem 3.4; chains of teeth side by side, noise {coarsest[9:]} on every bias",
        f"exponent of N at most 2, N = {widths[0]} to {widths[-1]}",
        f"exponent {found}",
        *_decided(
            here,
            found.high <= 2,
            "Noise of the same size on all biases: the count grows with the number of neurons.",
        ),
    )


def _bound_in_width(rows: Sequence[Row]) -> Claim:
    text = "With relative noise the bound grows like N^2, because bias updates shrink like 1/N."
    here = [
        row for row in chosen(rows, "relative", kind="step") if row.params.get("n_chains", 1) > 1
    ]
    if len(here) < 2:
        return _open(text)
    widths = [2 * row.params["n_chains"] for row in here]
    bound = exponent(widths, [[row.values["bound"]] for row in here])
    counted = exponent(widths, [row.regions for row in here])
    return _claim(
        text,
        f"{PAPER}, remark on Theorem 3.4; chains of teeth whose mean is the output",
        f"exponent of N in the bound 1.8 to 2.2, N = {widths[0]} to {widths[-1]}",
        f"exponent of the bound {bound.value:.2f}, of the count {counted}",
        *_decided(
            here,
            1.8 <= bound.value <= 2.2,
            "The bound is quadratic; the count itself grows more slowly.",
        ),
    )


def _reciprocals_in_width(rows: Sequence[Row]) -> Claim:
    text = "(A) The mean of 1/|D| over non-zero bias updates is bounded by a polynomial in N."
    here = chosen(rows, "exact", kind="step", start="he", depth=5) or chosen(
        rows, "exact", kind="step", start="he", depth=4
    )
    if len(here) < 2:
        return _open(text)
    widths = [row.params["width"] for row in here]
    updates = [row.point["updates"] for row in here]
    means = exponent(widths, [_known(each["mean_reciprocal"]) for each in updates])
    middle = exponent(widths, [[each["median"]] for each in updates])
    tail = _tail([each["binades"] for each in updates])
    heavy = tail > -1.3
    return _claim(
        text,
        f"{PAPER}, assumption (A), section 4; random networks, one exact step",
        f"a finite exponent of N, N = {widths[0]} to {widths[-1]}",
        f"exponent of the mean {means}, of the median {middle.value:.2f}; the share of updates in "
        f"a binade of 1/|D| changes by 2^{tail:.2f} from binade to binade in the upper tail",
        "refined" if heavy else "confirmed",
        "The growth is polynomial, but the tail is so heavy that each binade adds about as much "
        "to the mean: bias updates have a density at zero, so the mean of their reciprocals has "
        "no finite expectation. (A) holds for a given step, with a constant that is random."
        if heavy
        else "The growth is polynomial.",
    )


def _reciprocals_in_depth(rows: Sequence[Row]) -> Claim:
    text = "(A) The bound on the mean of 1/|D| depends on N alone, not on the number of layers."
    here = chosen(rows, "exact", kind="step", start="square", target="sin", zoom=0, log2_lr=-4)
    here = [row for row in here if len(row.params["ways"]) > 1]
    depths = sorted({row.params["depth"] for row in here})
    if len(depths) < 3:
        return _open(text)
    medians = [chosen(here, depth=depth)[0].point["updates"]["median"] for depth in depths]
    found = rate(depths, [[value] for value in medians])
    plain = chosen(rows, "exact", kind="step", start="last", target="sin", zoom=0, log2_lr=-4)
    first, last = plain[0].point["updates"]["median"], plain[-1].point["updates"]["median"]
    return _claim(
        text,
        f"{PAPER}, assumption (A) as summarised; starts with exponentially many pieces, N = 2 "
        "and 3",
        "the median of 1/|D| does not grow with L",
        f"at Yarotsky's start it grows like 2^({found.value:.2f} L); if the last teeth are the "
        f"output it goes from {first:.3g} to {last:.3g}",
        "refined" if found.value > 0.1 else "confirmed",
        "It depends on how the teeth are read out: where deep teeth count for little in the "
        "output, their biases move as little, and the bound grows exponentially with L.",
    )


def _staying_dead(rows: Sequence[Row]) -> Claim:
    text = "(A) Every neuron that is dead stays dead after the step."
    here = chosen(rows, "exact", kind="step", start="he")
    n_dead = sum(row.values["n_dead_before"] for row in here)
    n_revived = sum(row.values["n_revived"] for row in here)
    if not n_dead:
        return _open(text)
    low, high = clopper_pearson(n_revived, n_dead)
    return _claim(
        text,
        f"{PAPER}, assumption (A), second half; random networks, one exact step of rate 2^-4",
        "no dead neuron is active on any training point after the step",
        f"{n_revived} of {n_dead} dead neurons revive ({low:.2%} to {high:.2%})",
        "confirmed" if n_revived == 0 else "refined",
        "None revives."
        if n_revived == 0
        else "Its own weights do not move, but the layers before it do, so a dead neuron beyond "
        "the first layer can come back to life.",
    )


def _slopes(rows: Sequence[Row]) -> Claim:
    text = "(B) Derivatives of pre-activations with respect to the input are uniformly bounded."
    teeth = [
        row
        for row in rows
        if row.params.get("start") in ("last", "square")
        and row.params["kind"] != "training"
        and row.way != "fp8"
    ]
    raw = chosen(rows, "exact", kind="step", start="tents")
    if not teeth or not raw:
        return _open(text)
    top = max(row.values["slope"] for row in teeth)
    steep = max(raw, key=lambda row: row.params["depth"])
    return _claim(
        text,
        f"{PAPER}, assumption (B); measured on every region, after the step",
        "a constant for scaled teeth, 2^L for raw tents",
        f"at most {top:.3g} in {len(teeth)} cases of scaled teeth, L up to "
        f"{max(row.params['depth'] for row in teeth)}; {steep.values['slope']:.4g} for raw tents "
        f"of L = {steep.params['depth']}",
        *_decided(
            teeth,
            top < 64 and steep.values["slope"] > 2.0 ** (steep.params["depth"] - 2),
            "(B) is a condition on the start: one start meets it, the other does not.",
        ),
    )


def _accuracy(rows: Sequence[Row]) -> Claim:
    text = "The numerical accuracy decides how many regions a step leaves."
    formats = ("fp32", "fp16", "bf16", "fp8")
    here = [row for row in rows if row.params["kind"] == "step" and row.way in formats]
    here = [row for row in here if row.params["start"] != "he"]
    if not here:
        return _open(text)
    deep = max(row.params["depth"] for row in here)
    lines: list[str] = []
    kept = 0
    for row in here:
        exact = chosen(rows, "exact", **_same(row))[-1]
        kept += row.mean >= 2 * exact.mean
        if row.params["depth"] in (12, deep) and row.params["start"] == "last":
            lines.append(f"L = {row.params['depth']} {row.way}: {row.mean:.4g}")
    return _claim(
        text,
        f"{PAPER}, section 5, seen in an abstract only; formats of forward and backward, weights "
        "kept wide",
        "fewer regions in narrower formats",
        f"{'; '.join(lines)}; more than twice as many as after the exact step in {kept} of "
        f"{len(here)} cases",
        "refined" if kept else "open",
        "Narrow formats do not only add noise: they round the data to so few bits that deep "
        "teeth vanish on them, gradients become exactly zero, and the pieces stay."
        if kept
        else "No format left clearly more regions than the exact step.",
    )


def _cause(rows: Sequence[Row]) -> Claim:
    text = "It is the noise on the update, and not the update, that removes the pieces."
    ratios: list[float] = []
    for row in chosen(rows, "relative", kind="step"):
        exact = chosen(rows, "exact", **_same(row))
        lost = exact and exact[0].mean < row.mean_before / 2
        if lost and row.params.get("n_chains", 1) == 1:
            ratios.append(row.mean / exact[0].mean)
    if not ratios:
        return _open(text)
    low, middle, high = np.quantile(ratios, [0.0, 0.5, 1.0])
    return _claim(
        text,
        f"{_OURS}: what one might read into {PAPER}",
        "an exact step leaves clearly more regions than one with noise",
        f"regions after a noisy step over regions after the exact one: median {middle:.3f}, "
        f"{low:.3f} to {high:.3f}, in {len(ratios)} cases in which the exact step lost more than "
        "half of the pieces",
        "refuted" if low > 0.5 else "refined",
        "An update D large enough for noise eps |D| to matter moves the kinks off their places "
        "by itself: relative noise below 1 cannot do more than the update that carries it. The "
        "bound holds, and what it bounds is lost already in exact arithmetic.",
    )


def _random_nets(rows: Sequence[Row]) -> Claim:
    text = "Random networks have regions in proportion to their neurons, whatever the precision."
    here = chosen(rows, "exact", kind="step", start="he")
    shallow = [row for row in here if row.params["depth"] <= 10]
    if len(shallow) < 3:
        return _open(text)
    found = exponent([row.n_neurons for row in shallow], [row.before for row in shallow])
    others = [row for row in chosen(rows, kind="step", start="he") if row.way != "exact"]
    ratios = [
        row.mean / chosen(here, depth=row.params["depth"], width=row.params["width"])[0].mean
        for row in others
    ]
    return _claim(
        text,
        "Hanin and Rolnick 2019 (arXiv 1901.09021); He initialisation, biases of deviation 0.1",
        "exponent of the neurons 0.9 to 1.1, and counts within 10 % of the exact step's",
        f"exponent {found}; other ways over exact {min(ratios):.3f} to {max(ratios):.3f} in "
        f"{len(ratios)} cases",
        *_decided(
            here,
            found.holds(0.85, 1.15) and 0.9 < min(ratios) and max(ratios) < 1.1,
            "Linear, and blind to precision.",
            "Nearly linear; some cases leave the stated range.",
            otherwise="refined",
        ),
    )


def _tents(rows: Sequence[Row]) -> Claim:
    text = "Without (B) the count stays exponential in the layers under relative noise."
    here = chosen(rows, "relative 2^-4", kind="step", start="tents")
    if not here:
        return _open(text)
    if len(here) < 2:
        (row,) = here
        return _open(text, f"{row.mean:.4g} regions at L = {row.params['depth']}")
    found = rate([row.params["depth"] for row in here], [row.regions for row in here])
    teeth = chosen(rows, "relative 2^-4", kind="step", start="last", log2_lr=-10, zoom=0)
    ends = [f"{row.mean:.4g} at L = {row.params['depth']}" for row in (*teeth[-2:],)]
    return _claim(
        text,
        f"{_OURS}: raw tent maps, one step of rate 2^-10 with relative noise 2^-4",
        "a rate of at least 0.5 bits a layer",
        f"2^({found} L), L = {here[0].params['depth']} to {here[-1].params['depth']}; scaled teeth "
        f"after a step of the same rate: {', '.join(ends)}",
        *_decided(here, found.low >= 0.5, "The rate stays near that of the start."),
    )


def _kept(rows: Sequence[Row]) -> Claim:
    text = "If the peaks of the tents are the parameters, exact training keeps all 2^L pieces."
    here = chosen(rows, "exact", kind="kept")
    same = sum(set(row.regions) == {2 ** row.params["depth"]} for row in here)
    steps = {row.params["n_steps"] for row in here}
    return _claim(
        text,
        "Milkert, Hyde, Laine 2023 (arXiv 2311.18022); the form is the project's own",
        "2^L regions in every network after training",
        f"all networks in {same} of {len(here)} depths, {max(steps, default=0)} steps",
        *_decided(here, same == len(here), "The pieces are built into the parametrisation."),
    )


def _kept_under_noise(rows: Sequence[Row]) -> Claim:
    text = "There, noise on the biases removes the pieces, and nothing else does."
    absolute = chosen(rows, "absolute", kind="kept")
    coarse = [row for row in absolute if row.level >= 4 * 2.0 ** -row.params["depth"]]
    relative = chosen(rows, "relative", kind="kept")
    if not coarse or not relative:
        return _open(text)
    lost = sum(row.mean <= 0.5 * row.mean_before for row in coarse)
    left = min(row.mean / row.mean_before for row in relative)
    return _claim(
        text,
        f"{_OURS}: noise on the biases that the last exact step moved",
        "fewer than half of the pieces left where the noise is above 2^-L; all left where it is "
        "relative to an update that is itself in proportion to the teeth",
        f"fewer than half left in {lost} of {len(coarse)} cases of noise of a given size; at least "
        f"{left:.3f} of the pieces left under relative noise",
        *_decided(
            coarse,
            lost == len(coarse) and left > 0.9,
            "Noise alone can remove the pieces, but only noise that is large beside the deepest "
            "teeth; relative noise is not, because the updates shrink with the teeth and (A) "
            "fails.",
            "Some cases leave the stated range.",
            otherwise="refined",
        ),
    )


def _trained(rows: Sequence[Row]) -> Claim:
    text = "Gradient descent from exponentially many pieces does not keep them."
    here = [
        row for row in chosen(rows, kind="training", target="sin") if row.params["start"] != "he"
    ]
    if not here:
        return _open(text)
    exact = [row for row in here if row.way == "exact"]
    deep = max(row.params["depth"] for row in here)
    ends = [
        f"{row.params['start']} {row.way}: {row.mean:.4g}"
        for row in here
        if row.params["depth"] == deep
    ]
    lost = sum(row.mean < row.mean_before / 2 for row in here if row.params["depth"] >= 6)
    n = sum(row.params["depth"] >= 6 for row in here)
    return _claim(
        text,
        f"{PAPER}, abstract: superlinearly many pieces are very unlikely; target sin(2 pi x)",
        "fewer than half of the pieces left in every case with L >= 6, exact arithmetic included",
        f"{lost} of {n} cases; regions of 2^{deep} left: {'; '.join(ends)}",
        *_decided(
            exact,
            lost == n,
            "They are lost in exact arithmetic as well: training, not rounding, is enough.",
            "Some cases keep them: see the table.",
            otherwise="refined",
        ),
    )


def _optimum(rows: Sequence[Row]) -> Claim:
    text = "Whatever the target, pieces beyond linearly many in the layers are lost in training."
    here = chosen(rows, kind="training", target="square", start="square")
    if not here:
        return _open(text)
    ends = [f"{row.way}: {row.mean:.4g} of {row.mean_before:.4g}" for row in here]
    keeping = sum(row.mean >= row.mean_before for row in here)
    return _claim(
        text,
        f"{PAPER}, abstract, read without assumption (A)",
        "fewer regions than before if training begins at the interpolant of its target",
        f"{'; '.join(ends)}, L = {here[0].params['depth']}, {here[0].params['n_steps']} steps",
        "refuted" if keeping else "confirmed",
        "At an optimum the updates are so small that neither they nor noise relative to them move "
        "a kink across a tooth: 1/|D| is huge, and the bound says nothing. Kinks that coincided "
        "are split, which even adds regions."
        if keeping
        else "All ways lose regions.",
    )


def _same(row: Row) -> dict[str, Any]:
    """What rows of the same start and step have in common."""
    keys = ("kind", "start", "target", "log2_lr", "depth", "zoom", "width")
    return {key: row.params.get(key) for key in keys}


def _tail(groups: Sequence[dict[str, int]]) -> float:
    """Binary slope of the upper tail of the distribution over binades, mean over groups.

    The tail begins two binades above the fullest and ends where fewer than five updates are left.
    """
    slopes: list[float] = []
    for group in groups:
        counts = {int(place): n for place, n in group.items()}
        first = max(counts, key=lambda place: counts[place]) + 2
        places = [place for place in sorted(counts) if place >= first and counts[place] >= 5]
        if len(places) >= 3:
            slope = np.polyfit(places, np.log2([counts[place] for place in places]), 1)[0]
            slopes.append(float(slope))
    return float(np.mean(slopes)) if slopes else float("nan")


def _known(values: Sequence[float | None]) -> list[float]:
    return [value if value is not None else float("nan") for value in values]


def _graded(found: Estimate, low: float, high: float, slower: str) -> tuple[Verdict, str]:
    """Confirmed within a range; refined below it, where an upper bound is not reached."""
    if found.holds(low, high):
        return "confirmed", "The interval lies in the range."
    return ("refined", slower) if found.high <= high else ("refuted", "It lies above the range.")


def _decided(
    cases: Sequence[Row],
    holds: bool,
    because: str,
    failing: str = "Not all cases agree: see the table.",
    otherwise: Verdict = "refuted",
) -> tuple[Verdict, str]:
    if not cases:
        return "open", "Nothing was measured."
    return ("confirmed", because) if holds else (otherwise, failing)


def _claim(
    text: str, source: str, expected: str, measured: str, verdict: Verdict, because: str
) -> Claim:
    return Claim(text, source, expected, measured, verdict, because)


def _open(text: str, measured: str = "too few points in this plan") -> Claim:
    return _claim(text, PAPER, "", measured, "open", "The whole plan measures it.")
