"""Accuracy, controls, and whole trainings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deephochuli.studies._study import Claim
from deephochuli.studies.pieces._fit import exponent, rate
from deephochuli.studies.pieces._read import Row, chosen
from deephochuli.studies.pieces._verdict import (
    OURS,
    PAPER,
    claim,
    decided,
    open_claim,
    same,
)


def accuracy(rows: Sequence[Row]) -> Claim:
    """What formats leave of the teeth."""
    text = "The numerical accuracy decides how many regions a step leaves."
    formats = ("fp32", "fp16", "bf16", "fp8")
    here = [row for row in rows if row.params["kind"] == "step" and row.way in formats]
    here = [row for row in here if row.params["start"] != "he"]
    if not here:
        return open_claim(text)
    deep = max(row.params["depth"] for row in here)
    lines: list[str] = []
    kept = 0
    for row in here:
        exact = chosen(rows, "exact", **same(row))[-1]
        kept += row.mean >= 2 * exact.mean
        if row.params["depth"] in (12, deep) and row.params["start"] == "last":
            lines.append(f"L = {row.params['depth']} {row.way}: {row.mean:.4g}")
    return claim(
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


def cause(rows: Sequence[Row]) -> Claim:
    """Steps with noise beside the same steps without."""
    text = "It is the noise on the update, and not the update, that removes the pieces."
    ratios: list[float] = []
    for row in chosen(rows, "relative", kind="step"):
        exact = chosen(rows, "exact", **same(row))
        lost = exact and exact[0].mean < row.mean_before / 2
        if lost and row.params.get("n_chains", 1) == 1:
            ratios.append(row.mean / exact[0].mean)
    if not ratios:
        return open_claim(text)
    low, middle, high = np.quantile(ratios, [0.0, 0.5, 1.0])
    return claim(
        text,
        f"{OURS}: what one might read into {PAPER}",
        "an exact step leaves clearly more regions than one with noise",
        f"regions after a noisy step over regions after the exact one: median {middle:.3f}, "
        f"{low:.3f} to {high:.3f}, in {len(ratios)} cases in which the exact step lost more than "
        "half of the pieces",
        "refuted" if low > 0.5 else "refined",
        "An update D large enough for noise eps |D| to matter moves the kinks off their places "
        "by itself: relative noise below 1 cannot do more than the update that carries it. The "
        "bound holds, and what it bounds is lost already in exact arithmetic.",
    )


def random_nets(rows: Sequence[Row]) -> Claim:
    """Random networks: neurons, and precision."""
    text = "Random networks have regions in proportion to their neurons, whatever the precision."
    here = chosen(rows, "exact", kind="step", start="he")
    shallow = [row for row in here if row.params["depth"] <= 10]
    if len(shallow) < 3:
        return open_claim(text)
    found = exponent([row.n_neurons for row in shallow], [row.before for row in shallow])
    others = [row for row in chosen(rows, kind="step", start="he") if row.way != "exact"]
    ratios = [
        row.mean / chosen(here, depth=row.params["depth"], width=row.params["width"])[0].mean
        for row in others
    ]
    return claim(
        text,
        "Hanin and Rolnick 2019 (arXiv 1901.09021); He initialisation, biases of deviation 0.1",
        "exponent of the neurons 0.9 to 1.1, and counts within 10 % of the exact step's",
        f"exponent {found}; other ways over exact {min(ratios):.3f} to {max(ratios):.3f} in "
        f"{len(ratios)} cases",
        *decided(
            here,
            found.holds(0.85, 1.15) and 0.9 < min(ratios) and max(ratios) < 1.1,
            "Linear, and blind to precision.",
            "Nearly linear; some cases leave the stated range.",
            otherwise="refined",
        ),
    )


def tents(rows: Sequence[Row]) -> Claim:
    """A start that breaks (B)."""
    text = "Without (B) the count stays exponential in the layers under relative noise."
    here = chosen(rows, "relative 2^-4", kind="step", start="tents")
    if not here:
        return open_claim(text)
    if len(here) < 2:
        (row,) = here
        return open_claim(text, f"{row.mean:.4g} regions at L = {row.params['depth']}")
    found = rate([row.params["depth"] for row in here], [row.regions for row in here])
    teeth = chosen(rows, "relative 2^-4", kind="step", start="last", log2_lr=-10, zoom=0)
    ends = [f"{row.mean:.4g} at L = {row.params['depth']}" for row in (*teeth[-2:],)]
    return claim(
        text,
        f"{OURS}: raw tent maps, one step of rate 2^-10 with relative noise 2^-4",
        "a rate of at least 0.5 bits a layer",
        f"2^({found} L), L = {here[0].params['depth']} to {here[-1].params['depth']}; scaled teeth "
        f"after a step of the same rate: {', '.join(ends)}",
        *decided(
            here,
            found.low >= 0.5,
            "The rate stays near that of the start.",
            "Gradients grow with the slopes, so the step itself moves the kinks of deep tents off "
            "their places: the bound says nothing without (B), and the pieces are lost all the "
            "same.",
        ),
    )


def kept(rows: Sequence[Row]) -> Claim:
    """Exact training of a parametrisation that keeps its pieces."""
    text = "If the peaks of the tents are the parameters, exact training keeps all 2^L pieces."
    here = chosen(rows, "exact", kind="kept")
    same = sum(set(row.regions) == {2 ** row.params["depth"]} for row in here)
    steps = {row.params["n_steps"] for row in here}
    return claim(
        text,
        "Milkert, Hyde, Laine 2023 (arXiv 2311.18022); the form is the project's own",
        "2^L regions in every network after training",
        f"all networks in {same} of {len(here)} depths, {max(steps, default=0)} steps",
        *decided(here, same == len(here), "The pieces are built into the parametrisation."),
    )


def kept_under_noise(rows: Sequence[Row]) -> Claim:
    """Noise on the biases of that parametrisation."""
    text = "There, noise on the biases removes the pieces, and nothing else does."
    absolute = chosen(rows, "absolute", kind="kept")
    coarse = [row for row in absolute if row.level >= 4 * 2.0 ** -row.params["depth"]]
    relative = chosen(rows, "relative", kind="kept")
    if not coarse or not relative:
        return open_claim(text)
    lost = sum(row.mean <= 0.5 * row.mean_before for row in coarse)
    left = min(row.mean / row.mean_before for row in relative)
    return claim(
        text,
        f"{OURS}: noise on the biases that the last exact step moved",
        "fewer than half of the pieces left where the noise is above 2^-L; all left where it is "
        "relative to an update that is itself in proportion to the teeth",
        f"fewer than half left in {lost} of {len(coarse)} cases of noise of a given size; at least "
        f"{left:.3f} of the pieces left under relative noise",
        *decided(
            coarse,
            lost == len(coarse) and left > 0.9,
            "Noise alone can remove the pieces, but only noise that is large beside the deepest "
            "teeth; relative noise is not, because the updates shrink with the teeth and (A) "
            "fails.",
            "Some cases leave the stated range.",
            otherwise="refined",
        ),
    )


def trained(rows: Sequence[Row]) -> Claim:
    """Whole trainings away from the start."""
    text = "Gradient descent from exponentially many pieces does not keep them."
    here = [
        row for row in chosen(rows, kind="training", target="sin") if row.params["start"] != "he"
    ]
    if not here:
        return open_claim(text)
    exact = [row for row in here if row.way == "exact"]
    deep = max(row.params["depth"] for row in here)
    ends = [
        f"{row.params['start']} {row.way}: {row.mean:.4g}"
        for row in here
        if row.params["depth"] == deep
    ]
    lost = sum(row.mean < row.mean_before / 2 for row in here if row.params["depth"] >= 6)
    n = sum(row.params["depth"] >= 6 for row in here)
    return claim(
        text,
        f"{PAPER}, abstract: superlinearly many pieces are very unlikely; target sin(2 pi x)",
        "fewer than half of the pieces left in every case with L >= 6, exact arithmetic included",
        f"{lost} of {n} cases; regions of 2^{deep} left: {'; '.join(ends)}",
        *decided(
            exact,
            lost == n,
            "They are lost in exact arithmetic as well: training, not rounding, is enough.",
            "Some cases keep them: see the table.",
            otherwise="refined",
        ),
    )


def optimum(rows: Sequence[Row]) -> Claim:
    """Whole trainings that begin at the optimum."""
    text = "Whatever the target, pieces beyond linearly many in the layers are lost in training."
    here = chosen(rows, kind="training", target="square", start="square")
    if not here:
        return open_claim(text)
    ends = [f"{row.way}: {row.mean:.4g} of {row.mean_before:.4g}" for row in here]
    keeping = sum(row.mean >= row.mean_before for row in here)
    return claim(
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
