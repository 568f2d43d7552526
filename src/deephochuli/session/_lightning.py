"""The callback that every Trainer of Lightning gets while a session is on."""

# Only one of the two packages of Lightning has to be there, and neither types its hooks in full.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from torch import Tensor

from deephochuli.integrations.lightning import RecordingCallback
from deephochuli.session._training import AutoTraining, harmless

KEY: Final = "deephochuli"
"""Where a checkpoint keeps what it needs to go on with the run."""


class AutoCallback(RecordingCallback):
    """Records as `DeepHochuliCallback` does, into the folder of the session or of a checkpoint.

    What a checkpoint keeps is an entry of ours beside those of the callbacks: Lightning refuses two
    callbacks of a kind that both have a state, and a list of callbacks that serves two trainers
    holds two of these.
    """

    def __init__(self) -> None:
        """Record into the session that is on then."""
        self._own = AutoTraining()
        super().__init__(self._own)
        self._first_step: int | None = None

    def first_step(self, trainer: Any) -> int:
        """The step of the checkpoint that was loaded."""
        first, self._first_step = self._first_step, None
        return super().first_step(trainer) if first is None else first

    @harmless
    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Learn from which step the training goes on, and with which run."""
        kept: dict[str, Any] = checkpoint.get(KEY, {})
        if kept and trainer.state.fn == "fit":  # and not one of a model to be tested
            self._first_step = int(kept["n_steps"])
            self._own.goes_on_with = Path(kept["folder"])

    @harmless
    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write what waits, and say in the checkpoint where."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        folder = self._own.folder
        if folder is not None:
            checkpoint[KEY] = {"n_steps": self._own.n_steps, "folder": str(folder)}

    @harmless
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to record; a checkpoint has been loaded by now."""
        self._own.know_loggers(trainer.loggers)
        super().on_train_start(trainer, pl_module)

    @harmless
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Note the loss."""
        super().on_before_backward(trainer, pl_module, loss)

    @harmless
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Complete the run."""
        super().on_train_end(trainer, pl_module)

    @harmless
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Complete the run of a training that fails or is interrupted."""
        super().on_exception(trainer, pl_module, exception)
