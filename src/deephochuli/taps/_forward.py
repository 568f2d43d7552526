"""Watching the model being called: when a forward begins and ends, and which module is where."""

# `sys._getframe` tells a forward in progress from one that an interrupt has ended;
# `DisableTorchFunction` keeps what is done here from every function mode, ours and the user's.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TypeVar

import torch
from torch import nn
from torch.jit._trace import is_tracing

from deephochuli.taps._activations import activation_kind
from deephochuli.taps._catalogue import Catalogue
from deephochuli.taps._checkpoint import in_backward, region_being_recomputed, region_being_run
from deephochuli.taps._compiled import CompiledWatch
from deephochuli.taps._compiler import (
    call_uncompiled,
    is_compiler_on,
    is_exporting,
    never_compile_alone,
)
from deephochuli.taps._frames import Call, ThreadState, ground
from deephochuli.taps._look import Look
from deephochuli.taps._modes import FunctionMode, mode_stack, push, remove, remove_abandoned
from deephochuli.taps._outputs import first_of, is_real
from deephochuli.taps._reader import Reader

Result = TypeVar("Result")

_functorch: Final[Any] = getattr(torch._C, "_functorch")  # noqa: B009 - torch's stubs lack it


class ForwardWatch:
    """The two global module hooks and the function mode between them.

    Global hooks, because a hook on a module travels with it into copies and checkpoints. The
    mode is on the stack only while the model is being called on a step that is looked at, so
    that it nests properly with any mode of the user's.
    """

    def __init__(self, catalogue: Catalogue, reader: Reader) -> None:
        """Watch the modules of `catalogue` and show tensors through `reader`."""
        self._model = catalogue.model
        self._by_id = catalogue.by_id
        self._catalogue = catalogue
        self._reader = reader
        self._look = Look(catalogue, reader)
        self._state = ThreadState()
        self._mode = FunctionMode(self)
        self._compiled = CompiledWatch(catalogue, reader, self._announce_compiled)
        self._has_been_training = self._model.training
        self.n_announced = 0

    def listen_to_compiler(self) -> Callable[[], None]:
        """Have what torch.compile traces from now on seen as well; return the undo."""
        return self._compiled.listen()

    # ---- the hooks: on a step that is not looked at they must cost next to nothing

    def before(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Global forward pre-hook."""
        if torch.compiler.is_compiling():
            if not is_exporting():
                self._compiled.before(module, args)
        elif is_compiler_on():
            call_uncompiled(self._before, module, args, sys._getframe(1), False)
        else:
            self._before(module, args, sys._getframe(1), True)

    def _before(
        self, module: nn.Module, args: tuple[object, ...], frame: FrameType, uses_mode: bool
    ) -> None:
        state = self._state
        if state.outermost is None:
            if id(module) not in self._by_id:
                return
            self._begin(state, module, frame, uses_mode)
        elif module is state.outermost:
            self._begin_again(state, module, frame, uses_mode)
        if state.is_recording:
            try:
                with torch._C.DisableTorchFunction():
                    self._enter(state, module, args)
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(self._label(module), error)

    def after(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        """Global forward hook, called after an exception as well."""
        if torch.compiler.is_compiling():
            if not is_exporting():
                self._compiled.after(module, output)
        elif is_compiler_on():
            call_uncompiled(self._after, module, output)
        else:
            self._after(module, output)

    def _after(self, module: nn.Module, output: object) -> None:
        state = self._state
        if state.outermost is None:
            return
        if state.is_recording:
            try:
                with torch._C.DisableTorchFunction():
                    self._leave(state, module, output)
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(self._label(module), error)
        if module is state.outermost:
            state.depth -= 1
            if state.depth == 0:
                self._end(state)

    # ---- the forward as a whole

    def _begin(
        self, state: ThreadState, module: nn.Module, frame: FrameType, uses_mode: bool
    ) -> None:
        state.outermost, state.depth, state.python_frame = module, 1, frame
        if in_backward():
            self._return_to_region(state)
        else:
            self._announce(state, module)
        state.is_recording = holds_values() and bool(self._reader.tell("is_recording"))
        if not in_backward():
            is_recording = state.is_recording
            self._compiled.forward_begins(is_recording=is_recording, is_listed=not uses_mode)
        state.has_mode = state.is_recording and uses_mode
        if state.has_mode:
            state.modes_below = mode_stack()
            push(self._mode)

    def _return_to_region(self, state: ThreadState) -> None:
        """Count the calls of a recomputation as they were counted on the first run."""
        region = region_being_recomputed()
        if region is None or state.region is None or state.region() is not region:
            state.ground = ground()
            state.ground.counts = dict(self._look.counts_at(region))
        state.region = None if region is None else weakref.ref(region)

    def _announce(self, state: ThreadState, module: nn.Module) -> None:
        """Say that a forward begins; calls of parts of the model count as one forward."""
        is_whole = module is self._model
        if not is_whole and state.loose_epoch == self._reader.epoch:
            return
        self.end_loose_forward()
        self._look.drop_leaf_hooks()
        state.ground = ground()
        state.region = None
        state.loose_epoch = None if is_whole else self._reader.epoch
        state.is_announced = True
        self.n_announced += 1
        has_gradients = torch.is_grad_enabled() or region_being_run() is not None
        self._reader.tell("forward_begins", self._is_training(module.training, has_gradients))

    def _announce_compiled(self, is_training: bool, has_gradients: bool) -> None:
        """Say that a compiled forward begins; nothing tells when it ends, as with a loose one."""
        state = self._state
        self.end_loose_forward()
        state.loose_epoch = self._reader.epoch
        state.is_announced = True
        self.n_announced += 1
        self._reader.tell("forward_begins", self._is_training(is_training, has_gradients))

    def _is_training(self, is_training: bool, has_gradients: bool) -> bool:
        """Say whether a call is for training.

        Gradients must be enabled. A model in evaluation mode counts as not training only once it
        has been seen in training mode: some people fine-tune without ever calling ``train()``.
        """
        self._has_been_training |= is_training
        return has_gradients and (is_training or not self._has_been_training)

    def _begin_again(
        self, state: ThreadState, module: nn.Module, frame: FrameType, uses_mode: bool
    ) -> None:
        """Tell a model that calls itself from one whose last call was interrupted."""
        if state.is_abandoned():
            self.repair()
            self._begin(state, module, frame, uses_mode)
        else:
            state.depth += 1

    def _end(self, state: ThreadState) -> None:
        if state.has_mode:
            remove(self._mode)
        state.clear()
        if state.loose_epoch is None and not in_backward():
            self.end_loose_forward()

    def end_loose_forward(self) -> None:
        """Say that the forward in progress, if one was announced, is over."""
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
        if state.has_mode:
            remove_abandoned(self._mode, state.modes_below)
        state.clear()

    def close(self) -> None:
        """Leave nothing behind in this thread or on the user's tensors."""
        self.repair()
        self.end_loose_forward()
        self._look.drop_leaf_hooks()

    # ---- one module call

    def _label(self, module: nn.Module) -> str:
        tapped = self._by_id.get(id(module))
        return f"module {tapped.path!r}" if tapped else f"a {type(module).__name__}"

    def _enter(self, state: ThreadState, module: nn.Module, args: tuple[object, ...]) -> None:
        tapped = self._by_id.get(id(module))
        if tapped is None:  # a module made on the fly may be an activation; a teacher is not ours
            state.calls.append(Call(module, None, is_closed=activation_kind(module) is None))
            return
        if tapped.order < 0:
            tapped.order = self._catalogue.tick()
        parent = state.enclosing()
        if not torch.is_grad_enabled():
            self._look.remember_counts(region_being_run(), parent.counts)
        call = Call(module, tapped, is_closed=False)
        state.calls.append(call)
        if tapped.kind is not None or tapped.has_output:
            call.index = parent.count(tapped)
        if tapped.kind is not None and args and is_real(args[0]):
            call.is_closed = True
            self._look.at_module_input(state, call, tapped, args[0])

    def _leave(self, state: ThreadState, module: nn.Module, output: object) -> None:
        call = state.pop(module)
        if call is None or call.tapped is None:
            return
        if call.tapped.channel_hint is not None:
            state.channel_hint = call.tapped.channel_hint
        if call.slot is not None:
            self._look.at_output(call.slot, output)
        if call.tapped.has_output and output is not None:
            self._look.at_module_outputs(state, call.tapped, call.index, output)

    # ---- one functional activation

    def call(
        self,
        kind: str,
        function: Callable[..., Result],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> Result:
        """Call an activation function for the user and look at what goes in and comes out."""
        slot = None
        try:
            with torch._C.DisableTorchFunction():
                slot = self._look.at_function_input(self._state, kind, function, args, kwargs)
        except Exception as error:  # an instrument never stops the training
            self._reader.faults.report(f"function {kind!r}", error)
        result = function(*args, **kwargs)
        if slot is not None:
            try:
                with torch._C.DisableTorchFunction():
                    self._look.at_output(slot, first_of(result))
            except Exception as error:  # an instrument never stops the training
                self._reader.faults.report(f"function {kind!r}", error)
        return result


def holds_values() -> bool:
    """Say whether the tensors of a call hold values, and no trace or transform is being made.

    Under ``torch.jit.trace`` looking would be written into the trace; under ``torch.func`` a
    tensor stands for a batch of them, or for one that must not be read.
    """
    return not is_tracing() and _functorch.peek_interpreter_stack() is None


# Traced where a caller is, but never compiled by themselves.
for _hook in (ForwardWatch.before, ForwardWatch.after, FunctionMode.__torch_function__):
    never_compile_alone(_hook.__code__)
