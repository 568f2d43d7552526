"""What the callbacks that trainers get by themselves have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from deephochuli.integrations import Follow, Training
from deephochuli.record import Recording
from deephochuli.session._current import trainer_session


class AutoTraining(Training):
    """Records the trainings of one trainer into the session that is on.

    Attributes:
        goes_on_with: The run that the next training goes on with; None for a new one.
    """

    def __init__(self) -> None:
        """Ask the session for everything when a training begins."""
        super().__init__(self._take, Follow())
        self.goes_on_with: Path | None = None

    def _take(
        self,
        model: nn.Module,
        optimizer: Optimizer | Iterable[Optimizer],
        /,
        *,
        resume: int | bool,
        follow: Follow,
    ) -> Recording | None:
        """Have the session record; it knows whom to tell."""
        folder, self.goes_on_with = self.goes_on_with, None
        session = trainer_session()
        optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        return None if session is None else session.take(model, optimizers, folder, int(resume))

    def know_loggers(self, loggers: Iterable[Any]) -> None:
        """Have the session show findings in loggers of a trainer that it cannot find by itself."""
        session = trainer_session()
        if session is not None:
            session.know_loggers(loggers)


def harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """A hook of a trainer that never raises: an instrument never stops the training."""

    @functools.wraps(hook)
    def guarded(*given: Any, **options: Any) -> None:
        session = trainer_session()
        if session is not None:
            with session.guarded(f"The callback {hook.__name__}"):
                hook(*given, **options)

    return guarded
