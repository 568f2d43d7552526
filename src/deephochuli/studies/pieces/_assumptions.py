"""The assumptions of the theorem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.studies._study import Claim
from deephochuli.studies.pieces._fit import exponent, rate
from deephochuli.studies.pieces._read import Row, chosen
from deephochuli.studies.pieces._verdict import (
    PAPER,
    claim,
    decided,
    open_claim,
)


def reciprocals_in_width(rows: Sequence[Row]) -> Claim:
    """First half of (A), against width, in random networks."""
    text = "(A) The mean of 1/|D| over non-zero bias updates is bounded by a polynomial in N."
    here = chosen(rows, "exact", kind="step", start="he", depth=5) or chosen(
        rows, "exact", kind="step", start="he", depth=4
    )
    if len(here) < 2:
        return open_claim(text)
    widths = [row.params["width"] for row in here]
    updates = [row.point["updates"] for row in here]
    means = exponent(widths, [_known(each["mean_reciprocal"]) for each in updates])
    middle = exponent(widths, [[each["median"]] for each in updates])
    tail = _tail([each["binades"] for each in updates])
    heavy = tail > -1.3
    return claim(
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


def reciprocals_in_depth(rows: Sequence[Row]) -> Claim:
    """First half of (A), against depth, at starts with teeth."""
    text = "(A) The bound on the mean of 1/|D| depends on N alone, not on the number of layers."
    here = chosen(rows, "exact", kind="step", start="square", target="sin", zoom=0, log2_lr=-4)
    here = [row for row in here if len(row.params["ways"]) > 1]
    depths = sorted({row.params["depth"] for row in here})
    if len(depths) < 3:
        return open_claim(text)
    medians = [chosen(here, depth=depth)[0].point["updates"]["median"] for depth in depths]
    found = rate(depths, [[value] for value in medians])
    plain = chosen(rows, "exact", kind="step", start="last", target="sin", zoom=0, log2_lr=-4)
    first, last = plain[0].point["updates"]["median"], plain[-1].point["updates"]["median"]
    return claim(
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


def staying_dead(rows: Sequence[Row]) -> Claim:
    """Second half of (A), in random networks."""
    text = "(A) Every neuron that is dead stays dead after the step."
    here = chosen(rows, "exact", kind="step", start="he")
    n_dead = sum(row.values["n_dead_before"] for row in here)
    n_revived = sum(row.values["n_revived"] for row in here)
    if not n_dead:
        return open_claim(text)
    low, high = clopper_pearson(n_revived, n_dead)
    return claim(
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


def slopes(rows: Sequence[Row]) -> Claim:
    """(B), at starts that meet it and at one that does not."""
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
        return open_claim(text)
    top = max(row.values["slope"] for row in teeth)
    steep = max(raw, key=lambda row: row.params["depth"])
    return claim(
        text,
        f"{PAPER}, assumption (B); measured on every region, after the step",
        "a constant for scaled teeth, 2^L for raw tents",
        f"at most {top:.3g} in {len(teeth)} cases of scaled teeth, L up to "
        f"{max(row.params['depth'] for row in teeth)}; {steep.values['slope']:.4g} for raw tents "
        f"of L = {steep.params['depth']}",
        *decided(
            teeth,
            top < 64 and steep.values["slope"] > 2.0 ** (steep.params["depth"] - 2),
            "(B) is a condition on the start: one start meets it, the other does not.",
        ),
    )


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
