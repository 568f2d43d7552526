"""Lightning: one callback.

    from deephochuli.integrations.lightning import DeepHochuliCallback

    Trainer(callbacks=[DeepHochuliCallback(to="runs/a")]).fit(model, data)

It is a callback of ``pytorch_lightning`` where the script has imported that, and of
``lightning.pytorch`` otherwise.
"""

# Only one of the two packages has to be there, and neither types its hooks in full.
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from deephochuli.errors import MissingExtraError
from deephochuli.integrations._callback import Training
from deephochuli.integrations._follow import Follow
from deephochuli.integrations._rules import Given
from deephochuli.integrations._tracker import Tracker
from deephochuli.record import record

if TYPE_CHECKING:
    from lightning.pytorch import Callback
elif "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError as error:
        raise MissingExtraError("A callback for Lightning", "lightning", "lightning") from error


class RecordingCallback(Callback):
    """Records trainings of ``Trainer.fit``; whoever extends it says from which step on.

    Steps of the recording are updates by all optimizers of the module.
    """

    def __init__(self, training: Training) -> None:
        """Tell `training` of what Lightning does."""
        self._training = training

    def first_step(self, trainer: Any) -> int:
        """The step from which a training goes on, as far as the trainer knows."""
        return trainer.global_step // max(1, len(trainer.optimizers))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to record; a checkpoint has been loaded by now."""
        self._training.begin(pl_module, trainer.optimizers, self.first_step(trainer))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Note the loss, as it was before it was divided and scaled for the backward."""
        if not self._training.is_on:
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        self._training.log(loss.detach() * (trainer.accumulate_grad_batches / scale))

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write what waits, so that the run folder holds all steps before the checkpoint."""
        self._training.flush()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Complete the run."""
        self._training.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Complete the run of a training that fails or is interrupted."""
        self._training.end()


class DeepHochuliCallback(RecordingCallback):
    """Records a training of ``Trainer.fit``.

    Steps of the recording are updates by all optimizers of the module. A training that goes on
    from a checkpoint goes on with the run in the folder.
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
                or levels. A snapshot is a checkpoint of the trainer beside the run folder; stop
                sets ``trainer.should_stop``.
            **options: Further arguments of :func:`deephochuli.record`, such as ``select``.
        """
        follow = Follow(*trackers, on_finding=on_finding)
        super().__init__(Training(partial(record, to=to, every=every, **options), follow))
        self._folder = Path(to)
        self._first_step: int | None = None

    def first_step(self, trainer: Any) -> int:
        """The step of the checkpoint that was loaded, if there was one with this callback."""
        first, self._first_step = self._first_step, None
        return super().first_step(trainer) if first is None else first

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Apply what rules have asked for."""
        decision = self._training.decide()
        for why in decision.snapshots:
            name = f"{self._folder.name}-{why}-step{self._training.n_steps}.ckpt"
            trainer.save_checkpoint(self._folder.with_name(name))
        if decision.stops:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: how many steps the training has had."""
        return {"n_steps": self._training.n_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Learn from which step the training goes on."""
        self._first_step = int(state_dict["n_steps"])
