"""The rounding bias of a model that is trained for some steps in order to be asked."""

# Optimizers of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from contextlib import ExitStack
from itertools import cycle, islice
from typing import Any, Final

import torch
from torch import nn

from deephochuli.analysis._batches import Loss, batches_of, loss_of
from deephochuli.analysis._copies import copies_of
from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.rounding_bias._observer import RoundingBias
from deephochuli.analysis.rounding_bias._result import Bias
from deephochuli.arithmetic import get_arithmetic, run_as
from deephochuli.errors import CompareError

_FEWEST: Final = 2
"""Steps below which there is no mean with an error."""


def rounding_bias(
    model: nn.Module,
    data: Any,
    arithmetic: str | None = None,
    *,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None = None,
    n_steps: int = 60,
    alpha: float = 0.05,
    outputs: bool = False,
    seed: int = 0,
) -> Bias:
    """Train a copy of a model for some steps and tell which rounding errors take one side.

    A training of your own is followed by `RoundingBias`; this asks before there is one.

    Args:
        model: The model; only a copy of it trains.
        data: Batches (inputs, target) as a data loader gives them; steps take them in order, again
            and again.
        arithmetic: Name of an arithmetic that the copy is trained in; its own when None.
        optimizer: An optimizer of the model, whose settings and states the copy begins with.
        loss: Of output and target; None for the output's own ``loss``.
        n_steps: How many. An alarm needs 20 or so.
        alpha: Probability of any false alarm.
        outputs: Whether to follow the outputs of linear layers and convolutions too.
        seed: Of dropout, and of which elements are followed.

    Raises:
        CompareError: There are fewer than two steps, or the data cannot be read.
        TapError: The optimizer holds no parameter of the model.
        ArithmeticSpecError: The arithmetic is unknown.

    Numerics:
        See `RoundingBias`. Repeats bit for bit on one machine.

    Example:
        >>> model = nn.Linear(8, 8)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> data = torch.ones(4, 8), torch.zeros(4, 8)
        >>> found = rounding_bias(model, data, optimizer=sgd, loss=nn.functional.mse_loss)
        >>> {row.layer for row in found.rows} == {"weight", "bias"}
        True
    """
    if n_steps < _FEWEST:
        raise CompareError(f"rounding_bias(n_steps={n_steps!r}): expected {_FEWEST} or more.")
    batches = batches_of(data)
    copied, own = copies_of(model, optimizer)
    emulated = None if arithmetic is None else get_arithmetic(arithmetic)
    kept = None if emulated is None else emulated.optimizer or emulated.weights
    with ExitStack() as entered:
        entered.enter_context(seeded(seed))
        if emulated is not None:
            entered.enter_context(run_as(copied, emulated))
        bias = RoundingBias(copied, own, alpha=alpha, outputs=outputs, format=kept, seed=seed)
        entered.enter_context(bias)
        for batch in islice(cycle(batches), n_steps):
            own.zero_grad()
            loss_of(copied, batch, loss).backward()
            own.step()
    return bias.result()
