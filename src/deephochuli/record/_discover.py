"""Finding the models that a script trains while it trains them, and recording each.

A model is a module that is called from outside of any module, with gradients on, and owns
parameters that an optimizer steps. Optimizers are noticed when they are made. The call that shows
the model is already recorded: the recording begins inside of it, before anything is computed.
"""

# The table of global hooks and the guard against function modes have no public interface.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from torch import nn
from torch.nn.modules import module as nn_module
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from deephochuli.record._open import ON_BEGIN
from deephochuli.record._patch import Patch
from deephochuli.record._recording import Recording
from deephochuli.record._roots import (
    Trained,
    is_trainable,
    stepped_by,
    stepped_model,
    trained_model,
    unwrapped,
)
from deephochuli.record._runs import GoingOn, Options, Run, Runs
from deephochuli.taps import plain_optimizer

_functorch: Final[Any] = getattr(torch._C, "_functorch")  # noqa: B009 - torch's stubs lack it

STEPS_ALONE: Final = 3


class Discovery:
    """Records every model that is trained in this process, from `begin` to `end`.

    Nothing raises into the script: what fails is told to `complain`, and that model goes on
    unrecorded. A forked process records nothing.

    Attributes:
        notes: What the user should know in the end, each once.
        n_optimizers: Optimizers that were made or seen.
    """

    def __init__(
        self,
        options: Options,
        *,
        complain: Callable[[str], None],
        on_update: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `on_update` is called after each step of an optimizer."""
        self.notes: list[str] = []
        self.n_optimizers = 0
        self._complain = complain
        self._on_update = on_update
        self._runs = Runs(options, self._note)
        self._lock = threading.RLock()
        self._known: list[weakref.ref[Optimizer]] = []
        self._superseded: dict[int, int] = {}
        self._served: dict[int, weakref.ref[Optimizer]] = {}
        self._judged: dict[int, weakref.ref[nn.Module]] = {}
        self._early: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._n_compiled_calls = 0
        self._is_over = False
        self._call_hook: RemovableHandle | None = None
        self._step_hooks: list[RemovableHandle] = []
        self._patches: list[Patch] = []
        self._complaints: set[str] = set()

    @property
    def runs(self) -> list[Run]:
        """Every run so far, in the order of their beginnings."""
        return self._runs.all

    def take(
        self, model: nn.Module, optimizers: Iterable[object], going_on: GoingOn | None = None
    ) -> Recording | None:
        """Record a model that somebody names who knows, such as a trainer, before it is called.

        Returns:
            The recording, for them to close; None if there is one already, or if it failed.
        """
        with self._lock, self._guarded(type(model).__name__):
            plain = tuple(plain_optimizer(each) for each in optimizers)
            for optimizer in plain:
                self._serve(optimizer)
            inner = unwrapped(model)
            return self._runs.take(Trained(inner, (inner,), plain), going_on)
        return None

    # ---- beginning and end

    def begin(self) -> None:
        """Look out for optimizers and for models that are called."""
        self._patch(Optimizer, "__init__", self._noting_init)
        self._patch(torch, "compile", self._noting_compile)
        self._step_hooks = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        ON_BEGIN.append(self._begun_elsewhere)
        self._look_out()
        if hasattr(os, "register_at_fork"):
            child = weakref.WeakMethod(self._forsake)
            os.register_at_fork(after_in_child=lambda: (method := child()) and method())

    def end(self, error: BaseException | None = None) -> None:
        """Complete all runs and leave torch as it was; `error` ended the training, if any did."""
        with self._lock:
            self._undo()
            for run in self._runs.open:
                with self._guarded(f"The end of {run.name}"):
                    self._runs.close(run, error)

    def _forsake(self) -> None:
        """Leave a process that was forked from the one that is recorded."""
        self._lock = threading.RLock()  # another thread may have held it
        self._undo()
        for run in self._runs.open:
            if run.recording is not None:
                run.recording.forsake()
        self._runs.all.clear()

    def _undo(self) -> None:
        self._is_over = True
        if self._begun_elsewhere in ON_BEGIN:
            ON_BEGIN.remove(self._begun_elsewhere)
        for patch in reversed(self._patches):
            patch.undo()
        for handle in self._step_hooks:
            handle.remove()
        self._patches, self._step_hooks = [], []
        self._look_away()

    def _patch(self, owner: object, name: str, wrap: Callable[[Any], Any]) -> None:
        self._patches.append(Patch(owner, name, wrap))

    def _look_out(self) -> None:
        """Have calls of modules shown, unless a compiled one is going on: see `_calling`."""
        known = self._optimizers()
        is_done = known and all(id(optimizer) in self._served for optimizer in known)
        if self._call_hook is None and not (is_done or self._n_compiled_calls or self._is_over):
            self._call_hook = register_module_forward_pre_hook(self._called)

    def _look_away(self) -> None:
        if self._call_hook is not None:
            self._call_hook.remove()
            self._call_hook = None

    # ---- what happens in the script

    def _noting_init(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._made(optimizer)

        return __init__

    def _made(self, optimizer: Optimizer) -> None:
        """Know an optimizer. It takes the place of earlier ones for the same parameters."""
        with self._lock, self._guarded("A new optimizer"):
            own = stepped_by(optimizer)
            earlier = [each for each in self._optimizers() if each is not optimizer]
            for each in earlier:
                if own & stepped_by(each):
                    self._supersede(each)
            self._superseded.pop(id(optimizer), None)
            kept = [each for each in earlier if id(each) not in self._superseded]
            self._known = [weakref.ref(each) for each in (*kept, optimizer)]
            self.n_optimizers += 1
            self._judged.clear()
            self._runs.close_abandoned()
            self._look_out()

    def _noting_compile(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def compile(*args: Any, **kwargs: Any) -> Any:
            compiled = original(*args, **kwargs)
            return self._compiled(compiled, args[0] if args else kwargs.get("model"))

        return compile

    def _compiled(self, compiled: Any, given: object) -> Any:
        """Have the calls of a compiled module shown; return what the script gets."""
        module = getattr(given, "__self__", None)
        if isinstance(module, nn.Module) and getattr(given, "__name__", "") == "_call_impl":
            return self._calling(compiled, module)  # from Module.compile
        kind = cast("type[object]", type(compiled))
        is_new = not any(patch.owner is kind for patch in self._patches)
        if isinstance(compiled, nn.Module) and kind is not type(given) and is_new:
            self._patch(kind, "__call__", self._calling)
        return compiled

    def _calling(self, original: Callable[..., Any], own: nn.Module | None = None) -> Any:
        """Wrap the call of a compiled module.

        Our global hook is away meanwhile: it would be compiled into the model, and torch would
        warn of it.
        """

        @functools.wraps(original)
        def __call__(*args: Any, **kwargs: Any) -> Any:
            if self._is_over or torch.compiler.is_compiling():
                return original(*args, **kwargs)
            self._consider(args[0] if own is None else own)
            self._n_compiled_calls += 1
            self._look_away()
            try:
                return original(*args, **kwargs)
            finally:
                self._n_compiled_calls -= 1
                self._look_out()

        return __call__

    def _called(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Global forward pre-hook; costs next to nothing for a module that has been judged."""
        if torch.compiler.is_compiling() or id(module) in self._judged:
            return
        hooks = cast("dict[int, Any]", nn_module._global_forward_pre_hooks)
        before = set(hooks)
        self._consider(module)
        for number, hook in list(hooks.items()):
            if number not in before:  # torch has begun to go through those of before
                hook(module, args)

    def _consider(self, module: nn.Module) -> None:
        """Judge a module that is called, if its call can be one of a training."""
        is_new = id(module) not in self._judged
        if is_new and torch.is_grad_enabled() and _is_plain_call():
            with self._lock, self._guarded(type(module).__name__):
                self._judge(module)

    def _before_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Find the model of an optimizer of which no model has been seen in action."""
        if torch.compiler.is_compiling() or not self._is_news(optimizer):
            return
        with self._lock, self._guarded(f"The model of {type(optimizer).__name__}"):
            is_again = id(optimizer) in self._superseded
            if not any(known() is optimizer for known in self._known):
                self._made(optimizer)  # unpickled, made before this began, or in use again
            if not is_again:  # the next call will show the model
                self._serve(optimizer)
                with torch._C.DisableTorchFunction():
                    self._take_stepped(optimizer)

    def _take_stepped(self, optimizer: Optimizer) -> None:
        """Record the model of an optimizer from the middle of a step on."""
        known = self._optimizers()
        called = (trained_model(module, known) for module in list(self._early))
        trained = next((each for each in called if each and optimizer in each.optimizers), None)
        trained = trained or stepped_model(optimizer, known)
        if trained is not None:
            self._take(trained)
        else:
            self._note(
                f"Not recorded: the parameters that {type(optimizer).__name__} steps belong to no "
                "module."
            )

    def _is_news(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer is one that no recording waits for.

        An optimizer that another one has superseded may still step around it, as some wrappers
        do. It is in use again when it steps several times without the other one.
        """
        if id(optimizer) in self._superseded:
            self._superseded[id(optimizer)] += 1
            return self._superseded[id(optimizer)] == STEPS_ALONE
        for key in self._superseded:
            self._superseded[key] = 0
        return id(optimizer) not in self._served

    def _supersede(self, optimizer: Optimizer) -> None:
        self._superseded[id(optimizer)] = 0
        weakref.finalize(optimizer, self._superseded.pop, id(optimizer), None).atexit = False

    def _begun_elsewhere(self, recording: Recording) -> None:
        """Leave a model to whoever records it by name, as if that had begun before the training."""
        with self._lock, self._guarded("What the script records itself"):
            self._runs.give_way(recording)

    def _after_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        if not torch.compiler.is_compiling():
            with self._guarded("The progress line"):
                self._on_update()

    # ---- judging

    def _judge(self, module: nn.Module) -> None:
        """Record a module that is called, if it is trained."""
        for part in module.modules():
            forget = functools.partial(self._judged.pop, id(part))  # another may get its identity
            self._judged[id(part)] = weakref.ref(part, forget)
        with torch._C.DisableTorchFunction():
            trained = trained_model(module, self._optimizers())
            if trained is not None:
                self._take(trained)
            elif is_trainable(module):
                self._early.add(module)

    def _take(self, trained: Trained) -> None:
        for optimizer in trained.optimizers:
            self._serve(optimizer)
        if any(root in self._early for root in trained.roots):
            self._note(
                f"{type(trained.model).__name__} was called before its optimizer was made; what "
                "was computed there is not in the record."
            )
        self._runs.take(trained)
        if all(id(optimizer) in self._served for optimizer in self._optimizers()):
            self._look_away()  # until there is another one

    def _serve(self, optimizer: Optimizer) -> None:
        forget = functools.partial(self._served.pop, id(optimizer))
        self._served[id(optimizer)] = weakref.ref(optimizer, forget)

    def _optimizers(self) -> list[Optimizer]:
        return [optimizer for known in self._known if (optimizer := known()) is not None]

    # ---- words

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def _guarded(self, what: str) -> Generator[None]:
        """Keep what fails from the script, and say it once."""
        try:
            yield
        except Exception as error:  # an instrument never stops the training
            text = f"{what} is not recorded: {error}".rstrip(".") + ". The script goes on."
            if text not in self._complaints:
                self._complaints.add(text)
                self._complain(text)


def _is_plain_call() -> bool:
    """Say whether tensors hold values, and nothing is traced, transformed or intercepted."""
    return (
        not torch.jit.is_tracing()
        and _functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
    )
