"""Networks that are born dead, and units that never fire: closed forms against simulation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis.dying import born_dead, stably_inactive
from deephochuli.studies._study import Claim, Conclusion, Params, Result, Study

_WIDTHS = (1, 2, 3, 4, 5, 8)
_DEPTHS = (3, 5, 10, 20)
_SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (3, 4))
_Row = tuple[float | bool, ...]
_CONFIDENCE = 0.999
"""Of each interval: with about fifty of them, one misses by chance once in twenty times."""


def plan(quick: bool) -> list[Params]:
    """All cells: networks by width and depth, then second-layer units by inputs and units."""
    n_nets = 2000 if quick else 20_000
    networks = [
        {"kind": "network", "width": width, "depth": depth, "n_nets": n_nets, "seed": 1}
        for width, depth in itertools.product(_WIDTHS, _DEPTHS)
    ]
    units = [
        {"kind": "unit", "n_inputs": n0, "n_units": n1, "n_nets": n_nets, "seed": 2}
        for n0, n1 in _SHAPES
    ]
    return [*networks, *units]


def measure(params: Params) -> Mapping[str, Any]:
    """Simulate one cell: how many networks are dead, or how many units never fire."""
    if params["kind"] == "network":
        width, depth = params["width"], params["depth"]
        rng = np.random.default_rng([params["seed"], width, depth])
        dead, point_dead = simulate_networks(width, depth, params["n_nets"], rng)
        return {"n_dead": int(dead.sum()), "n_point_dead": int(point_dead.sum())}
    n_inputs, n_units = params["n_inputs"], params["n_units"]
    rng = np.random.default_rng([params["seed"], n_inputs, n_units])
    inactive = simulate_units(n_inputs, n_units, params["n_nets"], rng)
    return {"n_inactive": int(inactive.sum())}


def simulate_networks(
    width: int, depth: int, n_nets: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which random networks of one input, without biases, are born dead; which are so at x = 1.

    Returns:
        Two arrays [n_nets].

    Numerics:
        Such a network is homogeneous: it is dead if and only if it is so at x = 1 and at x = -1.
        Activations at these two are carried through Gaussian weights and scaled to at most one in
        each layer, which changes no sign.
    """
    h = np.array([1.0, -1.0]).reshape(1, 1, 2).repeat(n_nets, axis=0)
    for _ in range(depth - 1):
        weights = rng.standard_normal((n_nets, width, h.shape[1]))
        h = np.maximum(weights @ h, 0)
        top = h.max(axis=1, keepdims=True)
        h = np.divide(h, top, out=np.zeros_like(h), where=top > 0)
    dead = (h == 0).all(axis=1)
    return dead.all(axis=1), dead[:, 0]


def simulate_units(
    n_inputs: int, n_units: int, n_nets: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which random units of a second layer are inactive on the whole input space, [n_nets].

    Numerics:
        The pre-activation is affine on each cell of the arrangement of the first layer's
        hyperplanes. With n_units >= n_inputs each cell has a corner, so its supremum is at a
        corner unless it rises along one of the rays that leave the corners, which lie where
        n_inputs - 1 hyperplanes meet. With fewer units the cells are products with a subspace on
        which nothing changes, and inputs of dimension n_units say the same.
    """
    n_inputs = min(n_inputs, n_units)
    normals = rng.standard_normal((n_nets, n_units, n_inputs))
    offsets = rng.standard_normal((n_nets, n_units))
    weights = rng.standard_normal((n_nets, 1, n_units))
    bias = rng.standard_normal(n_nets)
    inactive = np.ones(n_nets, dtype=bool)
    for chosen in itertools.combinations(range(n_units), n_inputs):
        corner = np.linalg.solve(normals[:, chosen], -offsets[:, chosen, None])
        z = normals @ corner + offsets[..., None]
        z[:, chosen] = 0  # exactly, whatever the solution left
        inactive &= (weights @ np.maximum(z, 0))[:, 0, 0] + bias <= 0
    for chosen in itertools.combinations(range(n_units), n_inputs - 1):
        rate = normals @ _direction(normals[:, chosen])[..., None]
        rate[:, chosen] = 0
        for sign in (1, -1):
            inactive &= (weights @ np.maximum(sign * rate, 0))[:, 0, 0] <= 0
    return inactive


def _direction(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector orthogonal to the d - 1 rows of each [d - 1, d] matrix: the generalised product."""
    d = normals.shape[2]
    minors = [
        (-1) ** i * np.linalg.det(np.delete(normals, i, axis=2)) if d > 1 else np.ones(len(normals))
        for i in range(d)
    ]
    return np.stack(minors, axis=1)


def conclude(results: Sequence[Result]) -> Conclusion:
    """Compare every cell with its closed form."""
    networks = [r for r in results if r.params["kind"] == "network"]
    units = [r for r in results if r.params["kind"] == "unit"]
    rows = [_network_row(r) for r in networks]
    unit_rows = [_unit_row(r) for r in units]
    inside = sum(bool(row[-1]) for row in rows)
    exact = sum(bool(row[-2]) for row in rows)
    unit_hits = sum(bool(row[-1]) for row in unit_rows)
    return Conclusion(
        answer=(
            f"The simulated probability of being born dead lies between the bounds of Lu et al. in "
            f"{inside} of {len(rows)} cells of width and depth, that of a unit that never fires "
            f"agrees with its closed form in {unit_hits} of {len(unit_rows)}."
        ),
        claims=_claims(networks, units, inside, exact, unit_hits),
        tables=_tables(rows, unit_rows),
        figures=(_figure(networks),),
        notes=(
            "Weights are Gaussian; the closed forms ask only for a continuous symmetric law. "
            "Networks have one input, no bias, and as many units in each hidden layer.",
        ),
    )


def _claims(
    networks: Sequence[Result], units: Sequence[Result], inside: int, exact: int, unit_hits: int
) -> tuple[Claim, ...]:
    return (
        _claim(
            "A deep narrow ReLU network is born dead with a probability between two bounds "
            "that tend to one with the depth.",
            "Lu, Shin, Su, Karniadakis 2019, bounds for one input and zero bias",
            inside,
            networks,
            "no interval lies outside the bounds",
        ),
        _claim(
            "For one given input the upper bound is the exact probability of dying.",
            "derived here: each layer kills an input with probability 2^-N",
            exact,
            networks,
            "every interval holds the closed form",
        ),
        _claim(
            "A unit of the second layer never fires with probability 2^-(n1+1), or "
            "(2^n0+1)/4^(n0+1) if n1 = n0 + 1.",
            "Brownlowe et al. 2024",
            unit_hits,
            units,
            "every interval holds the closed form",
        ),
    )


def _tables(rows: Sequence[_Row], unit_rows: Sequence[_Row]) -> tuple[Table, ...]:
    return (
        Table(
            "networks",
            "Probability of being born dead",
            (
                *("width N", "layers L", "lower bound", "simulated", "interval from"),
                *("interval to", "upper bound", "one input: simulated"),
                *("one input: closed form inside", "inside the bounds"),
            ),
            tuple(rows),
            note=f"Clopper-Pearson intervals of confidence {_CONFIDENCE}.",
        ),
        Table(
            "units",
            "Probability that a unit of the second layer never fires",
            (
                *("inputs n0", "units n1", "closed form", "simulated", "interval from"),
                *("interval to", "closed form inside"),
            ),
            tuple(unit_rows),
        ),
    )


def _network_row(result: Result) -> _Row:
    width, depth, n = (result.params[key] for key in ("width", "depth", "n_nets"))
    bounds = born_dead(width, depth)
    low, high = clopper_pearson(result.values["n_dead"], n, _CONFIDENCE)
    point = clopper_pearson(result.values["n_point_dead"], n, _CONFIDENCE)
    return (
        *(width, depth, bounds.low, result.values["n_dead"] / n, low, high, bounds.high),
        result.values["n_point_dead"] / n,
        point[0] <= bounds.high <= point[1],
        high >= bounds.low and low <= bounds.high,
    )


def _unit_row(result: Result) -> _Row:
    n0, n1, n = (result.params[key] for key in ("n_inputs", "n_units", "n_nets"))
    expected = stably_inactive(n0, n1)
    low, high = clopper_pearson(result.values["n_inactive"], n, _CONFIDENCE)
    return n0, n1, expected, result.values["n_inactive"] / n, low, high, low <= expected <= high


def _claim(text: str, source: str, n_hits: int, cells: Sequence[Result], expected: str) -> Claim:
    n_nets = cells[0].params["n_nets"] if cells else 0
    return Claim(
        text=text,
        source=source,
        expected=f"{expected}, of confidence {_CONFIDENCE}",
        measured=f"{n_hits} of {len(cells)} cells agree, {n_nets} random draws each",
        verdict="open" if not cells else "confirmed" if n_hits == len(cells) else "refuted",
        because=(
            "Nothing was measured."
            if not cells
            else "Every cell agrees."
            if n_hits == len(cells)
            else f"{len(cells) - n_hits} cells disagree by more than chance."
        ),
    )


def _figure(networks: Sequence[Result]) -> Figure:
    """Probability against depth, a colour for each width."""
    series: list[Series] = []
    for width in sorted({r.params["width"] for r in networks}):
        cells = [r for r in networks if r.params["width"] == width]
        depths = tuple(float(r.params["depth"]) for r in cells)
        bounds = [born_dead(width, r.params["depth"]) for r in cells]
        ends = [clopper_pearson(r.values["n_dead"], r.params["n_nets"], _CONFIDENCE) for r in cells]
        shares = tuple(r.values["n_dead"] / r.params["n_nets"] for r in cells)
        series += [
            Series(
                f"bounds, N = {width}",
                depths,
                shares,
                tuple(b.low for b in bounds),
                tuple(b.high for b in bounds),
                "band",
            ),
            Series(
                f"simulated, N = {width}",
                depths,
                shares,
                tuple(low for low, _ in ends),
                tuple(high for _, high in ends),
            ),
        ]
    return Figure(
        "born-dead",
        "How likely a network is born dead",
        Axis("layers L"),
        Axis("probability of being born dead", low=0.0, high=1.0),
        tuple(series),
        "Points are simulated networks; the band of the same width lies between the two bounds.",
    )


STUDY = Study(
    name="dying-relu",
    title="Networks that are born dead",
    question="Do ReLU networks die before training as often as the closed forms say?",
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=lambda params: 3e-4 * (params.get("width", 1) ** 2 * params.get("depth", 1) + 10),
)
