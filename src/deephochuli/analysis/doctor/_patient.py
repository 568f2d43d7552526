"""What is examined: the tensors of a model and of its optimizers, each with its name and kind."""

# Optimizer states and modules hold whatever their owners put there.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from deephochuli.errors import FormatError
from deephochuli.formats import Format, format_of_dtype

Kind = Literal["weight", "gradient", "state", "buffer", "tensor"]

MOST_SAMPLED: Final = 1 << 20
"""Elements that questions about shares look at, per tensor, taken at equal distances."""


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor that a model or an optimizer holds.

    Attributes:
        name: Path of the tensor; a state's is that of its parameter.
        kind: weight, gradient, state or buffer; tensor where a file does not tell.
        role: Last part of the path, or the key of a state.
        tensor: The tensor, detached.
        owner: The module that holds it, if there is one.
    """

    name: str
    kind: Kind
    role: str
    tensor: Tensor
    owner: nn.Module | None = None

    @property
    def format(self) -> Format | None:
        """Format of the elements; None for integers, and for formats that are not known."""
        return format_of(self.tensor.dtype)

    @property
    def is_readable(self) -> bool:
        """Whether there are values: not on the meta device, not lazy, sparse or quantized."""
        tensor = self.tensor
        return (
            tensor.device.type != "meta"
            and tensor.layout is torch.strided
            and not tensor.is_quantized
            and tensor.numel() > 0
        )

    @property
    def is_constant(self) -> bool:
        """Whether it is what a model does not learn: a buffer, or a tensor of unknown kind."""
        return self.kind in ("buffer", "tensor")


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything that questions may look at.

    Attributes:
        tensors: All tensors, in the order of the model; gradients and states after the weights.
        model: The model; None where only its tensors are known.
        optimizers: Its optimizers.
        scaler: Its gradient scaler, if there is one.
    """

    tensors: tuple[Held, ...]
    model: nn.Module | None = None
    optimizers: tuple[Optimizer, ...] = ()
    scaler: GradScaler | None = None

    def of_kind(self, *kinds: Kind) -> list[Held]:
        """Tensors of some kinds."""
        return [held for held in self.tensors if held.kind in kinds]

    @property
    def names(self) -> dict[int, str]:
        """Name of each parameter by its identity."""
        return {} if self.model is None else {id(p): n for n, p in self.model.named_parameters()}


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters of one optimizer that share their constants.

    Attributes:
        optimizer: The optimizer.
        index: Number of the group.
        constants: Everything in the group but its parameters.
        parameters: Its parameters with the names they have in the model.
    """

    optimizer: Optimizer
    index: int
    constants: dict[str, Any]
    parameters: tuple[tuple[str, Tensor], ...]

    @property
    def label(self) -> str:
        """What messages call it."""
        name = type(self.optimizer).__name__
        return name if len(self.optimizer.param_groups) == 1 else f"{name}, group {self.index}"

    def number(self, name: str) -> float | None:
        """A constant as a number; None when it is not there or is none."""
        return as_number(self.constants.get(name))

    @property
    def rate(self) -> float:
        """The largest learning rate that is known: now, at the start or at the peak."""
        known = (self.number(name) for name in ("lr", "initial_lr", "max_lr"))
        return max((rate for rate in known if rate is not None), default=0.0)

    def by_dtype(self) -> dict[torch.dtype, list[tuple[str, Tensor]]]:
        """Its trained parameters by the format they are kept in."""
        found: dict[torch.dtype, list[tuple[str, Tensor]]] = {}
        for name, parameter in self.parameters:
            if parameter.requires_grad:
                found.setdefault(parameter.dtype, []).append((name, parameter))
        return found


def examined(
    model: nn.Module,
    optimizers: tuple[Optimizer, ...] = (),
    scaler: GradScaler | None = None,
) -> Patient:
    """Collect the tensors of a model and of its optimizers; copies and changes nothing."""
    tensors = [*_own(model), *_states(model, optimizers)]
    return Patient(tuple(tensors), model, optimizers, scaler)


def groups_of(patient: Patient) -> Iterator[Group]:
    """Yield the parameter groups of all optimizers."""
    names = patient.names
    for optimizer in patient.optimizers:
        for index, group in enumerate(optimizer.param_groups):
            parameters = tuple(
                (names.get(id(p), f"{type(optimizer).__name__}.parameter{i}"), p)
                for i, p in enumerate(group["params"])
            )
            constants = {key: value for key, value in group.items() if key != "params"}
            yield Group(optimizer, index, constants, parameters)


def _own(model: nn.Module) -> Iterator[Held]:
    """Yield weights, gradients and buffers; a shared one once."""
    modules: dict[str, nn.Module] = dict(modules_of(model))
    for name, parameter in model.named_parameters():
        if not is_lazy(parameter):
            path, _, role = name.rpartition(".")
            owner = modules.get(path)
            yield Held(name, "weight", role, parameter.detach(), owner)
            if parameter.grad is not None:
                yield Held(name, "gradient", role, parameter.grad.detach(), owner)
    for name, buffer in model.named_buffers():
        if not is_lazy(buffer):
            path, _, role = name.rpartition(".")
            yield Held(name, "buffer", role, buffer.detach(), modules.get(path))


def modules_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module of a model with its path; a shared one once."""
    yield from model.named_modules()


def _states(model: nn.Module, optimizers: tuple[Optimizer, ...]) -> Iterator[Held]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            if not isinstance(state, dict):
                continue
            for key, value in cast("dict[object, object]", state).items():
                if isinstance(value, Tensor):
                    name = names.get(id(parameter), type(optimizer).__name__)
                    yield Held(name, "state", str(key), value.detach())


def as_number(value: object) -> float | None:
    """A finite number, or a tensor of one; None for anything else."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def n_distinct(values: Tensor, dim: int | None = None) -> int:
    """Count different elements, or different slices along a dimension."""
    return int(torch.unique(values, dim=dim).shape[0])  # pyright: ignore[reportUnknownArgumentType]


def format_of(dtype: torch.dtype) -> Format | None:
    """The format of a dtype; None for integers, and for formats that are not known."""
    try:
        return format_of_dtype(str(dtype)) if dtype.is_floating_point else None
    except FormatError:
        return None


def format_name(dtype: torch.dtype) -> str:
    """The name of a dtype as tables show it."""
    return str(dtype).removeprefix("torch.")


def sample(tensor: Tensor, most: int = MOST_SAMPLED) -> Tensor:
    """Elements of a tensor at equal distances, at most `most`; the same ones each time."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // most))]
