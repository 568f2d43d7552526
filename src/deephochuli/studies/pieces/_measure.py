"""What is measured at one point of the study."""

# torch's types for arrays and parameter lists are partial.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.studies._study import Params
from deephochuli.studies.pieces._kept import Kept
from deephochuli.studies.pieces._nets import Group, he, repeated, teeth, tents
from deephochuli.studies.pieces._rational import bias_gradients
from deephochuli.studies.pieces._step import (
    EXACT,
    Data,
    Way,
    dead,
    descended,
    sampled,
    updates,
)
from deephochuli.studies.pieces._survey import bounded, segments, surveyed

Values = dict[str, Any]
Floats = NDArray[np.float64]


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one point, on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _KINDS[params["kind"]](params)
    finally:
        torch.set_num_threads(n_threads)


def started(params: Params) -> Group:
    """The networks before the step."""
    start, depth, n_nets = params["start"], params["depth"], params["n_nets"]
    n_chains = params.get("n_chains", 1)
    if start == "he":
        return Group(he(params["width"], depth, n_nets, params["seed"]))
    if start == "tents":
        return Group(repeated(tents(depth), n_nets))
    return Group(repeated(teeth(depth, n_chains, start), n_nets))


def _absolute(params: Params) -> Values:
    """The lemma: biases that are random by a given amount, and no gradient."""
    start = started(params)
    where = segments(params["zoom"], start.n_nets, params["seed"])
    data = sampled("square", start.n_nets, params["seed"])
    rows = [
        _row(start, descended_group(start, data, 0.0, name, params["seed"]), where, name)
        for name in params["ways"]
    ]
    return {"before": surveyed(start, where).values(), "rows": rows}


def _step(params: Params) -> Values:
    """One step from one start, computed in several ways."""
    start = started(params)
    low = -1.0 if params["start"] == "he" else 0.0
    where = segments(params["zoom"], start.n_nets, params["seed"], low)
    data = sampled(params["target"], start.n_nets, params["seed"], low)
    lr = 2.0 ** params["log2_lr"]
    exact = descended_group(start, data, lr, EXACT, params["seed"])
    moved = updates(start, exact)
    rows: list[Values] = []
    for name in params["ways"]:
        after = descended_group(start, data, lr, name, params["seed"])
        row = _row(start, after, where, name, moved)
        row |= {"gradient": _gradient_noise(moved, updates(start, after))}
        rows.append(row | _lives(start, after, data))
    return {
        "before": surveyed(start, where).values(),
        "updates": _sizes(moved),
        "rows": rows,
    }


def _training(params: Params) -> Values:
    """A whole training in one way."""
    start = started(params)
    low = -1.0 if params["start"] == "he" else 0.0
    where = segments(0, start.n_nets, params["seed"], low)
    data = sampled(params["target"], start.n_nets, params["seed"], low)
    lr, (name,) = 2.0 ** params["log2_lr"], params["ways"]
    after = descended_group(start, data, lr, name, params["seed"], params["n_steps"])
    with torch.no_grad():
        losses = [(net(data.x) - data.y).square().mean(dim=(1, 2)) for net in (start, after)]
    return {
        "before": surveyed(start, where).values(),
        "losses": [float(each.mean()) for each in losses],
        "rows": [_row(start, after, where, name) | _lives(start, after, data)],
    }


def _kept(params: Params) -> Values:
    """Exact training of peaks, and noise on the biases that the last step moved."""
    start = Kept(params["depth"], params["n_nets"], params["seed"])
    data = sampled(params["target"], params["n_nets"], params["seed"])
    lr, n_steps = 2.0 ** params["log2_lr"], params["n_steps"]
    trained = descended(start, data, lr, Way(EXACT), n_steps=n_steps - 1, seed=params["seed"])
    last = descended(trained, data, lr, Way(EXACT), seed=params["seed"])
    before, after = Group(_layers(trained)), Group(_layers(last))
    where = segments(0, params["n_nets"], params["seed"])
    moved = updates(before, after)
    rows: list[Values] = []
    for name in params["ways"]:
        noised = _with_noise(after, moved, Way(name), params["seed"])
        rows.append(_row(after, noised, where, name, moved))
    return {
        "before": surveyed(Group(_layers(start)), where).values(),
        "updates": _sizes(moved),
        "rows": rows,
    }


def _reference(params: Params) -> Values:
    """How far bias gradients in binary64 are from those in rational arithmetic."""
    start = started(params)
    data = sampled(params["target"], start.n_nets, params["seed"])
    moved = updates(start, descended_group(start, data, 1.0, EXACT, params["seed"]))
    errors: list[float] = []
    for index in range(start.n_nets):
        exact = bias_gradients(start.one(index), data.x[index], data.y[index])
        for layer, of_layer in zip(moved, exact, strict=False):
            errors += [
                float(abs(Fraction(-update) - g) / abs(g))
                for update, g in zip(layer[index].tolist(), of_layer, strict=True)
                if g != 0
            ]
    return {"median": float(np.median(errors)), "largest": max(errors), "n": len(errors)}


def descended_group(
    start: Group, data: Data, lr: float, name: str, seed: int, n_steps: int = 1
) -> Group:
    """A group after steps in a way of that name."""
    after = descended(start, data, lr, Way(name), n_steps=n_steps, seed=seed)
    assert isinstance(after, Group)
    return after


def _row(
    start: Group,
    after: Group,
    where: Sequence[Any],
    name: str,
    moved: Sequence[Floats] | None = None,
) -> Values:
    """What is left after a step in one way."""
    survey = surveyed(after, where)
    widths = _widths(start, Way(name), moved)
    return {"way": name, **survey.values(), **bounded(after, where, survey, widths)}


def _widths(start: Group, way: Way, moved: Sequence[Floats] | None) -> list[Floats] | None:
    """What the noise of each bias was multiplied by; None for a way without noise on biases."""
    if way.kind == "absolute":
        return [np.full(tuple(b.shape), way.level or 0.0) for b in start.bias[:-1]]
    if way.kind == "relative" and moved is not None:
        return [(way.level or 0.0) * np.abs(each) for each in moved]
    return None


def _with_noise(group: Group, moved: Sequence[Floats], way: Way, seed: int) -> Group:
    """Add noise to biases that have just been moved."""
    widths = _widths(group, way, moved) or [np.zeros_like(each) for each in moved]
    rng = np.random.default_rng(seed)
    noised = Group(
        [(w.detach(), b.detach()) for w, b in zip(group.weight, group.bias, strict=True)]
    )
    with torch.no_grad():
        for bias, width in zip(noised.bias, widths, strict=False):
            bias += torch.from_numpy(width * rng.uniform(-1, 1, width.shape))
    return noised


def _layers(model: Any) -> Any:
    assert isinstance(model, Kept)
    return model.layers()


def _sizes(moved: Sequence[Floats]) -> Values:
    """The bias updates of a group: their reciprocals, and how many are zero."""
    flat = np.concatenate(moved, axis=1)
    size = np.abs(flat)
    binades = np.floor(-np.log2(size[size > 0])).astype(int)
    values, counts = np.unique(binades, return_counts=True)
    means = [float((1 / row[row > 0]).mean()) if (row > 0).any() else None for row in size]
    return {
        "mean_reciprocal": means,
        "median": float(np.median(1 / size[size > 0])) if (size > 0).any() else None,
        "binades": dict(zip(map(str, values.tolist()), counts.tolist(), strict=True)),
        "n_zero": int((size == 0).sum()),
        "n": int(size.size),
    }


def _gradient_noise(exact: Sequence[Floats], computed: Sequence[Floats]) -> Values:
    """Relative errors of the bias updates, over the group: quartiles and the worst."""
    a, b = (np.concatenate(each, axis=1) for each in (exact, computed))
    errors = np.abs(b - a)[a != 0] / np.abs(a[a != 0])
    if not errors.size:
        return {"median": None, "high": None, "n_made": int((b[a == 0] != 0).sum())}
    return {
        "median": float(np.median(errors)),
        "high": float(np.quantile(errors, 0.9)),
        "n_made": int((b[a == 0] != 0).sum()),
    }


def _lives(start: Group, after: Group, data: Data) -> Values:
    """Units that are dead on the training points, before and after."""
    before, now = dead(start, data), dead(after, data)
    return {
        "n_units": int(before.size),
        "n_dead_before": int(before.sum()),
        "n_dead": int(now.sum()),
        "n_revived": int((before & ~now).sum()),
    }


_KINDS: dict[str, Callable[[Params], Values]] = {
    "absolute": _absolute,
    "step": _step,
    "training": _training,
    "kept": _kept,
    "reference": _reference,
}
