"""The callback that every Trainer of transformers gets while a session is on."""

# transformers types its hooks partly.
# pyright: reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from deephochuli.integrations.transformers import RecordingCallback
from deephochuli.session._training import AutoTraining, harmless

KEY: Final = "deephochuli"
"""Where a checkpoint keeps what it needs to go on with the run."""


class AutoCallback(RecordingCallback):
    """Records as `DeepHochuliCallback` does, into the folder of the session or of a checkpoint.

    It begins with the first step, when a callback of the user's would have begun, which comes
    first. It is not what transformers calls an exportable state: then no checkpoint of a training
    without it could be resumed. What a checkpoint keeps is an entry of ours among those states.
    """

    def __init__(self) -> None:
        """Record into the session that is on then."""
        self._own = AutoTraining()
        super().__init__(self._own)
        self._has_begun = False

    @harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Learn with which run the training goes on; a checkpoint has been loaded by now."""
        self._has_begun = False
        kept: dict[str, Any] = state.stateful_callbacks.get(KEY, {})
        self._own.goes_on_with = Path(kept["folder"]) if kept and state.global_step else None

    @harmless
    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin to record before the first step."""
        if self._has_begun:
            return
        self._has_begun = True
        self.begin(args, state, given["model"], given["optimizer"])
        folder = self._own.folder
        if folder is not None:
            state.stateful_callbacks[KEY] = {"folder": str(folder)}

    @harmless
    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what waits."""
        super().on_save(args, state, control)

    @harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete the run."""
        super().on_train_end(args, state, control)
