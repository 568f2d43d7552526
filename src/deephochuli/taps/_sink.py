"""What the taps talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

    from deephochuli.taps._place import Place


class Sink(Protocol):
    """Receives what the taps see. Everything it raises is reported once and kept from the loop.

    The calls of one step, in order: for each micro-batch `forward_begins`, any number of `see`
    (z and a), `forward_ends`, then `see` (dz and da) from the backward pass, which may come from
    another thread; then per optimizer `before_update` and `after_update`, or only `update_skipped`.
    """

    def is_recording(self) -> bool:
        """Say whether this step is looked at.

        Asked right after each forward began, and again when a checkpointed part of it is
        recomputed in the backward pass. Looking at an evaluation keeps torch from its fused
        transformer layers, so a recorder of training had better say no there.
        """
        ...

    def see(self, place: Place, tensor: Tensor) -> None:
        """Look at a tensor while it holds the value. It must be neither kept nor changed."""
        ...

    def forward_begins(self, is_training: bool) -> None:
        """Learn that the model is called: one micro-batch, or an evaluation."""
        ...

    def forward_ends(self) -> None:
        """Learn that the call has returned or raised."""
        ...

    def before_update(self, optimizer: Optimizer) -> None:
        """Learn that the optimizer is about to change its parameters."""
        ...

    def after_update(self, optimizer: Optimizer) -> None:
        """Learn that the optimizer has changed its parameters."""
        ...

    def update_skipped(self, scaler: GradScaler, optimizer: Optimizer) -> None:
        """Learn that the gradient scaler held an update back because of inf or NaN."""
        ...
