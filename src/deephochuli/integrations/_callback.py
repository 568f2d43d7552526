"""What the callbacks of all trainers have in common: one recording for each training."""

# torch types its collectives partly.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import atexit
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from deephochuli.integrations._follow import Follow
from deephochuli.record import Recording

AGREE_EVERY: Final = 32
"""Steps between two times at which several ranks agree on what rules ask for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a trainer should do at the end of a step.

    Attributes:
        snapshots: Why the weights should be saved, in words fit for file names; often empty.
        stops: The training should end.
    """

    snapshots: tuple[str, ...] = ()
    stops: bool = False


class Begin(Protocol):
    """Begins to record a training: `deephochuli.record`, with all but these arguments given."""

    def __call__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Iterable[Optimizer],
        /,
        *,
        resume: int | bool,
        follow: Follow,
    ) -> Recording | None:
        """Record from a step on; None where it is not to be recorded."""
        ...


class Training:
    """Records the trainings that a callback sees, one after the other.

    Args:
        begin: Begins to record one; a training that goes on from a checkpoint is to be resumed.
        follow: Whom to tell, and what follows from findings and events.
    """

    def __init__(self, begin: Begin, follow: Follow) -> None:
        self._begin = begin
        self._follow = follow
        self._recording: Recording | None = None
        self._n_steps = 0
        self._agreed_at = -1
        self._device = torch.device("cpu")

    @property
    def n_steps(self) -> int:
        """Steps of the training that goes on, or of the last one."""
        return self._n_steps if self._recording is None else self._recording.n_steps

    @property
    def is_going_on(self) -> bool:
        """Whether a training is being recorded."""
        return self._recording is not None

    @property
    def folder(self) -> Path | None:
        """Folder of the run of the training that goes on, which several ranks share."""
        return None if self._recording is None else self._recording.home

    @property
    def is_on(self) -> bool:
        """Whether the step that is going on is counted, so that its loss is wanted."""
        return self._recording is not None and self._recording.is_on

    def begin(
        self, model: nn.Module, optimizers: Optimizer | Iterable[Optimizer], first_step: int
    ) -> None:
        """Record a training from a step on; one after step 0 goes on with the run in the folder.

        Raises:
            TapError: The model, the schedule or the selection does not fit.
            StoreError: The folder cannot be written, or holds another run.
        """
        self.end()
        self._recording = self._begin(
            model, optimizers, resume=first_step or False, follow=self._follow
        )
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        atexit.register(self.end)  # not every trainer tells of exceptions

    def log(self, loss: float | Tensor) -> None:
        """Note the loss of the step that is going on."""
        if self._recording is not None:
            self._recording.log(loss=loss)

    def flush(self) -> None:
        """Write what waits, beside a checkpoint: what comes after it may never come."""
        if self._recording is not None:
            self._recording.flush()

    def decide(self) -> Decision:
        """What rules ask for at the end of a step; of all ranks, if there are several.

        What a trainer does then, all ranks must do together, but each finds what it finds at its
        own time. So with several ranks they agree, at every 32nd step, if there are any rules.
        """
        if not self._follow.has_rules or self._recording is None:
            return Decision()
        if not is_one_of_several():
            stops = self._recording.should_stop  # first: what is saved before a stop is due by then
            return Decision(tuple(self._follow.take_snapshots()), stops)
        if self.n_steps % AGREE_EVERY or self.n_steps == self._agreed_at:
            return Decision()
        self._agreed_at = self.n_steps
        asked = [self._recording.should_stop, bool(self._follow.take_snapshots())]
        flags = torch.tensor(asked, dtype=torch.uint8, device=self._device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        stops, saves = (bool(flag) for flag in flags)
        return Decision(("rules",) if saves else (), stops)

    def end(self) -> None:
        """Complete the run. Calling it again does nothing."""
        atexit.unregister(self.end)
        recording, self._recording = self._recording, None
        if recording is not None:
            self._n_steps = recording.n_steps
            recording.close()


def is_one_of_several() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile has been applied to a model or to a part of it."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )
