"""Execute a copy of a model once, on one batch, in one way."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deephochuli.analysis._copies import copy_of_optimizer
from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.compare._binary64 import Widen, copy_of
from deephochuli.analysis.compare._capture import Capture
from deephochuli.analysis.compare._dice import SameDice
from deephochuli.analysis.compare._executors import Executor
from deephochuli.analysis.compare._hooks import Visitor, following
from deephochuli.analysis.compare._trace import Call, Trace
from deephochuli.errors import CompareError, check_kind, say

Loss = Callable[[Any], Tensor]
DEFAULT_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is executed, however it is executed.

    Attributes:
        model: The model; only copies of it run.
        batch: Its input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        loss: Makes a scalar of the model's output; None takes the output's own ``loss``, or else a
            fixed random combination of the outputs.
        optimizer: An optimizer of the model, of which one step is compared; None for none.
        seed: Of all random numbers.
        max_bytes: Memory that one trace may take.
        meter: Counts the executions.
    """

    model: nn.Module
    batch: Any
    loss: Loss | None = None
    optimizer: torch.optim.Optimizer | None = None
    seed: int = 0
    max_bytes: int = DEFAULT_BYTES
    meter: Meter = field(default_factory=lambda: Meter())

    def __post_init__(self) -> None:
        """Refuse what is no model."""
        check_kind(self.model, nn.Module, "a torch.nn.Module", CompareError, "Cannot execute")


@dataclass(slots=True)
class Meter:
    """How many times a model was executed."""

    n_runs: int = 0


@dataclass(slots=True)
class Patient:
    """A copy of a model that may be run, and of its optimizer."""

    model: nn.Module
    optimizer: torch.optim.Optimizer | None


def prepare(task: Task, executor: Executor) -> Patient:
    """Copy the model and the optimizer, and bring them to the executor's dtype and device."""
    if executor.model is None:
        patient = _copied(task.model, task.optimizer)
    else:
        patient = _copied(executor.model, executor.optimizer)
        if patient.optimizer is None and task.optimizer is not None:
            patient.optimizer = _moved_optimizer(task, patient.model)
    _convert(patient, executor)
    if executor.prepare is not None:
        executor.prepare(patient.model)
    return patient


def execute(task: Task, executor: Executor) -> Trace:
    """Run forward, backward and, where there is an optimizer, its step, and keep every call.

    Raises:
        CompareError: The model cannot be copied, or the trace would need too much memory.
    """
    if not task.meter.n_runs or executor.model is not None:
        _mention_hooks(task.model if executor.model is None else executor.model)
    task.meter.n_runs += 1
    trace = Trace(executor.name, is_whole=executor.is_whole)
    patient = prepare(task, executor)
    parts = _parts_of(task.batch, executor.n_parts)
    pieces = [Trace(executor.name) for _ in parts]
    with world(task, executor, patient.model):
        outputs: list[Any] = []
        for part, piece in zip(parts, pieces, strict=True):
            capture = Capture(piece, task.max_bytes)
            with following(patient.model, capture, is_whole=executor.is_whole):
                outputs.append(_call(patient.model, _placed(part, executor)))
        output = outputs[0] if len(outputs) == 1 else _joined(outputs)
        trace.loss = _work_backwards(task, output)
        _keep_gradients(patient, trace)
        _keep_updates(patient, trace)
    trace.calls = pieces[0].calls if len(pieces) == 1 else _merged(pieces)
    return trace


def _mention_hooks(model: nn.Module) -> None:
    """Say that copies of parameters have no hooks: one may write to what is not to be touched."""
    hooked = [
        name
        for name, parameter in model.named_parameters()
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    ]
    if hooked:
        say(
            f"Hooks on the gradients of {len(hooked)} parameters ({hooked[0]}, ...) are left out: "
            "copies of the model are compared, and gradients are as they come from the backward. "
            "Put what the hooks compute into the model, or into loss=, to have it compared.",
        )


def replay(
    task: Task, reference: Executor, visitor: Visitor, judged: Trace
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run the reference with a visitor that may replace tensors, on another execution's gradients.

    Returns:
        Gradients of the parameters, and what the optimizer makes of the *judged* gradients.
    """
    task.meter.n_runs += 1
    made = Trace(reference.name)
    patient = prepare(task, reference)
    with world(task, reference, patient.model):
        with following(patient.model, visitor):
            output = _call(patient.model, _placed(task.batch, reference))
        _work_backwards(task, output)
        _keep_gradients(patient, made)
        for name, parameter in patient.model.named_parameters():
            known = judged.gradients.get(name)
            if known is not None and parameter.grad is not None and known.shape == parameter.shape:
                parameter.grad.copy_(known)
        _keep_updates(patient, made)
    return made.gradients, made.updates


@contextmanager
def _all_seeded(seed: int) -> Generator[None]:
    """Begin the generators of torch, numpy and Python anew; afterwards they go on as before."""
    # What is put back is the global state that a model's own code may draw from.
    states: Any = random.getstate(), numpy.random.get_state()  # noqa: NPY002 - see above
    with seeded(seed):
        random.seed(seed)
        numpy.random.seed(seed % 2**32)  # noqa: NPY002 - see above
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])  # noqa: NPY002 - see above


@contextmanager
def world(task: Task, executor: Executor, model: nn.Module) -> Generator[None]:
    """Flags, modes and dice of an execution; what is global is put back afterwards."""
    with ExitStack() as entered:
        entered.enter_context(_all_seeded(task.seed))
        entered.enter_context(torch.enable_grad())
        entered.enter_context(SameDice(task.seed))
        if executor.dtype is torch.float64:
            entered.enter_context(Widen())
        entered.enter_context(executor.context(model))
        yield


def _copied(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Patient:
    """A copy of a model, and of its optimizer, which holds the copy's parameters."""
    if optimizer is None:
        return Patient(copy_of(model), None)
    copied = copy_of(model)
    memo = {id(p): q for p, q in zip(model.parameters(), copied.parameters(), strict=True)}
    return Patient(copied, copy_of_optimizer(optimizer, memo))


def _moved_optimizer(task: Task, model: nn.Module) -> torch.optim.Optimizer:
    """A copy of the task's optimizer that holds another model's parameters, by their names."""
    own = _copied(task.model, task.optimizer)
    assert own.optimizer is not None
    _rebind(own.optimizer, dict(own.model.named_parameters()), dict(model.named_parameters()))
    return own.optimizer


def _convert(patient: Patient, executor: Executor) -> None:
    before = dict(patient.model.named_parameters())
    if executor.dtype is not None:
        patient.model.to(executor.dtype)
    if executor.device is not None:
        patient.model.to(executor.device)
    if patient.optimizer is not None:
        _rebind(patient.optimizer, before, dict(patient.model.named_parameters()))


def _rebind(
    optimizer: torch.optim.Optimizer, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Let an optimizer hold the parameters of the same names, its states in their dtype."""
    names = {id(parameter): name for name, parameter in before.items()}
    for group in optimizer.param_groups:
        group["params"] = [after.get(names.get(id(p), ""), p) for p in group["params"]]
    for parameter in list(optimizer.state):
        state = optimizer.state.pop(parameter)
        target = after.get(names.get(id(parameter), ""), parameter)
        optimizer.state[target] = {key: _like(value, target) for key, value in state.items()}


def _like(value: Any, parameter: Tensor) -> Any:
    is_moment = isinstance(value, Tensor) and value.dim() and value.is_floating_point()
    return value.to(parameter.device, parameter.dtype) if is_moment else value


def _placed(batch: Any, executor: Executor) -> Any:
    """The batch in the executor's dtype, or that of another model, and on its device."""
    dtype = _dtype_of(executor.model) if executor.dtype is None else executor.dtype

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        if dtype is not None and leaf.is_floating_point():
            leaf = leaf.to(dtype)
        return leaf if executor.device is None else leaf.to(executor.device)

    return pytree.tree_map(place, batch)


def _dtype_of(model: nn.Module | None) -> torch.dtype | None:
    """The dtype of all weights of a model; None where they have several, or none."""
    weights = [] if model is None else [*model.parameters()]
    dtypes = {each.dtype for each in weights if each.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def _call(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _work_backwards(task: Task, output: Any) -> float | None:
    loss = loss_of(task, output)
    if loss is None or not loss.requires_grad:
        return None
    loss.backward()
    return float(loss.detach())


def loss_of(task: Task, output: Any) -> Tensor | None:
    """The scalar whose gradients are compared; None where the model gives no number."""
    if task.loss is not None:
        home = next((p.device for p in task.model.parameters()), torch.device("cpu"))
        return _scalar(task.loss(_on(output, home)))
    own = getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    outputs = [leaf for leaf in leaves if leaf.is_floating_point() and leaf.numel()]
    if not outputs:
        return None
    generator = torch.Generator().manual_seed(task.seed)
    terms = [
        (each * torch.randn(each.shape, generator=generator, device="cpu").to(each)).mean()
        for each in outputs
    ]
    return torch.stack(terms).sum()


def _scalar(loss: Any) -> Tensor | None:
    """What a loss returned, if a gradient can be taken of it."""
    if loss is None:
        return None
    check_kind(loss, Tensor, "a torch.Tensor", CompareError, "Cannot take as a loss")
    if loss.numel() != 1:
        raise CompareError(
            f"The loss returned a tensor of shape {tuple(loss.shape)}: expected a single number, "
            "whose gradients are compared. Take its mean or its sum."
        )
    return loss


def _on(output: Any, device: torch.device) -> Any:
    return pytree.tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, output)


def _keep_gradients(patient: Patient, trace: Trace) -> None:
    for name, parameter in patient.model.named_parameters():
        if parameter.grad is not None:
            trace.gradients[name] = parameter.grad.detach().clone()


def _keep_updates(patient: Patient, trace: Trace) -> None:
    if patient.optimizer is None:
        return
    named = dict(patient.model.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    patient.optimizer.step()
    for name, parameter in named.items():
        trace.updates[name] = parameter.detach().double() - before[name].double()


def _parts_of(batch: Any, n_parts: int) -> list[Any]:
    """A batch cut along the first dimension of the tensors that share the commonest size."""
    if n_parts == 1:
        return [batch]
    leaves, form = pytree.tree_flatten(batch)
    sizes = [leaf.shape[0] for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()]
    size = max(set(sizes), key=sizes.count, default=0)
    if size < n_parts:
        raise CompareError(
            f"split={n_parts} needs at least {n_parts} samples; the batch has {size}."
        )
    edges = [round(k * size / n_parts) for k in range(n_parts + 1)]

    def cut(leaf: Any, start: int, stop: int) -> Any:
        is_batched = isinstance(leaf, Tensor) and leaf.dim() and leaf.shape[0] == size
        return leaf[start:stop] if is_batched else leaf

    return [
        pytree.tree_unflatten([cut(leaf, start, stop) for leaf in leaves], form)
        for start, stop in pairwise(edges)
    ]


def _joined(outputs: list[Any]) -> Any:
    """The outputs of the parts as one."""
    flat = [pytree.tree_flatten(output) for output in outputs]
    if any(isinstance(x, Tensor) and not x.dim() and x.requires_grad for x in flat[0][0]):
        raise CompareError(
            "The model returns a single number, such as a loss, which cannot be put together from "
            "the parts of a batch. Let it return numbers for each sample, and give loss=."
        )
    leaves = [_join(list(each)) for each in zip(*(leaves for leaves, _ in flat), strict=True)]
    return pytree.tree_unflatten(leaves, flat[0][1])


def _join(values: list[Any]) -> Any:
    if not all(isinstance(value, Tensor) and value.dim() for value in values):
        return values[0]
    return torch.cat(values)


def _merged(pieces: list[Trace]) -> dict[tuple[str, int], Call]:
    """The calls of several parts of a batch as the calls of the whole batch."""
    merged = dict(pieces[0].calls)
    for name, call in merged.items():
        several = [piece.calls[name] for piece in pieces if name in piece.calls]
        for what in ("inputs", "outputs", "grad_inputs", "grad_outputs"):
            columns = zip(*(getattr(each, what) for each in several), strict=False)
            setattr(call, what, [_join(list(column)) for column in columns])
    return merged
