"""Looking at a model and its optimizers, and ceasing to."""

# `OptimizedModule` and `_compiled_call_impl` are how torch.compile marks what it has compiled.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer

from deephochuli.errors import TapError
from deephochuli.taps import _scaler
from deephochuli.taps._catalogue import Catalogue, modules_of
from deephochuli.taps._faults import Faults, say
from deephochuli.taps._forward import ForwardWatch
from deephochuli.taps._parameters import ParameterCatalogue, ParameterTap, parameters_of
from deephochuli.taps._reader import Reader
from deephochuli.taps._selection import Selection
from deephochuli.taps._sink import Sink


class Attachment:
    """A model and its optimizers being looked at, until `detach`.

    Attributes:
        model: The model; the one inside, if it was handed over compiled.
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
        self.model = uncompiled(model)
        self.optimizers = tuple(optimizers)
        self.faults = Faults()
        self._reader = Reader(sink, self.faults)
        catalogue = Catalogue(self.model, selection)
        self._parameters = ParameterCatalogue(catalogue)
        self._forward = ForwardWatch(catalogue, self._reader)
        self._n_updates = {id(optimizer): 0 for optimizer in self.optimizers}
        self._scalers: dict[int, GradScaler] = {}
        self._undo: list[Callable[[], None]] = []
        self._has_warned = False
        self._lock = threading.Lock()
        try:
            self._register(is_compiled=is_compiled(model) or is_compiled(self.model))
            self._warn_of_compiled_parts()
        except BaseException:
            self.detach()
            raise

    def _register(self, *, is_compiled: bool) -> None:
        undo = self._undo.append
        if is_compiled:  # hooks would only make torch compile the model anew, and see nothing
            say(
                f"{type(self.model).__name__} is compiled: its activations cannot be seen, only "
                "its parameters. Record the model without torch.compile to see them."
            )
        else:
            self._forward.is_attached = True
            undo(register_module_forward_pre_hook(self._forward.before).remove)
            undo(register_module_forward_hook(self._forward.after, always_call=True).remove)
        for optimizer in self.optimizers:
            undo(optimizer.register_step_pre_hook(self._before_update).remove)
            undo(optimizer.register_step_post_hook(self._after_update).remove)
        _scaler.listen(self)
        undo(lambda: _scaler.cease(self))

    def _warn_of_compiled_parts(self) -> None:
        parts = [path for path, part in modules_of(self.model) if path and is_compiled(part)]
        if parts:
            say(
                f"Inside {', '.join(map(repr, parts[:5]))}{' and more' if parts[5:] else ''} no "
                "activation can be seen: torch.compile has been applied there."
            )

    # ---- what optimizers and scalers tell

    def _before_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._forward.end_loose_forward()
        self._warn_of_unseen_forward()
        self._reader.tell("before_update", optimizer)

    def _warn_of_unseen_forward(self) -> None:
        """Say once that the model is trained without being called in a way that can be seen."""
        is_unseen = self._forward.n_announced == 0 and self._forward.is_attached
        if is_unseen and not self._has_warned:
            self._has_warned = True
            say(
                f"An optimizer updates {type(self.model).__name__}, but no call of the model has "
                "been seen: its activations are not recorded. Was it compiled after the recording "
                "began, or is a copy of it being trained?"
            )

    def _after_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._reader.epoch += 1
        self._n_updates[id(optimizer)] = self._n_updates.get(id(optimizer), 0) + 1
        self._reader.tell("after_update", optimizer)

    def scaler_steps(self, scaler: GradScaler, optimizer: Optimizer) -> int:
        """Learn which scaler an optimizer is stepped by."""
        if id(optimizer) in self._n_updates:
            self._scalers[id(optimizer)] = scaler
        return self._n_updates.get(id(optimizer), 0)

    def scaler_stepped(self, scaler: GradScaler, optimizer: Optimizer, n_updates: int) -> None:
        """Tell of an update that the scaler held back."""
        if id(optimizer) not in self._n_updates:
            return
        is_skipped = self._n_updates[id(optimizer)] == n_updates
        if not is_skipped and getattr(optimizer, "_step_supports_amp_scaling", False):
            is_skipped = _scaler.found_nonfinite(scaler, optimizer)  # skipped inside the kernel
        if is_skipped:
            self._forward.end_loose_forward()
            self._reader.epoch += 1
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
        """Return the factor that is still in the weight gradients during `before_update`.

        A scaler divides it out before the update, except for fused optimizers, which do so
        themselves.
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
    _check_module(model)
    found = [_plain_optimizer(each) for each in _listed(optimizers)]
    for optimizer in found:
        _check_optimizer(model, optimizer)
    return Attachment(model, found, sink, selection or Selection())


def _check_module(given: object) -> None:
    if not isinstance(given, nn.Module):
        raise TapError(f"Cannot look at a {type(given).__name__}: expected a torch.nn.Module.")


def _listed(optimizers: Any) -> list[Any]:  # noqa: ANN401 - whatever the user hands over
    if optimizers is None:
        return []
    is_many = isinstance(optimizers, Iterable) and not isinstance(optimizers, Optimizer)
    return list(optimizers) if is_many else [optimizers]  # pyright: ignore[reportUnknownArgumentType]


def _plain_optimizer(given: Any) -> Optimizer:  # noqa: ANN401 - whatever the user hands over
    """Unwrap what libraries put around an optimizer."""
    inner = given
    while not isinstance(inner, Optimizer) and hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not isinstance(inner, Optimizer):
        raise TapError(
            f"Cannot look at the updates of a {type(given).__name__}: expected a "
            "torch.optim.Optimizer or a wrapper with an attribute 'optimizer'."
        )
    return inner


def _check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse an optimizer that changes nothing of the model: it was made for another one."""
    own = {id(parameter) for parameter in model.parameters()}
    if own and not any(id(parameter) in own for parameter in parameters_of(optimizer)):
        raise TapError(
            f"No parameter of {type(model).__name__} belongs to this {type(optimizer).__name__}. "
            "Make the optimizer after the model, from model.parameters()."
        )


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module inside what ``torch.compile(module)`` returns."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def is_compiled(model: nn.Module) -> bool:
    """Say whether a module has been compiled, either in place or as a new one."""
    return model._compiled_call_impl is not None or uncompiled(model) is not model
