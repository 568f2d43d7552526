"""Run a copy of a model several times: once as it is, then with random errors."""

# torch's types for autograd and optimizers are partial, and modes have no public interface.
# pyright: reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from deephochuli.analysis._copies import copy_of_optimizer
from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.significance._margins import ARGMAX
from deephochuli.analysis.significance._watch import Sink, Watch, is_float, scores_of
from deephochuli.arithmetic import perturbed
from deephochuli.errors import CompareError, check_kind

Loss = Callable[[Any], Tensor]


@dataclass(slots=True)
class Patient:
    """A copy of a model that may be run, and of its optimizer."""

    model: nn.Module
    optimizer: torch.optim.Optimizer | None


def copied(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Patient:
    """Copy a model and its optimizer together, so that the copies belong together.

    Raises:
        CompareError: The model is no module, or cannot be copied.
    """
    check_kind(model, nn.Module, "a torch.nn.Module", CompareError, "Cannot run")
    memo: dict[int, Any] = {}
    try:
        made = copy.deepcopy(model, memo)
    except Exception as error:
        raise CompareError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and the "
            "model itself is not run. Remove what cannot be copied (a graph that an attribute "
            "keeps alive, an open file, a lock) or build the model anew for this."
        ) from error
    own = None if optimizer is None else copy_of_optimizer(optimizer, memo)
    for group in own.param_groups if own is not None else ():
        if "foreach" in group:  # one operator for each tensor: its result can be rounded at random
            group["foreach"] = False
    return Patient(made, own)


@dataclass(frozen=True, slots=True)
class Task:
    """What is run, however often.

    Attributes:
        batch: Input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        loss: Makes a scalar of the model's output, or None.
        seed: Of dropout, of the noise and of what is followed.
        precision_bits: Size of the noise, None for the precision of each tensor's dtype.
    """

    batch: Any
    loss: Loss | None
    seed: int
    precision_bits: int | None


def run(patient: Patient, task: Task, sink: Sink, sample: int | None) -> None:
    """Run forward, backward and one step of the optimizer; leave the copy as it was.

    Args:
        patient: The copy.
        task: What to run.
        sink: Takes what is seen.
        sample: Number of the sample, which decides its errors; None for a run without errors.
    """
    buffers = {name: each.clone() for name, each in patient.model.named_buffers()}
    noise: AbstractContextManager[None] = nullcontext()
    if sample is not None:
        key = task.seed * 1_000_003 + sample
        noise = perturbed(patient.model, task.precision_bits, key=key)
    watch = Watch(patient.model, sink)
    with seeded(task.seed), torch.enable_grad():
        watch.follow()
        try:
            with noise:
                with watch:
                    output = call(patient.model, task.batch)
                    loss = loss_of(task, output)
                with _disable_current_modes():
                    _show_scores(output, sink)
                _work_backwards(patient, loss, sink)
        finally:
            watch.forget()
    for name, each in patient.model.named_buffers():
        each.copy_(buffers[name])


def _show_scores(output: Any, sink: Sink) -> None:
    scores = scores_of(output)
    if scores is not None:
        sink("output", ARGMAX, scores)


def call(model: nn.Module, batch: Any) -> Any:
    """The output of a model for a batch."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def loss_of(task: Task, output: Any) -> Tensor | None:
    """The scalar whose gradients are looked at; None where the model gives no number.

    Without a loss given it is the output's own ``loss``, or else a fixed random combination of the
    outputs.
    """
    if task.loss is not None:
        return task.loss(output)
    own = getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    outputs = [leaf for leaf in pytree.tree_leaves(output) if is_float(leaf)]
    generator = torch.Generator().manual_seed(task.seed)
    terms = [
        (each * torch.randn(each.shape, generator=generator, device="cpu").to(each)).mean()
        for each in outputs
    ]
    return torch.stack(terms).sum() if terms else None


def _work_backwards(patient: Patient, loss: Tensor | None, sink: Sink) -> None:
    named = {n: p for n, p in patient.model.named_parameters() if p.requires_grad}
    if loss is None or not loss.requires_grad or not named:
        return
    gradients: Any = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    with _disable_current_modes():
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            parameter.grad = gradient
            if gradient is not None and gradient.layout is torch.strided and gradient.numel():
                sink(name, "g", gradient)
    _step(patient, named, sink)
    for parameter in named.values():
        parameter.grad = None


def _step(patient: Patient, named: dict[str, nn.Parameter], sink: Sink) -> None:
    """Make one step, look at what it added, and take it back."""
    if patient.optimizer is None:
        return
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    memo = {id(parameter): parameter for parameter in patient.model.parameters()}
    copy_of_optimizer(patient.optimizer, memo).step()  # states stay with the copy
    with torch.no_grad(), _disable_current_modes():
        for name, parameter in named.items():
            update = parameter.double() - before[name].double()
            sink(name, "dw", update.to(parameter.dtype))
            parameter.copy_(before[name])
