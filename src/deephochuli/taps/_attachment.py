"""Looking at a model and its optimizers, and ceasing to."""

# `_global_forward_hooks` and its like are read by nobody; only public registration is used.
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from deephochuli.errors import TapError
from deephochuli.taps._catalogue import Catalogue
from deephochuli.taps._faults import Faults
from deephochuli.taps._forward import ForwardWatch
from deephochuli.taps._parameters import ParameterCatalogue, ParameterTap
from deephochuli.taps._place import DEFAULT_QUANTITIES, Place
from deephochuli.taps._reader import Reader
from deephochuli.taps._sink import Sink


class Attachment:
    """A model and its optimizers being looked at, until `detach`."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer], sink: Sink) -> None:
        """Attach at once; use `attach`, which checks what it is given."""
        self.faults = Faults()
        self.model = model
        self.optimizers = tuple(optimizers)
        self._reader = Reader(sink, self.faults)
        self._catalogue = Catalogue(model, self._wants)
        self._parameters = ParameterCatalogue(self._catalogue, self._wants)
        self._forward = ForwardWatch(self._catalogue, self._reader)
        self._lock = threading.Lock()
        self._handles: list[RemovableHandle] = []
        self._register()

    def _wants(self, place: Place, module: nn.Module) -> bool:
        return place.quantity.partition(":")[0] in DEFAULT_QUANTITIES

    def _register(self) -> None:
        add = self._handles.append
        add(register_module_forward_pre_hook(self._forward.before))
        add(register_module_forward_hook(self._forward.after, always_call=True))
        for optimizer in self.optimizers:
            add(optimizer.register_step_pre_hook(self._before_update))
            add(optimizer.register_step_post_hook(self._after_update))

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._forward.end_loose_forward()
        self._reader.tell("before_update", optimizer)

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._reader.epoch += 1
        self._reader.tell("after_update", optimizer)

    def parameters(self, optimizer: Optimizer) -> Iterator[ParameterTap]:
        """Yield what can be seen at the parameters of one optimizer.

        The model's frozen parameters come with the first optimizer.
        """
        is_first = optimizer is self.optimizers[0]
        return self._parameters.taps(optimizer, with_frozen=is_first)

    def detach(self) -> None:
        """Cease to look and leave nothing behind. Calling it again does nothing."""
        with self._lock:
            handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
        if handles:
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


def attach(model: nn.Module, optimizers: Optimizer | Iterable[Optimizer], sink: Sink) -> Attachment:
    """Look at a model and its optimizers.

    Args:
        model: Any module. Nothing is put on it: copies and checkpoints of it know nothing of this.
        optimizers: The optimizers that change its parameters.
        sink: Receives what is seen.

    Returns:
        The attachment, which is also a context manager.

    Raises:
        TapError: There is nothing to look at in the model.
    """
    if not isinstance(model, nn.Module):
        raise TapError(f"Cannot look at a {type(model).__name__}: expected a torch.nn.Module.")
    listed = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    return Attachment(model, listed, sink)
