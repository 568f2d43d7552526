"""Hugging Face Trainer: one callback.

    from deephochuli.integrations.transformers import DeepHochuliCallback

    Trainer(model, args, train_dataset=data, callbacks=[DeepHochuliCallback(to="runs/a")]).train()

A loop that uses accelerate alone needs no callback: give `deephochuli.record` what
``accelerator.prepare`` returned.
"""

# transformers types its hooks partly.
# pyright: reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from deephochuli.errors import MissingExtraError
from deephochuli.integrations._callback import Training, is_compiled
from deephochuli.integrations._follow import Follow
from deephochuli.integrations._rules import Given
from deephochuli.integrations._tracker import Tracker
from deephochuli.record import record

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtraError("A callback for the Trainer", "transformers", "transformers") from error


class RecordingCallback(TrainerCallback):
    """Records trainings of ``Trainer.train``.

    Steps of the recording are those of ``TrainerState.global_step``.
    """

    def __init__(self, training: Training) -> None:
        """Tell `training` of what the Trainer does."""
        self._training = training
        self._unhook: Callable[[], None] = lambda: None

    def begin(self, args: Any, state: Any, model: nn.Module, optimizer: Any) -> None:
        """Begin to record; a checkpoint has been loaded by now."""
        self._training.begin(model, optimizer, state.global_step)
        is_told_loss = args.gradient_accumulation_steps == 1 and not is_compiled(model)
        if is_told_loss and self._training.is_going_on:
            self._hear_loss(model)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what waits, so that the run folder holds all steps before the checkpoint."""
        self._training.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete the run."""
        self._unhook()
        self._training.end()

    def _hear_loss(self, model: nn.Module) -> None:
        """Note the loss that the model computes; the Trainer tells callbacks only means of it."""

        def hear(module: nn.Module, _: Any, output: Any) -> None:
            if module is model and module.training:
                loss = getattr(output, "loss", None)
                if isinstance(loss, Tensor) and loss.numel() == 1:
                    self._training.log(loss)

        self._unhook()
        self._unhook = register_module_forward_hook(hear).remove


class DeepHochuliCallback(RecordingCallback):
    """Records a training of ``Trainer.train``.

    Steps of the recording are those of ``TrainerState.global_step``. A training that goes on from
    a checkpoint (``resume_from_checkpoint``) goes on with the run in the folder.
    """

    def __init__(
        self,
        to: str | os.PathLike[str],
        *,
        every: Any = 20,
        trackers: Sequence[Tracker] = (),
        on_finding: Given = None,
        **options: Any,
    ) -> None:
        """Say where to record what.

        Args:
            to: Folder for the run; new or empty, or the one of the training that goes on.
            every: Which steps to record, as for :func:`deephochuli.record`.
            trackers: Told of numbers and findings while the training goes on.
            on_finding: ``"continue"``, ``"snapshot"`` or ``"stop"`` by names of findings, triggers
                or levels. A snapshot is a checkpoint of the Trainer; stop sets
                ``control.should_training_stop``.
            **options: Further arguments of :func:`deephochuli.record`, such as ``select``.
        """
        follow = Follow(*trackers, on_finding=on_finding)
        super().__init__(Training(partial(record, to=to, every=every, **options), follow))

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin to record."""
        self.begin(args, state, given["model"], given["optimizer"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Apply what rules have asked for."""
        decision = self._training.decide()
        control.should_save |= bool(decision.snapshots)
        control.should_training_stop |= decision.stops
