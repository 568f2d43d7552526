"""The judged way to compute: how it runs, and in which format it keeps weights and updates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from deephochuli.analysis.compare import Executor, Patient, Task, executor_of, prepare
from deephochuli.arithmetic import Arithmetic, get_arithmetic, round_to
from deephochuli.errors import ArithmeticSpecError, CompareError, check_kind
from deephochuli.formats import Format, format_of_dtype

Spec = Arithmetic | Executor | torch.dtype | str
"""An arithmetic or its name, an executor or its name, or a dtype in which everything is kept."""

EXACT = executor_of("fp64")


@dataclass(frozen=True, slots=True)
class Low:
    """The judged way to compute.

    Attributes:
        executor: Runs forward and backward.
        weights: Format that weights are kept in.
        updates: Format that weights and optimizer states are rounded to after a step.
        arithmetic: What is emulated; None for an execution by torch itself.
    """

    executor: Executor
    weights: Format
    updates: Format
    arithmetic: Arithmetic | None

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.executor.name


def low_of(spec: Spec, model: nn.Module) -> Low:
    """Understand in what a model is to be judged.

    Raises:
        ArithmeticSpecError: The name is unknown, or the executor cannot be used here.
        CompareError: The model is none.
    """
    check_kind(model, nn.Module, "a torch.nn.Module", CompareError, "Cannot follow")
    if isinstance(spec, torch.dtype):
        fmt = format_of_dtype(str(spec))
        name = str(spec).removeprefix("torch.")
        return Low(Executor(name=name, dtype=spec, precision=fmt.precision), fmt, fmt, None)
    executor = executor_of(spec)
    if executor.model is not None or executor.is_whole or executor.n_parts != 1:
        raise ArithmeticSpecError(
            f"Units cannot be judged in {executor.name!r}: expected an arithmetic such as "
            "'bf16-pure', a dtype such as torch.float16, or an executor that runs the same model "
            "in one piece on whole batches."
        )
    arithmetic = _arithmetic_of(spec)
    carrier = _carrier(model, executor)
    weights = arithmetic.weights if arithmetic is not None else None
    updates = arithmetic.optimizer if arithmetic is not None else None
    return Low(executor, weights or carrier, updates or carrier, arithmetic)


def _arithmetic_of(spec: Spec) -> Arithmetic | None:
    """The arithmetic that is emulated; None where torch itself runs the model."""
    if isinstance(spec, Arithmetic):
        return spec
    if isinstance(spec, str) and executor_of(spec).dtype is not None:
        return get_arithmetic(spec)
    return None


def _carrier(model: nn.Module, executor: Executor) -> Format:
    dtypes = [p.dtype for p in model.parameters() if p.is_floating_point()]
    if not dtypes:
        raise CompareError(f"{type(model).__name__} has no parameters, so no unit can be judged.")
    return format_of_dtype(str(executor.dtype or dtypes[0]))


def low_copy(low: Low, task: Task) -> Patient:
    """A copy of the task's model whose weights are numbers of the low format."""
    patient = prepare(task, low.executor)
    round_weights(patient.model, low.weights)
    return patient


def round_weights(model: nn.Module, fmt: Format) -> None:
    """Round all weights of a copy to a format, where they lie."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.copy_(round_to(parameter, fmt))


def exact_copy(model: nn.Module) -> nn.Module:
    """A copy of a model in binary64 with the same numbers in it."""
    copied = prepare(Task(model=model, batch=None), EXACT).model
    for parameter in copied.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return copied
