"""The sink of the taps: counts what is seen, and hands over whole steps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from deephochuli.errors import say
from deephochuli.kernels import (
    Backend,
    BackendOfDevice,
    Later,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
    backend_for,
    begin_number,
    is_capturing,
    is_supported,
)
from deephochuli.record._gathered import GATHERING, GatheredRows
from deephochuli.record._step import Seen, Step, UpdateFacts, dtype_name, row_of
from deephochuli.store import StepRow, TapRow
from deephochuli.taps import Attachment, Faults, ParameterTap, Place, local_part

Result = TypeVar("Result")
StepTaken = Callable[[StepRow, Sequence[TapRow]], None]
Parameters = Callable[[Optimizer], Iterable[ParameterTap]]

_GPU: Final = torch.device("cuda")

CAPTURED: Final = (
    "A CUDA graph is being captured: nothing is executed meanwhile, and its replays call no "
    "Python. So activations and gradients inside the graph are not recorded, and optimizer steps "
    "inside it are not counted. Where the optimizer steps outside of the graph, parameters, "
    "gradients and updates are recorded. To see activations, too, record without the graph."
)


class Recorder:
    """Counts every tensor that the taps show, step by step.

    A step ends when every optimizer has made its update (or was kept from it), or, without an
    optimizer, when the next forward begins. Forwards that compute no gradient are evaluation and
    are left out of the steps of a training.
    """

    def __init__(self, schedule: Callable[[int], bool]) -> None:
        """Count in the steps that ``schedule`` picks; :meth:`connect` before the first one."""
        self._schedule = schedule
        self._optimizers: tuple[Optimizer, ...] = ()
        self._on_step: StepTaken = lambda _step, _taps: None
        self._parameters: Parameters = lambda _: ()
        self._loss_scale: Callable[[Optimizer], float | None] = lambda _: None
        self._gradient_scale: Callable[[Optimizer], float] = lambda _: 1.0
        self._faults = Faults()
        self._copies: dict[int, Tensor] = {}
        self._indices: dict[Place, int] = {}
        self._numbers = itertools.count()
        self._before: dict[int, Tensor] = {}
        self._rows_of: dict[torch.device, Rows] = {}
        self._waiting: list[_Ended] = []
        self._began = time.monotonic()
        self.n_steps = 0
        self._in_evaluation = False
        self._has_said_captured = False
        self._begin_step()

    def connect(self, attachment: Attachment, on_step: StepTaken) -> None:
        """Learn the optimizers, where to ask about them, and who takes finished steps."""
        self._optimizers = attachment.optimizers
        self._parameters = attachment.parameters
        self._loss_scale = attachment.loss_scale
        self._gradient_scale = attachment.gradient_scale
        self._on_step = on_step
        self._faults = attachment.faults
        self._begin_step()

    def start_at(self, step: int) -> None:
        """Count the steps from a number on, before the first one."""
        self.n_steps = step
        self._begin_step()

    def log(self, *, loss: float | Tensor) -> None:
        """Note the loss of the step that is going on; ignored when the step is not recorded."""
        if self._on and not self._is_capturing():
            self._step.loss = _held(loss)

    def finish(self) -> None:
        """End the step that is going on, if anything was seen in it."""
        if self._on and (self._step.seen or self._step.taps):
            self._finish_step()
        self.settle()

    def settle(self) -> None:
        """Hand over the steps that have ended, whatever a device has still to do for them."""
        waiting, self._waiting = self._waiting, []
        for ended in waiting:
            self._hand_over(ended)

    # --- what the taps tell ----------------------------------------------------------------------

    def is_recording(self) -> bool:
        """Whether the forward that just began belongs to a recorded step."""
        return self._on and not self._in_evaluation and not self._is_capturing()

    def forward_begins(self, is_training: bool) -> None:
        """Count a micro-batch; without an optimizer, end the step before."""
        if self._is_capturing():
            return
        self._in_evaluation = bool(self._optimizers) and not is_training
        if self._in_evaluation:
            return
        if not self._optimizers and self._step.n_micro_batches:
            self._finish_step()
        self._step.n_micro_batches += 1

    def forward_ends(self) -> None:
        """Take no notice: gradients of this forward are still to come."""

    def see(self, place: Place, tensor: Tensor) -> None:
        """Count one tensor: what this rank holds of it."""
        if not self._on:
            return
        part = local_part(tensor)
        if part is None or not is_supported(part) or self._is_capturing(part.device):
            return
        # Several threads may look at once: `setdefault` and `next` let one of them come first.
        index = self._indices.get(place)
        if index is None:
            index = self._indices.setdefault(place, next(self._numbers))
        step, dtype = self._step, dtype_name(part.dtype)
        seen = step.seen.get(index)
        if seen is None:
            seen = step.seen.setdefault(index, Seen(place, dtype))
        if seen.dtype != dtype:
            seen.dtype = "mixed"
        seen.calls += 1
        rows = step.rows.get(part.device)
        if rows is None:
            rows = step.rows.setdefault(part.device, self._rows(step, part.device))
        channel_dim = place.channel_dim if place.quantity == "z" else None
        rows.add(index, TensorJob(part, channel_dim))

    def _rows(self, step: Step, device: torch.device) -> Rows:
        """Rows for the tensors of one device in one step; those of a GPU serve step after step."""
        backend = backend_for(device)
        if isinstance(backend, BackendOfDevice):
            rows = self._rows_of.get(device)
            return self._rows_of.setdefault(device, backend.rows()) if rows is None else rows
        if device.type != "cpu" or GATHERING in self._faults:
            return backend.rows()

        def on_fault(what: int | str, error: Exception) -> None:
            place = step.seen[what].place if isinstance(what, int) else what
            self._faults.report(place, error)

        return GatheredRows(backend, on_fault)

    def before_update(self, optimizer: Optimizer) -> None:
        """Keep the weights as they are before the step."""
        if self._is_capturing():
            return
        if optimizer not in self._pending:
            self._finish_step()
        if not self._on:
            return
        self._attempt("weights before an update", self._keep_weights, optimizer)

    def after_update(self, optimizer: Optimizer) -> None:
        """Count weights, gradients, updates and states; end the step with the last optimizer."""
        if self._is_capturing():
            return
        if self._on:
            self._attempt("an update", self._read_update, optimizer)
        self._done(optimizer)

    def update_skipped(self, scaler: GradScaler, optimizer: Optimizer) -> None:
        """Count the gradients that made the scaler skip the step, so that they can be named."""
        if self._is_capturing():
            return
        if self._on:
            self._step.skipped = True
            self._attempt("the gradients of a skipped update", self._read_gradients, optimizer)
        self._done(optimizer)

    def _is_capturing(self, device: torch.device = _GPU) -> bool:
        """Whether a graph is being captured, which is no part of any step; said once.

        Counting would be captured with it, and every replay would write to memory that is no
        longer ours. Reading would end the capture, and the training with it.
        """
        if not is_capturing(device):
            return False
        if not self._has_said_captured:
            self._has_said_captured = True
            say(CAPTURED)
        return True

    # --- steps -----------------------------------------------------------------------------------

    def _attempt(self, what: str, read: Callable[[Optimizer], None], optimizer: Optimizer) -> None:
        """Read something, unless that has failed before: the step ends in any case."""
        if what in self._faults:
            return
        try:
            with torch.no_grad():
                read(optimizer)
        except Exception as error:  # an instrument never stops the training
            self._faults.report(what, error)

    def _begin_step(self) -> None:
        self._pending = set(self._optimizers)
        self._step = Step()
        self._on = False
        if "the schedule" in self._faults:
            return
        try:
            self._on = self._schedule(self.n_steps)
        except Exception as error:  # it may be a function of the user's
            if not self.n_steps:
                raise
            self._faults.report("the schedule", error)

    def _done(self, optimizer: Optimizer) -> None:
        self._pending.discard(optimizer)
        if not self._pending:
            self._finish_step()

    def _finish_step(self) -> None:
        """End the step; if that fails, forget it, so that the next one does not begin with it."""
        try:
            self._end_step()
        except Exception as error:  # an instrument never stops the training
            self._faults.report("the end of a step", error)
            self._step = Step()
            self._rows_of = {}
            self._pending = set(self._optimizers)

    def _end_step(self) -> None:
        """Begin to read what was counted, and hand over the step before, which is there by now.

        What a CPU has counted is there at once. A GPU has still to count this step, and is not
        waited for: that is done when the next one ends, recorded or not, or by a flush.
        """
        step, number, on = self._step, self.n_steps, self._on
        self.n_steps += 1
        self._begin_step()
        self.settle()
        if not on:
            return
        ended = _Ended(number, time.monotonic() - self._began, step)
        try:
            ended.readings = step.begin_reading()
        except Exception as error:  # the next step may fare better
            self._forget(number, error)
            return
        self._waiting.append(ended)
        if not step.waits:
            self.settle()

    def _hand_over(self, ended: _Ended) -> None:
        step = ended.step
        try:
            taps = step.all_taps(ended.readings)
            loss = None if step.loss is None else step.loss.get()
        except Exception as error:  # the next step may fare better
            self._forget(ended.number, error)
            return
        row = StepRow(
            step=ended.number,
            wall_s=ended.wall_s,
            loss=loss,
            loss_scale=step.loss_scale,
            skipped=step.skipped,
            lr=step.lr,
            n_micro_batches=step.n_micro_batches,
        )
        self._on_step(row, taps)

    def _forget(self, number: int, error: Exception) -> None:
        """Give up a step, and what a device may still count into its rows."""
        self._faults.report(f"step {number}", error)
        self._rows_of = {}

    # --- parameters ------------------------------------------------------------------------------

    def _keep_weights(self, optimizer: Optimizer) -> None:
        self._step.loss_scale = self._loss_scale(optimizer)
        self._keep([tap.parameter for tap in self._parameters(optimizer) if tap.dw])

    def _keep(self, parameters: list[Tensor]) -> None:
        """Copy parameters into buffers that live as long as the recording, all in one call."""
        kept = {id(each): part for each in parameters if (part := _dense(each)) is not None}
        copies = {key: self._buffer(key, part) for key, part in kept.items()}
        if kept:
            _copy_all(list(copies.values()), list(kept.values()))
        self._before = copies

    def _buffer(self, key: int, part: Tensor) -> Tensor:
        """A buffer like a parameter, made anew only when the parameter changes its form."""
        copy = self._copies.get(key)
        if copy is None or not _same_form(copy, part):
            copy = self._copies[key] = torch.empty_like(part)
        return copy

    def _read_update(self, optimizer: Optimizer) -> None:
        rates = _learning_rates(optimizer)
        if self._step.lr is None:
            self._step.lr = next(iter(rates.values()), None)
        updates: list[tuple[ParameterTap, UpdateJob]] = []
        tensors: list[tuple[Place, Tensor]] = []
        for tap in self._parameters(optimizer):
            tensors.extend(tap.state)
            before, after = self._before.get(id(tap.parameter)), _dense(tap.parameter)
            gradient = _dense(tap.parameter.grad)
            if before is None or after is None or gradient is None:
                if tap.w is not None:
                    tensors.append((tap.w, tap.parameter))
                if tap.g is not None and gradient is not None:  # nobody looks at its update
                    tensors.append((tap.g, gradient))
            else:
                updates.append((tap, UpdateJob(before, after, gradient)))
        self._before = {}
        self._summarise_updates(updates, rates)
        self._summarise(tensors)

    def _summarise_updates(
        self, updates: list[tuple[ParameterTap, UpdateJob]], rates: dict[int, float]
    ) -> None:
        """Summarise updates in one call for each device."""
        groups: dict[torch.device, list[tuple[ParameterTap, UpdateJob]]] = {}
        for tap, job in updates:
            groups.setdefault(job.after.device, []).append((tap, job))
        for device, group in groups.items():
            backend = backend_for(device)
            later = _begin_updates(backend, [job for _, job in group])
            facts = [UpdateFacts.of(tap, rates.get(id(tap.parameter)) != 0.0) for tap, _ in group]
            self._step.add(
                lambda later=later, facts=facts: [
                    row
                    for each, summary in zip(facts, later.get(), strict=True)
                    for row in each.rows(summary)
                ],
                waits=isinstance(backend, BackendOfDevice),
            )

    def _read_gradients(self, optimizer: Optimizer) -> None:
        self._step.loss_scale = self._loss_scale(optimizer)
        scale = self._gradient_scale(optimizer)
        gradients = [
            (tap.g, gradient if scale == 1.0 else gradient / scale)
            for tap in self._parameters(optimizer)
            if tap.g is not None and (gradient := _dense(tap.parameter.grad)) is not None
        ]
        self._summarise(gradients)

    def _summarise(self, tensors: list[tuple[Place, Tensor]]) -> None:
        """Summarise tensors in one call for each device."""
        groups: dict[torch.device, list[tuple[Place, Tensor]]] = {}
        for place, given in tensors:
            tensor = _dense(given)
            if tensor is not None:
                groups.setdefault(tensor.device, []).append((place, tensor))
        for device, group in groups.items():
            backend = backend_for(device)
            later = _begin(backend, [TensorJob(tensor) for _, tensor in group])
            facts = [(place, dtype_name(tensor.dtype)) for place, tensor in group]
            self._step.add(
                lambda later=later, facts=facts: [
                    row_of(place, dtype, 1, summary)
                    for (place, dtype), summary in zip(facts, later.get(), strict=True)
                ],
                waits=isinstance(backend, BackendOfDevice),
            )


@dataclass(slots=True)
class _Ended:
    """A recorded step that has ended, and what is being read of it."""

    number: int
    wall_s: float
    step: Step
    readings: list[Later[dict[int, Summary]]] = field(
        default_factory=list[Later[dict[int, Summary]]]
    )


@dataclass(frozen=True, slots=True)
class _Known(Generic[Result]):
    """What is known at once; see `Later`."""

    result: Result

    def get(self) -> Result:
        """Return it."""
        return self.result


def _begin(backend: Backend, jobs: list[TensorJob]) -> Later[list[Summary]]:
    if isinstance(backend, BackendOfDevice):
        return backend.begin(jobs)
    return _Known(backend.summarise(jobs))


def _begin_updates(backend: Backend, jobs: list[UpdateJob]) -> Later[list[UpdateSummary]]:
    if isinstance(backend, BackendOfDevice):
        return backend.begin_updates(jobs)
    return _Known(backend.summarise_updates(jobs))


def _held(loss: float | Tensor) -> Later[float]:
    """A loss as it is now; one that lies on a GPU is not waited for."""
    if isinstance(loss, Tensor) and loss.device.type != "cpu":
        return begin_number(loss)
    return _Known(float(loss.detach()) if isinstance(loss, Tensor) else float(loss))


def _same_form(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape, strides, type and device."""
    return (a.shape, a.stride(), a.dtype, a.device) == (b.shape, b.stride(), b.dtype, b.device)


def _copy_all(into: list[Tensor], sources: list[Tensor]) -> None:
    """Copy many tensors at once; torch has no public name for it."""
    torch._foreach_copy_(into, sources)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _dense(given: Tensor | None) -> Tensor | None:
    """What this rank holds of a tensor, if it can be read element by element, or None."""
    part = None if given is None else local_part(given)
    return part.detach() if part is not None and is_supported(part) else None


def _learning_rates(optimizer: Optimizer) -> dict[int, float]:
    """The learning rate of each parameter, by identity, where the optimizer has one."""
    return {
        id(parameter): float(group["lr"])
        for group in optimizer.param_groups
        if "lr" in group
        for parameter in group["params"]
    }
