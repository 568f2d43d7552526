"""The assumptions through a training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis.assumptions._assumptions import assumptions
from deephochuli.analysis.assumptions._result import Assumptions
from deephochuli.analysis.assumptions._sheet import sheet_over_time
from deephochuli.analysis.assumptions._step import Loss, OptimizerOrFactory
from deephochuli.errors import TapError


class AssumptionWatch:
    """Measures the assumptions every few steps; the training goes on as if nobody looked.

    Call it with each batch before the step that trains on it.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loss = lambda model, batch: model(batch).square().mean()
        >>> ends = torch.tensor([0.0]), torch.tensor([1.0])
        >>> watch = AssumptionWatch(model, optimizer, loss, ends, every=5, level=2**-8)
        >>> for _ in range(10):
        ...     batch = torch.ones(8, 1)
        ...     watch(batch)
        ...     optimizer.zero_grad()
        ...     loss(model, batch).backward()
        ...     optimizer.step()
        >>> [each.step for each in watch.seen]
        [0, 5]
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerOrFactory,
        loss: Loss,
        segment: tuple[Tensor, Tensor],
        *,
        every: int = 100,
        **options: Any,
    ) -> None:
        """Watch a training.

        Args:
            model: The model that is trained.
            optimizer: Its optimizer.
            loss: Computes the loss of a model on a batch.
            segment: Two inputs without batch dimension.
            every: Steps from one measurement to the next.
            **options: Other arguments of `assumptions`, such as ``level=``.

        Raises:
            TapError: `every` is not positive.
        """
        if every < 1:
            raise TapError(f"Cannot measure every {every!r} steps: expected at least 1.")
        self.seen: list[Assumptions] = []
        self._about = model, optimizer
        self._loss = loss
        self._segment = segment
        self._every = every
        self._options = options
        self._n_steps = 0

    def __call__(self, batch: Any) -> None:
        """Look at the step that is about to be taken on a batch."""
        if self._n_steps % self._every == 0:
            model, optimizer = self._about
            self.seen.append(
                assumptions(
                    *(model, optimizer, batch, self._loss, self._segment),
                    step=self._n_steps,
                    **self._options,
                )
            )
        self._n_steps += 1

    def sheet(self) -> Sheet:
        """The answer as tables and figures, over the steps."""
        return sheet_over_time(self.seen)
