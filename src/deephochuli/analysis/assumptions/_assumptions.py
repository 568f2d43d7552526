"""The assumptions behind the theorem on affine pieces, measured on a model that is trained."""

# torch's types for norms of tensors are partial.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deephochuli import pieces
from deephochuli.analysis.assumptions._bound import most_bends
from deephochuli.analysis.assumptions._path import Path, paths
from deephochuli.analysis.assumptions._result import Assumptions, BiasUpdates, LayerSlopes
from deephochuli.analysis.assumptions._step import (
    Loss,
    Noise,
    OptimizerOrFactory,
    Patient,
    dead_channels,
)
from deephochuli.arithmetic import SUP_DENSITY, Law, is_bias, measured_noise
from deephochuli.errors import PiecesError, TapError

_GRID = 1 << 10
"""Cells of the segment where its activation regions are not known."""


def assumptions(
    model: nn.Module,
    optimizer: OptimizerOrFactory,
    batch: Any,
    loss: Loss,
    segment: tuple[Tensor, Tensor],
    *,
    level: float | None = None,
    law: Law = "uniform",
    arithmetic: str | None = None,
    n_draws: int = 8,
    seed: int = 0,
    step: int | None = None,
) -> Assumptions:
    """Measure the assumptions (A) and (B) of one step, the bound they give, and the truth.

    (A): the mean of 1 / |D| over the bias updates D that are not zero, and whether dead neurons
    stay dead. (B): the largest slope of any pre-activation along the segment. The theorem then
    bounds the expected number of activation regions after a step with noise; the regions are
    counted before, after, and after with noise.

    Args:
        model: Any module; it is copied, also to take the step.
        optimizer: The optimizer that trains it, with its state; or a function that makes one of
            named parameters.
        batch: What `loss` takes besides the model.
        loss: Computes the loss of a model on a batch, ``lambda model, batch: ...``.
        segment: Two inputs without batch dimension; regions are counted between them.
        level: eps, the relative noise on the bias updates. None measures it as the median relative
            error of the bias gradients of `arithmetic`.
        law: Law of the noise.
        arithmetic: Name of the arithmetic that computes the step; None for the model's own dtype.
        n_draws: Steps with noise, each with its own.
        seed: Decides the noise.
        step: Number of the step, to be told in the result.

    Raises:
        ArithmeticSpecError: The level is negative or not finite, or there is no such law.
        TapError: No bias is trained, the optimizer is of another model, there is no draw or no
            noise, or neither a level nor an arithmetic is given.
        PiecesError: The ends of the segment are equal, or differ in shape.

    Numerics:
        With h = z - b the pre-activation without its bias, independent noise theta of density at
        most r, and total variation V of h along the segment, a unit whose bias moves by D bends on
        average at most r V / (eps |D|) times for each of its kinks (co-area formula; with V at
        most C times the length this is Lemma 3.1 and Theorem 3.4 of Karner, Kazeev, Petersen,
        2024, as derived by the project, the paper's constants not being known to it). The bound is
        one more than the sum over all units. A unit whose bias does not move adds the bends that
        it has. V and C are those of the models after steps with noise: the mean of V and the
        largest C of all draws. Steps are computed in the dtype of the model, slopes and counts in
        float64.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> x = torch.linspace(-1, 1, 32).reshape(-1, 1)
        >>> result = assumptions(
        ...     model,
        ...     lambda named: torch.optim.SGD(named, lr=0.1),
        ...     (x, x.square()),
        ...     lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        ...     (torch.tensor([-1.0]), torch.tensor([1.0])),
        ...     level=2**-8,
        ... )
        >>> result.is_below
        True
    """
    patient = Patient(model, optimizer, batch, loss)
    length = _length(segment)
    if n_draws < 1 or level == 0:
        raise TapError(
            f"n_draws={n_draws!r} steps with a level of noise {level!r}: expected at least one "
            "step, and a positive level; without noise there is no bound."
        )
    if level is None:
        level = _measured_level(patient, arithmetic, seed)
    biases = _biases(patient, patient.stepped(arithmetic))
    draws = [patient.stepped(arithmetic, Noise(law, level, seed=seed + k)) for k in range(n_draws)]
    notes: list[str] = []
    before, exact, *noisy_bounds = [
        _regions(each, segment, notes) for each in (model, patient.stepped(arithmetic), *draws)
    ]
    cells = [np.linspace(0, 1, _GRID + 1) if b is None else b for b in noisy_bounds]
    seen = [paths(each, *segment, cell) for each, cell in zip(draws, cells, strict=True)]
    slopes, sharp, plain = _bounded(seen, biases, level, SUP_DENSITY[law], notes)
    counts = [len(b) - 1 for b in noisy_bounds if b is not None]
    return Assumptions(
        model=type(model).__name__,
        step=step,
        law=law,
        level=level,
        length=length,
        is_exact=all(b is not None for b in noisy_bounds),
        biases=biases,
        slopes=tuple(
            LayerSlopes(each.name, each.sup_slope / length, each.variation) for each in slopes
        ),
        bound=plain,
        bound_variation=sharp,
        n_before=None if before is None else len(before) - 1,
        n_exact=None if exact is None else len(exact) - 1,
        n_noisy=tuple(counts),
        notes=tuple(dict.fromkeys(notes)),
    )


def _length(segment: tuple[Tensor, Tensor]) -> float:
    """Euclidean length of a segment."""
    x0, x1 = segment
    if x0.shape != x1.shape:
        raise PiecesError(
            f"The ends of the segment have the shapes {tuple(x0.shape)} and {tuple(x1.shape)}: "
            "expected two inputs of the model, without a batch dimension."
        )
    length = float((x1.double() - x0.double()).norm())
    if not (length > 0 and math.isfinite(length)):
        raise PiecesError(
            f"The segment has length {length}: expected two different inputs of finite numbers."
        )
    return length


def _measured_level(patient: Patient, arithmetic: str | None, seed: int) -> float:
    """The median relative error of the bias gradients in an arithmetic."""
    if arithmetic is None:
        raise TapError(
            "Without a level of noise, an arithmetic must be given to measure it: pass "
            "level=2**-8, or arithmetic='bf16'."
        )
    noise = measured_noise(patient.model, patient.batch, patient.loss, arithmetic, seed=seed)
    if not noise.level > 0:
        raise TapError(
            f"The gradients computed in {arithmetic} equal those of binary64, so there is no "
            "noise to go by: pass level=..., or convert the model to a narrower dtype."
        )
    return noise.level


def _biases(patient: Patient, after: nn.Module) -> tuple[BiasUpdates, ...]:
    """The updates of all trained biases, and which neurons are dead before and after."""
    dead, dead_after = dead_channels(patient.seen()), dead_channels(patient.seen(after))
    moved = dict(after.named_parameters())
    found = [
        BiasUpdates(
            name, _update(weight, moved[name]), _numbers(dead, name), _numbers(dead_after, name)
        )
        for name, weight in patient.model.named_parameters()
        if is_bias(name) and weight.requires_grad
    ]
    if not found:
        raise TapError(
            f"{type(patient.model).__name__} trains no bias, and the assumptions are about the "
            "updates of biases. Give its layers biases (bias=True)."
        )
    return tuple(found)


def _update(before: Tensor, after: Tensor) -> NDArray[np.float64]:
    return (after.detach().double() - before.detach().double()).cpu().numpy().ravel()


def _numbers(dead: dict[str, Tensor], name: str) -> NDArray[np.bool_] | None:
    return dead[name].cpu().numpy() if name in dead else None


def _regions(
    model: nn.Module, segment: tuple[Tensor, Tensor], notes: list[str]
) -> NDArray[np.float64] | None:
    """Where the activation regions of a segment begin and end; None where nobody can count them."""
    try:
        line = pieces.count(copy.deepcopy(model).eval(), *segment)
    except PiecesError as error:
        notes.append(f"Regions are not counted: {error}")
        return None
    return np.concatenate([[0.0], line.t, [1.0]])


def _bounded(
    draws: Sequence[Sequence[Path]],
    biases: Sequence[BiasUpdates],
    level: float,
    density: float,
    notes: list[str],
) -> tuple[list[LayerSlopes], float, float]:
    """Slopes of each layer over all draws, in t; the bound from variations, and the one from C."""
    updates = {bias.name: np.abs(bias.updates) for bias in biases}
    merged = [_merged(calls) for calls in zip(*draws, strict=True)]
    largest = max((float(path.sup_slope.max()) for path, _ in merged), default=0.0)
    sharp = plain = 1.0
    for path, crossings in merged:
        size = updates[path.bias][path.channel] if path.bias else np.zeros(len(path.channel))
        bends = partial(most_bends, density=density, n_kinks=path.n_kinks)
        sharp += float(bends(path.variation, level * size, crossings).sum())
        plain += float(bends(np.full(len(size), largest), level * size, crossings).sum())
        if not path.bias:
            notes.append(
                f"{len(size)} units ({path.kind}) carry no bias of their own: their bends are "
                "counted, not bounded."
            )
    slopes = [LayerSlopes(path.bias or "", path.sup_slope, path.variation) for path, _ in merged]
    return slopes, sharp, plain


def _merged(calls: Sequence[Path]) -> tuple[Path, NDArray[np.float64]]:
    """One activation over all draws: mean variation, largest slope; and the mean crossings."""
    path = replace(
        calls[0],
        variation=np.mean([call.variation for call in calls], axis=0),
        sup_slope=np.max([call.sup_slope for call in calls], axis=0),
    )
    return path, np.mean([call.n_crossings for call in calls], axis=0)
