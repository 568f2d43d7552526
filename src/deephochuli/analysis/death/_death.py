"""Which units are dead, dormant or frozen, and whether the arithmetic did it."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import torch
from torch import nn

from deephochuli.analysis._batches import Loss, batches_of
from deephochuli.analysis.compare import Task
from deephochuli.analysis.death._findings import find
from deephochuli.analysis.death._frozen import no_window, windows_of
from deephochuli.analysis.death._low import Spec, low_copy, low_of
from deephochuli.analysis.death._result import Death, LayerUnits
from deephochuli.analysis.death._shadows import shadows_of
from deephochuli.errors import CompareError


def death(
    model: nn.Module,
    data: Any,
    arithmetic: Spec = "bf16-pure",
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    steps: int | None = None,
    tau: float = 0.025,
    seed: int = 0,
) -> Death:
    """Judge every unit before a rectifier: dead by data, by bias or by rounding; dormant; frozen.

    Copies of the model run on all the data, as judged and in binary64 with the same weights. With
    an optimizer the judged copy is also trained for some steps, and beside each the exact gradient
    at its weights is computed.

    Args:
        model: The model, in the mode (train, eval) in which it is to be judged; it is not run
            itself.
        data: One batch or a list or loader of batches: inputs, or tuples (inputs, target). All of
            them are kept in memory.
        arithmetic: What is judged: an arithmetic or its name, a dtype in which torch keeps and
            computes everything, or another name that `compare` knows.
        loss: Of output and target, needed with an optimizer; None for the output's own ``loss``.
        optimizer: An optimizer of the model, of which a copy steps; None for no steps.
        steps: How many steps; None for one a batch.
        tau: Score up to which a unit is dormant.
        seed: Of dropout.

    Returns:
        Units by layer and fate, with findings.

    Raises:
        ArithmeticSpecError: The arithmetic is unknown.
        CompareError: The model cannot be copied or calls no rectifier, the data cannot be read, or
            the arguments contradict each other.

    Numerics:
        Largest pre-activations are compared with zero exactly, in binary64. "Exact" gradients and
        shadows are computed by torch in binary64, from weights that are numbers of the low format:
        where the pre-activation of the shadow is within its own rounding error of zero (about
        K 2^-53 of its addends), the verdict is that of binary64, not of the real numbers.
        Definitions are in docs/dead-neurons.md. Repeats bit for bit on one machine.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
        >>> with torch.no_grad():
        ...     _ = model[0].weight.copy_(torch.tensor([[2.0**-20], [-1.0]]))
        >>> found = death(model, torch.tensor([[2.0**-10]]), torch.float16)
        >>> found.count("by rounding"), found.count("by data")  # 2^-30 is zero in FP16
        (1, 1)
    """
    batches = batches_of(data)
    n_steps = _checked_steps(optimizer, steps, len(batches))
    if not 0 <= tau < 1:
        raise CompareError(f"tau={tau!r} is no score: expected a number from 0 up to 1.")
    low = low_of(arithmetic, model)
    patient = low_copy(low, Task(model=model, batch=None, optimizer=optimizer, seed=seed))
    shadows = shadows_of(low, low_copy(low, Task(model=model, batch=None)).model, batches, seed)
    windows = [no_window(shadow.wiring.n_units) for shadow in shadows]
    if n_steps:
        wirings = [shadow.wiring for shadow in shadows]
        taken = tuple(islice(cycle(batches), n_steps))
        windows = windows_of(low, patient, wirings, taken, loss, seed)
    layers = tuple(
        LayerUnits(shadow, window, tau) for shadow, window in zip(shadows, windows, strict=True)
    )
    return Death(
        model=type(model).__name__,
        arithmetic=low.name,
        tau=tau,
        n_batches=len(batches),
        n_steps=n_steps,
        layers=layers,
        findings=find(layers, low.name, n_steps),
    )


def _checked_steps(
    optimizer: torch.optim.Optimizer | None, steps: int | None, n_batches: int
) -> int:
    if optimizer is None:
        if steps:
            raise CompareError(
                f"steps={steps} without an optimizer: give optimizer=torch.optim.SGD(...) of the "
                "model whose steps are to be followed."
            )
        return 0
    if steps is not None and steps < 1:
        raise CompareError(f"steps={steps!r}: expected 1 or more, or None for one a batch.")
    return n_batches if steps is None else steps
