"""Watching the model being called: pre-activations, activations and their gradients."""

# `_is_view`, `_base` and the graph task have no public interface in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deephochuli.taps._activations import ATTENTION, CLAMP, activation_kind, is_rectifying_clamp
from deephochuli.taps._catalogue import Catalogue, Slot, Tapped, channel_dim
from deephochuli.taps._frames import Call, ThreadState
from deephochuli.taps._modes import FunctionMode, mode_stack, push, remove, remove_abandoned
from deephochuli.taps._place import Place
from deephochuli.taps._reader import BaseGradientHook, GradientHook, Reader


def in_backward() -> bool:
    """Say whether autograd is running, so that a module call now is a recomputation."""
    return torch._C._current_graph_task_id() != -1


class ForwardWatch:
    """The two global module hooks and the function mode between them.

    Global hooks, because a hook on a module travels with it into copies and checkpoints.
    """

    def __init__(self, catalogue: Catalogue, reader: Reader) -> None:
        """Watch the modules of `catalogue` and show tensors through `reader`."""
        self._catalogue = catalogue
        self._by_id = catalogue.by_id
        self._reader = reader
        self._state = ThreadState()
        self._mode = FunctionMode(self)
        self._leaf_hooks: list[RemovableHandle] = []
        self._has_been_training = catalogue.model.training

    # ---- the hooks: on a step that is not looked at they must cost next to nothing

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Global forward pre-hook."""
        state = self._state
        if state.outermost is None:
            if id(module) not in self._by_id:
                return
            self._begin(state, module)
        elif module is state.outermost:
            self._begin_again(state, module)
        if state.is_recording:
            try:
                self._enter(state, module, args)
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(self._label(module), error)

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Global forward hook, called after an exception as well."""
        state = self._state
        if state.outermost is None:
            return
        if state.is_recording:
            try:
                self._leave(state, module, output)
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(self._label(module), error)
        if module is state.outermost:
            state.depth -= 1
            if state.depth == 0:
                self._end(state)

    # ---- the forward as a whole

    def _begin(self, state: ThreadState, module: nn.Module) -> None:
        state.outermost, state.depth = module, 1
        state.python_frame = sys._getframe(2)
        if not in_backward():
            self._announce(state, module)
        state.is_recording = bool(self._reader.tell("is_recording"))
        if state.is_recording:
            state.modes_below = mode_stack()
            push(self._mode)

    def _announce(self, state: ThreadState, module: nn.Module) -> None:
        """Say that a forward begins; calls of parts of the model count as one forward."""
        is_whole = module is self._catalogue.model
        if not is_whole and state.loose_epoch == self._reader.epoch:
            return
        self.end_loose_forward()
        self._drop_leaf_hooks()
        state.ground = Call(None, None, is_closed=True)
        state.loose_epoch = None if is_whole else self._reader.epoch
        state.is_announced = True
        self._reader.tell("forward_begins", self._is_training(module))

    def _is_training(self, module: nn.Module) -> bool:
        """Say whether a call is for training.

        Gradients must be enabled. A model in evaluation mode counts as not training only once it
        has been seen in training mode: some people fine-tune without ever calling ``train()``.
        """
        self._has_been_training |= module.training
        wants_gradients = torch.is_grad_enabled() or is_inside_reentrant_checkpoint()
        return wants_gradients and (module.training or not self._has_been_training)

    def _begin_again(self, state: ThreadState, module: nn.Module) -> None:
        """Tell a model that calls itself from one whose last call was interrupted."""
        if not state.is_abandoned():
            state.depth += 1
            return
        self.repair()
        self._begin(state, module)
        state.python_frame = sys._getframe(2)

    def _end(self, state: ThreadState) -> None:
        if state.is_recording:
            remove(self._mode)
        is_loose = state.loose_epoch is not None
        state.clear()
        if state.is_announced and not is_loose:
            state.is_announced = False
            self._reader.tell("forward_ends")

    def end_loose_forward(self) -> None:
        """Say that the calls of parts of the model, taken as one forward, are over."""
        state = self._state
        state.loose_epoch = None
        if state.is_announced:
            state.is_announced = False
            self._reader.tell("forward_ends")

    def repair(self) -> None:
        """Leave a forward in progress that an interrupt has ended without our notice."""
        state = self._state
        if state.outermost is None:
            return
        if state.is_recording:
            remove_abandoned(self._mode, state.modes_below)
        state.clear()

    def close(self) -> None:
        """Leave nothing behind in this thread or on the user's tensors."""
        self.repair()
        self.end_loose_forward()
        self._drop_leaf_hooks()

    def _drop_leaf_hooks(self) -> None:
        """Unhook the user's own tensors: unlike a graph, they live on after a step."""
        while self._leaf_hooks:
            self._leaf_hooks.pop().remove()

    # ---- one module call

    def _label(self, module: nn.Module) -> str:
        tapped = self._by_id.get(id(module))
        return f"module {tapped.path!r}" if tapped else f"a {type(module).__name__}"

    def _enter(self, state: ThreadState, module: nn.Module, args: tuple[Any, ...]) -> None:
        tapped = self._by_id.get(id(module))
        if tapped is None:  # a module made on the fly may be an activation; a teacher is not ours
            state.calls.append(Call(module, None, is_closed=activation_kind(module) is None))
            return
        if tapped.order < 0:
            tapped.order = self._catalogue.tick()
        parent = state.enclosing()
        call = Call(module, tapped, is_closed=False)
        state.calls.append(call)
        if tapped.kind is not None and args and is_real(args[0]):
            call.is_closed = True
            index = parent.count(tapped)
            call.slot = self._slot(state, tapped, tapped.kind, index, args[0], is_module=True)
            self._see_input(call.slot, args[0], bool(getattr(module, "inplace", False)))

    def _leave(self, state: ThreadState, module: nn.Module, output: Any) -> None:
        call = state.pop(module)
        if call is None or call.tapped is None:
            return
        if call.slot is not None:
            self._see_output(call.slot, output)
        elif call.tapped.channel_hint is not None:
            state.channel_hint = call.tapped.channel_hint

    # ---- one functional activation

    def call(
        self, kind: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call an activation function for the user and look at what goes in and comes out."""
        slot = None
        try:
            slot = self._before_call(kind, function, args, kwargs)
        except Exception as error:  # an instrument never stops the training
            self._reader.faults.report(f"function {kind!r}", error)
        output = function(*args, **kwargs)
        if slot is not None:
            try:
                self._see_output(slot, output[0] if isinstance(output, tuple) else output)
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(f"function {kind!r}", error)
        return output

    def _before_call(
        self, kind: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Slot | None:
        caller = self._state.enclosing_of_model()
        z = args[0] if args else kwargs.get("input", kwargs.get("query"))
        if caller is None or caller.tapped is None or not is_real(z):
            return None
        if kind == CLAMP and not is_rectifying_clamp(args, kwargs):
            return None
        index = caller.count(kind)
        slot = self._slot(self._state, caller.tapped, kind, index, z, is_module=False)
        if kind != ATTENTION:
            self._see_input(slot, z, is_in_place(function, args, kwargs))
        return slot

    # ---- looking

    def _slot(
        self,
        state: ThreadState,
        tapped: Tapped,
        kind: str,
        index: int,
        tensor: Tensor,
        *,
        is_module: bool,
    ) -> Slot:
        key: Hashable = index if is_module else (kind, index)
        slot = tapped.slots.get(key)
        if slot is None:
            dim = channel_dim(state.channel_hint, tensor.ndim, kind)
            path = tapped.path or tapped.type_name
            layer = path if is_module else self._catalogue.functional_layer(tapped.path, kind)
            slot = self._catalogue.activation_slot(tapped, kind, index, dim, layer)
            tapped.slots[key] = slot
        return slot

    def _see_input(self, slot: Slot, z: Tensor, is_in_place: bool) -> None:
        with torch._C.DisableTorchFunction():
            if slot.z is not None and not in_backward():
                self._reader.see(slot.z, z)
            if slot.dz is not None and z.requires_grad and torch.is_grad_enabled():
                self._hook(z, slot.dz, is_in_place)

    def _see_output(self, slot: Slot, output: Any) -> None:
        if not is_real(output) or (slot.a is None and slot.da is None):
            return
        with torch._C.DisableTorchFunction():
            if slot.a is not None and not in_backward():
                self._reader.see(slot.a, output)
            if slot.da is not None and output.requires_grad and torch.is_grad_enabled():
                self._hook(output, slot.da, is_in_place=False)

    def _hook(self, tensor: Tensor, place: Place, is_in_place: bool) -> None:
        base = tensor._base if is_in_place else None
        if base is not None and base.requires_grad:
            handle = base.register_hook(BaseGradientHook(self._reader, place, tensor, base))
        else:
            base = tensor
            handle = tensor.register_hook(GradientHook(self._reader, place))
        if base.is_leaf:
            self._leaf_hooks.append(handle)


def is_real(value: Any) -> bool:
    """Say whether something is a tensor of real floating-point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def is_in_place(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Say whether a call of an activation function overwrites its argument."""
    name: str = getattr(function, "__name__", "")
    return name.endswith("_") or bool(kwargs.get("inplace")) or True in args[1:]


def is_inside_reentrant_checkpoint() -> bool:
    """Say whether gradients are off only because torch will recompute this call later."""
    code = torch.utils.checkpoint.CheckpointFunction.forward.__code__
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False
