"""The theorem: its bound, and how counts grow with depth, noise and width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deephochuli.studies._study import Claim
from deephochuli.studies.pieces._fit import exponent, rate
from deephochuli.studies.pieces._read import Row, chosen
from deephochuli.studies.pieces._verdict import (
    PAPER,
    at_most,
    claim,
    decided,
    graded,
    open_claim,
)

_BOUNDS = ("bound", "bound_variation")


def bound(rows: Sequence[Row]) -> Claim:
    """Mean counts against the bound from measured constants."""
    bounded = [row for row in rows if row.bound is not None and row.params["kind"] != "training"]
    above = [sum(_exceeds(row, row.values[key]) for row in bounded) for key in _BOUNDS]
    telling = [sum(row.values[key] < row.mean_before for row in bounded) for key in _BOUNDS]
    return claim(
        "After one perturbed step the expected number of pieces is at most a bound that is linear "
        "in the layers and inverse to the noise.",
        f"{PAPER}, Theorem 3.4; the constants are derived by the project: 1 + C |I| / (2 eps) "
        "times the sum of 1/|D|",
        "no mean count is above the bound from measured C, D and eps by more than three standard "
        "errors",
        f"{_below(above[0], bounded)} cases below the bound from C, {_below(above[1], bounded)} "
        f"below the one from variations; smaller than the count before the step, so that they say "
        f"something, are the bounds in {telling[0]} and {telling[1]} cases",
        *decided(
            bounded,
            above == [0, 0],
            "The bound holds. For relative noise it is far above what is counted: it says "
            "something only where noise of a given size is put on all biases.",
        ),
    )


def in_depth(rows: Sequence[Row]) -> Claim:
    """How counts grow with depth under noise that is far above 2^-L."""
    noisy = [
        row
        for row in chosen(rows, kind="absolute", zoom=0, n_chains=1)
        if row.level >= 4 * 2.0 ** -row.params["depth"]
    ]
    coarsest = max((row.way for row in noisy), key=lambda way: -int(way.split("-")[1]), default="")
    here = [row for row in noisy if row.way == coarsest]
    if len(here) < 2:
        return open_claim("Under noise the count grows at most linearly in the layers.")
    found = exponent([row.params["depth"] for row in here], [row.regions for row in here])
    quiet = chosen(rows, "absolute 2^-40", kind="absolute", zoom=0, n_chains=1) or chosen(
        rows, "absolute 2^-20", kind="absolute", zoom=0, n_chains=1
    )
    control = rate([r.params["depth"] for r in quiet], [r.before for r in quiet])
    return claim(
        "Under noise the expected number of pieces grows at most linearly in the layers.",
        f"{PAPER}, Lemma 3.1 and Theorem 3.4; here noise of a given size on every bias of scaled "
        "teeth",
        "exponent of L at most 1, within 0.05, where the noise is well above 2^-L",
        f"exponent {found} at noise {coarsest[9:]}, L = {here[0].params['depth']} to "
        f"{here[-1].params['depth']}; without noise 2^({control} L)",
        *at_most(found, 1.05, "The interval lies below."),
    )


def in_noise(rows: Sequence[Row]) -> Claim:
    """How counts fall with the noise, in the deepest network counted whole."""
    absolute = chosen(rows, kind="absolute", zoom=0, n_chains=1)
    deepest = max((row.params["depth"] for row in absolute), default=0)
    here = [r for r in chosen(absolute, depth=deepest) if r.level >= 4 * 2.0**-deepest]
    text = "The expected number of pieces is inversely proportional to the noise level."
    if len(here) < 2:
        return open_claim(text)
    found = exponent([1 / row.level for row in here], [row.regions for row in here])
    return claim(
        text,
        f"{PAPER}, Theorem 3.4 (an upper bound); noise of a given size on every bias",
        f"exponent of 1/s at most 1, at L = {deepest}, noise {here[0].way[9:]} to "
        f"{here[-1].way[9:]}",
        f"exponent {found}",
        *graded(found, 0.9, 1.1, "The count falls somewhat slower than the bound does."),
    )


def in_width(rows: Sequence[Row]) -> Claim:
    """How counts grow with the number of chains, under noise of one size."""
    text = "The expected number of pieces is at most polynomial, in practice quadratic, in N."
    here = [row for row in chosen(rows, kind="absolute") if row.params.get("n_chains", 1) > 1]
    coarsest = max((row.way for row in here), key=lambda way: -int(way.split("-")[1]), default="")
    here = [row for row in here if row.way == coarsest]
    if len(here) < 2:
        return open_claim(text)
    found = exponent([2 * row.params["n_chains"] for row in here], [row.regions for row in here])
    widths = [2 * row.params["n_chains"] for row in here]
    return claim(
        text,
        f"{PAPER}, Theorem 3.4; chains of teeth side by side, noise {coarsest[9:]} on every bias",
        f"exponent of N at most 2, N = {widths[0]} to {widths[-1]}",
        f"exponent {found}",
        *at_most(
            found,
            2.0,
            "Noise of the same size on all biases: the count grows with the number of neurons.",
        ),
    )


def bound_in_width(rows: Sequence[Row]) -> Claim:
    """How the bound grows with width when noise is relative."""
    text = "With relative noise the bound grows like N^2, because bias updates shrink like 1/N."
    here = [
        row for row in chosen(rows, "relative", kind="step") if row.params.get("n_chains", 1) > 1
    ]
    if len(here) < 2:
        return open_claim(text)
    widths = [2 * row.params["n_chains"] for row in here]
    bound = exponent(widths, [[row.values["bound"]] for row in here])
    counted = exponent(widths, [row.regions for row in here])
    return claim(
        text,
        f"{PAPER}, remark on Theorem 3.4; chains of teeth whose mean is the output",
        f"exponent of N in the bound 1.8 to 2.2, N = {widths[0]} to {widths[-1]}",
        f"exponent of the bound {bound.value:.2f}, of the count {counted}",
        *decided(
            here,
            1.8 <= bound.value <= 2.2,
            "The bound is quadratic; the count itself grows more slowly.",
        ),
    )


def _exceeds(row: Row, bound: float) -> bool:
    """Whether a mean count lies above a bound by more than chance."""
    error = float(np.std(row.regions)) / max(1, len(row.regions) - 1) ** 0.5
    return row.mean - 3 * error > bound


def _below(n_above: int, cases: Sequence[Row]) -> str:
    n = len(cases)
    return f"{n - n_above} of {n} ({(n - n_above) / n:.1%})" if n else "no"
