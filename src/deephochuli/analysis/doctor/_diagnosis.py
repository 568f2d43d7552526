"""Asking everything about a machine, a model and its optimizers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from deephochuli.analysis._finding import Finding, ranked
from deephochuli.analysis.doctor import _buffers, _constants, _layers, _steps, _values, _wiring
from deephochuli.analysis.doctor._checkpoint import read_checkpoint
from deephochuli.analysis.doctor._machine import Fact, machine_facts
from deephochuli.analysis.doctor._machine_findings import machine_findings
from deephochuli.analysis.doctor._patient import Held, Patient, examined, format_name
from deephochuli.errors import TapError

Question = Callable[[Patient], Iterator[Finding]]

QUESTIONS: Final[tuple[Question, ...]] = (
    _values.nonfinite_values,
    _values.subnormal_values,
    _values.little_headroom,
    _values.narrow_contents,
    _buffers.colliding_integers,
    _buffers.wrapped_integers,
    _buffers.coarse_frequencies,
    _buffers.equal_positions,
    _buffers.mask_constants,
    _buffers.stuck_counters,
    _constants.vanished_epsilon,
    _constants.frozen_averages,
    _constants.underflowing_squares,
    _constants.narrow_constants,
    _constants.narrow_states,
    _steps.inert_weight_decay,
    _steps.swamped_steps,
    _layers.vanished_norm_epsilon,
    _layers.swamped_statistics,
    _layers.frozen_copies,
    _layers.overflowing_constants,
    _wiring.unoptimized_weights,
    _wiring.shared_by_optimizers,
    _wiring.untrainable_dtypes,
    _wiring.mixed_dtypes,
    _wiring.torn_ties,
    _wiring.loss_scaling,
    _wiring.narrow_gradients,
)


@dataclass(frozen=True, slots=True)
class DtypeRow:
    """How many tensors of one kind are kept in one dtype.

    Attributes:
        kind: weight, gradient, buffer, tensor or state with its key.
        dtype: Name of the dtype.
        device: Where they lie.
        n_tensors: How many there are.
        n_elements: Elements of all of them.
        n_bytes: Bytes of all of them.
        example: Name of the first one.
    """

    kind: str
    dtype: str
    device: str
    n_tensors: int
    n_elements: int
    n_bytes: int
    example: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What arithmetic is used here, and what hides in a model.

    Attributes:
        machine: Switches of torch and measurements of this machine.
        dtypes: What the tensors of the model and its optimizers are kept in.
        findings: What should be known about them, worst first.
    """

    machine: tuple[Fact, ...]
    dtypes: tuple[DtypeRow, ...]
    findings: tuple[Finding, ...]


def doctor(
    model: nn.Module | str | os.PathLike[str] | None = None,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    scaler: GradScaler | None = None,
) -> Diagnosis:
    """Say what arithmetic torch really uses here, and what hides in a model.

    Nothing is changed: no flag, no tensor, no random number.

    Args:
        model: The model; or a ``.safetensors`` file or a folder of such files, of which the
            tensors are examined. The machine alone when None.
        optimizer: The optimizer or the optimizers that change the model.
        scaler: The gradient scaler, if there is one.

    Returns:
        Facts about the machine, dtypes of the model, and findings.

    Raises:
        TapError: The model is none, or the file cannot be read.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 4).half()
        >>> found = doctor(model, torch.optim.AdamW(model.parameters())).findings
        >>> [finding.kind for finding in found if finding.level == "critical"]
        ['underflowing-squares', 'vanished-epsilon']
    """
    facts = machine_facts()
    patient = _patient(model, optimizer, scaler)
    with torch.no_grad():
        found = [f for question in QUESTIONS for f in question(patient)]
    return Diagnosis(
        tuple(facts),
        tuple(dtype_rows(patient)),
        tuple(ranked([*machine_findings(facts), *found])),
    )


def _patient(model: object, optimizer: object, scaler: GradScaler | None) -> Patient:
    if model is None:
        if optimizer is not None:
            raise TapError("Cannot examine an optimizer alone: give the model that it changes too.")
        return Patient(())
    if isinstance(model, str | os.PathLike):
        return read_checkpoint(Path(cast("str", model)))
    if not isinstance(model, nn.Module):
        raise TapError(f"Cannot examine a {type(model).__name__}: expected a torch.nn.Module.")
    return examined(model, _optimizers(optimizer), scaler)


def _optimizers(given: Any) -> tuple[Optimizer, ...]:
    """The plain optimizers among what libraries wrap around them."""
    is_many = isinstance(given, Iterable) and not isinstance(given, Optimizer)
    listed: list[Any] = list(given) if is_many else [] if given is None else [given]  # pyright: ignore[reportUnknownArgumentType]
    plain: list[Optimizer] = []
    for each in listed:
        while not isinstance(each, Optimizer) and hasattr(each, "optimizer"):
            each = each.optimizer
        if not isinstance(each, Optimizer):
            raise TapError(
                f"Cannot examine a {type(each).__name__}: expected a torch.optim.Optimizer."
            )
        plain.append(each)
    return tuple(plain)


def dtype_rows(patient: Patient) -> list[DtypeRow]:
    """Count the tensors of a model and of its optimizers by kind, dtype and device."""
    groups: dict[tuple[str, str, str], list[Held]] = {}
    for held in patient.tensors:
        kind = f"state:{held.role}" if held.kind == "state" else held.kind
        key = (kind, format_name(held.tensor.dtype), str(held.tensor.device))
        groups.setdefault(key, []).append(held)
    return [
        DtypeRow(
            kind=kind,
            dtype=dtype,
            device=device,
            n_tensors=len(group),
            n_elements=sum(held.tensor.numel() for held in group),
            n_bytes=sum(held.tensor.numel() * held.tensor.element_size() for held in group),
            example=group[0].name,
        )
        for (kind, dtype, device), group in groups.items()
    ]
