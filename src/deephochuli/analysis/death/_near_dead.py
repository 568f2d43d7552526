"""A state on the grid of a format in which chosen units are one step from life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deephochuli.analysis._batches import Batch, batches_of
from deephochuli.analysis.compare import Task
from deephochuli.analysis.death._low import EXACT, Low, Spec, exact_copy, low_copy, low_of
from deephochuli.analysis.death._shadows import highs_of, wirings_of
from deephochuli.analysis.death._wiring import Wiring
from deephochuli.arithmetic import round_to
from deephochuli.errors import CompareError, near_matches
from deephochuli.formats import Format

_MOST_ROUNDS = 64


def near_dead(
    model: nn.Module,
    data: Any,
    chosen: Mapping[str, Sequence[int]],
    arithmetic: Spec = "bf16-pure",
    *,
    margin: float = 0.0,
    seed: int = 0,
) -> nn.Module:
    """A copy of a model with rounded weights in which chosen units are just dead on all the data.

    Layer by layer the bias of each chosen unit is lowered to the first number of the format at
    which its largest pre-activation, plus the margin, is below zero in the arithmetic and in
    binary64.

    Args:
        model: The model.
        data: As for `death`.
        chosen: Units by layer, as `death` names layers.
        arithmetic: Whose format weights are rounded to.
        margin: How far below zero the largest pre-activation has to be, at least.
        seed: Of dropout.

    Raises:
        CompareError: A layer is unknown or has no bias.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
        >>> x = torch.ones(1, 1)
        >>> bool(near_dead(model, x, {"0": [0]})[0](x) < 0)
        True
    """
    batches = batches_of(data)
    low = low_of(arithmetic, model)
    copied = low_copy(low, Task(model=model, batch=None)).model
    wirings = wirings_of(exact_copy(copied), batches[0], seed)
    layers = {wiring.layer: index for index, wiring in enumerate(wirings)}
    for layer in chosen:
        if layer not in layers or not wirings[layers[layer]].bias:
            raise CompareError(
                f"No unit of {layer!r} can be made near-dead: expected a layer with a bias before "
                f"a rectifier. {near_matches(layer, [w.layer for w in wirings if w.bias])}"
            )
    for layer in sorted(chosen, key=layers.__getitem__):
        index = layers[layer]
        _lower(
            copied,
            low,
            wirings,
            index,
            torch.tensor(chosen[layer], device="cpu"),
            batches,
            margin,
            seed,
        )
    return copied


def _lower(
    model: nn.Module,
    low: Low,
    wirings: Sequence[Wiring],
    index: int,
    units: Tensor,
    batches: Sequence[Batch],
    margin: float,
    seed: int,
) -> None:
    """Lower the biases of one layer's units until none of them fires."""
    bias = dict(model.named_parameters())[wirings[index].bias]
    for _ in range(_MOST_ROUNDS):
        high = _high(model, low, wirings, index, batches, seed)[units]
        alive = high >= -margin
        if not alive.any():
            return
        wanted = bias.detach()[units].double() - torch.where(alive, high + margin, 0.0)
        with torch.no_grad():
            lowered = torch.where(alive, _below(wanted, low.weights), bias[units].double())
            bias[units] = lowered.to(bias.dtype)
    raise CompareError(
        f"Units of {wirings[index].layer!r} still fire after {_MOST_ROUNDS} steps "
        f"down: their pre-activations are too large for {low.weights.name}."
    )


def _high(
    model: nn.Module,
    low: Low,
    wirings: Sequence[Wiring],
    index: int,
    batches: Sequence[Batch],
    seed: int,
) -> Tensor:
    """Largest pre-activations of one layer, in low arithmetic or in binary64."""
    begin = sum(wiring.n_units for wiring in wirings[:index])
    end = begin + wirings[index].n_units
    as_judged = highs_of(model, low.executor, wirings, batches, seed)[begin:end]
    in_binary64 = highs_of(exact_copy(model), EXACT, wirings, batches, seed)[begin:end]
    return torch.as_tensor(np.maximum(as_judged, in_binary64), device="cpu")


def _below(values: Tensor, fmt: Format) -> Tensor:
    """The largest numbers of a format that are below the values."""
    down = round_to(values, fmt, rounding="down")
    smaller = round_to(
        torch.nextafter(down, torch.full_like(down, -torch.inf)), fmt, rounding="down"
    )
    return torch.where(down < values, down, smaller)
