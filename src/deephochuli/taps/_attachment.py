"""Looking at a model and its optimizers, and ceasing to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer

from deephochuli.taps import _scaler
from deephochuli.taps._catalogue import Catalogue
from deephochuli.taps._compiler import allow_global_hooks, compile_anew
from deephochuli.taps._faults import Faults, say
from deephochuli.taps._forward import ForwardWatch
from deephochuli.taps._parameters import ParameterCatalogue, ParameterTap
from deephochuli.taps._reader import Reader
from deephochuli.taps._selection import Selection
from deephochuli.taps._sink import Sink
from deephochuli.taps._wrappers import (
    check_module,
    check_optimizer,
    listed,
    plain_model,
    plain_optimizer,
)


class Attachment:
    """A model and its optimizers being looked at, until `detach`.

    Attributes:
        model: The model; the one inside, if it came compiled or wrapped for several ranks.
        optimizers: Its optimizers.
        faults: What has failed while looking, and is switched off.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        sink: Sink,
        selection: Selection,
    ) -> None:
        """Attach at once; use `attach`, which checks what it is given."""
        self.model = plain_model(model)
        self.optimizers = tuple(optimizers)
        self.faults = Faults()
        self._reader = Reader(sink, self.faults)
        catalogue = Catalogue(self.model, selection)
        self._parameters = ParameterCatalogue(catalogue)
        self._forward = ForwardWatch(catalogue, self._reader)
        self._n_updates = {id(optimizer): 0 for optimizer in self.optimizers}
        self._scalers: dict[int, GradScaler] = {}
        self._held_back: set[int] = set()
        self._undo: list[Callable[[], None]] = []
        self._has_warned = False
        self._lock = threading.Lock()
        try:
            self._register()
        except BaseException:
            self.detach()
            raise

    def _register(self) -> None:
        undo = self._undo.append
        undo(compile_anew)  # runs last: nothing compiled may keep what is taken away before
        undo(allow_global_hooks())
        undo(self._forward.listen_to_compiler())
        undo(register_module_forward_pre_hook(self._forward.before).remove)
        undo(register_module_forward_hook(self._forward.after, always_call=True).remove)
        for optimizer in self.optimizers:
            undo(optimizer.register_step_pre_hook(self._before_update).remove)
            undo(optimizer.register_step_post_hook(self._after_update).remove)
        _scaler.listen(self)
        undo(lambda: _scaler.cease(self))
        compile_anew()

    # ---- what optimizers and scalers tell

    def _before_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._forward.end_loose_forward()
        self._warn_of_unseen_forward(optimizer)
        if _scaler.holds_back(optimizer):
            self._held_back.add(id(optimizer))
            self._reader.tell("update_skipped", self._scalers.get(id(optimizer)), optimizer)
        else:
            self._held_back.discard(id(optimizer))  # its last step may have raised
            self._reader.tell("before_update", optimizer)

    def _warn_of_unseen_forward(self, optimizer: Optimizer) -> None:
        """Say once that the model is trained without being called in a way that can be seen.

        An optimizer's first update tells nothing: the call may have come just before the attachment
        was made, or come from within the update, as with LBFGS.
        """
        is_first = not self._n_updates.get(id(optimizer))
        if self._forward.n_announced == 0 and not is_first and not self._has_warned:
            self._has_warned = True
            say(
                f"An optimizer updates {type(self.model).__name__}, but no call of the model has "
                "been seen: its activations are not recorded. Is a copy of it being trained?"
            )

    def _after_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._n_updates[id(optimizer)] = self._n_updates.get(id(optimizer), 0) + 1
        if id(optimizer) in self._held_back:
            self._held_back.discard(id(optimizer))
        else:
            self._reader.tell("after_update", optimizer)

    def scaler_steps(self, scaler: GradScaler, optimizer: Optimizer) -> int:
        """Learn which scaler an optimizer is stepped by."""
        if id(optimizer) in self._n_updates:
            self._scalers[id(optimizer)] = scaler
        return self._n_updates.get(id(optimizer), 0)

    def scaler_stepped(self, scaler: GradScaler, optimizer: Optimizer, n_updates: int) -> None:
        """Tell of an update that the scaler held back by not calling the optimizer."""
        if self._n_updates.get(id(optimizer)) == n_updates:
            self._forward.end_loose_forward()
            self._reader.tell("update_skipped", scaler, optimizer)

    # ---- what a sink may ask

    def parameters(self, optimizer: Optimizer) -> Iterator[ParameterTap]:
        """Yield what can be seen at the parameters of one optimizer, each parameter once.

        The model's frozen parameters come with the first optimizer.
        """
        is_first = optimizer is self.optimizers[0]
        return self._parameters.taps(optimizer, with_frozen=is_first)

    def loss_scale(self, optimizer: Optimizer) -> float | None:
        """Return the factor that the loss was multiplied by, None without a gradient scaler.

        It holds for the gradients dz and da of the step, from `before_update` or
        `update_skipped`; afterwards the scaler may choose another one.
        """
        scaler = self._scalers.get(id(optimizer))
        return scaler.get_scale() if scaler is not None and scaler.is_enabled() else None

    def gradient_scale(self, optimizer: Optimizer) -> float:
        """Return the factor that is still in the weight gradients.

        It holds during `before_update` and `update_skipped`. A scaler divides it out before the
        update, except for fused optimizers, which do so themselves.
        """
        scale = getattr(optimizer, "grad_scale", None)
        return 1.0 if scale is None else float(scale)

    # ---- the end

    def detach(self) -> None:
        """Cease to look and leave nothing behind. Calling it again does nothing."""
        with self._lock:
            undo, self._undo = self._undo, []
        for action in reversed(undo):
            action()
        if undo:
            self._forward.close()
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()


def attach(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    sink: Sink,
    selection: Selection | None = None,
) -> Attachment:
    """Look at a model and its optimizers.

    Args:
        model: Any module. Nothing is put on it: copies and checkpoints of it know nothing of this.
        optimizers: The optimizers that change its parameters; may be none.
        sink: Receives what is seen.
        selection: What to look at; all layers and the default quantities if left out.

    Returns:
        The attachment, which is also a context manager.

    Raises:
        TapError: There is nothing to look at in the model, an optimizer is none or belongs to
            another model, or the selection matches nothing.
    """
    check_module(model)
    found = [plain_optimizer(each) for each in listed(optimizers)]
    for optimizer in found:
        check_optimizer(model, optimizer)
    return Attachment(model, found, sink, selection or Selection())
