"""The assumptions of the theorem, asked of a model with data as a data loader gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis._batches import Batch, Loss, batches_of, loss_of
from deephochuli.analysis.assumptions._assumptions import assumptions
from deephochuli.analysis.assumptions._result import Assumptions
from deephochuli.arithmetic import Law
from deephochuli.errors import PiecesError


def assumptions_between(
    model: nn.Module,
    data: Any,
    arithmetic: str = "bf16-pure",
    *,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None = None,
    level: float | None = None,
    law: Law = "uniform",
    n_draws: int = 8,
    first: int = 0,
    second: int = 1,
    seed: int = 0,
) -> Assumptions:
    """Measure the assumptions of one step on the segment between two inputs of the data.

    Args:
        model: Any module; only copies of it take steps.
        data: Batches (inputs, target); the step is taken on the first one.
        arithmetic: In which the step is computed; without a `level`, its error is the noise.
        optimizer: An optimizer of the model, whose settings and states the step takes.
        loss: Of output and target; None for the output's own ``loss``.
        level: The relative noise on bias updates; None measures it.
        law: Law of the noise.
        n_draws: Steps with noise.
        first: Number of the sample of the first batch at which the segment begins.
        second: Number of the sample at which it ends.
        seed: Decides the noise.

    Raises:
        PiecesError: The inputs are no tensor, or there are no such two samples.
        CompareError: The data cannot be read.
        TapError: As for `assumptions`.

    Numerics:
        See `assumptions`.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> data = torch.linspace(-1, 1, 8).reshape(-1, 1), torch.ones(8, 1)
        >>> found = assumptions_between(
        ...     model, data, optimizer=sgd, loss=nn.functional.mse_loss, level=2**-8
        ... )
        >>> found.is_below
        True
    """
    batch = batches_of(data)[0]
    segment = _segment(batch, first, second)

    def of_model(made: nn.Module, given: Batch) -> Tensor:
        return loss_of(made, given, loss)

    return assumptions(
        model,
        optimizer,
        batch,
        of_model,
        segment,
        level=level,
        law=law,
        arithmetic=arithmetic,
        n_draws=n_draws,
        seed=seed,
    )


def _segment(batch: Batch, first: int, second: int) -> tuple[Tensor, Tensor]:
    inputs = batch.inputs
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
        raise PiecesError(
            f"No segment can be laid through inputs of type {type(inputs).__name__}: expected one "
            "tensor of floating-point numbers with the batch as its first dimension."
        )
    if not 0 <= first < len(inputs) or not 0 <= second < len(inputs):
        raise PiecesError(
            f"There are no samples {first} and {second} in a batch of {len(inputs)}: expected two "
            f"numbers from 0 to {len(inputs) - 1}. Set them by first=... and second=..."
        )
    return inputs[first].detach(), inputs[second].detach()
