"""Looking inside what torch.compile has made: by an operator that stands in the compiled graph.

While a forward is being compiled, the global hooks are compiled with it. There they put the
operator `deephochuli::look` beside each activation, and a tensor hook that puts it into the
backward graph. When the graph runs, the operator calls back here. Five facts shape this:

- A compiler drops an operator that has neither output nor effect. One that changes an argument is
  kept, but where two graphs of a forward share that argument, the second finds it changed between
  its forward and its backward, and autograd refuses. So the operator is registered as having an
  ordered effect, like printing: no tensor changes, and the order of the calls stays.
- What is compiled cannot look things up while it runs. The hooks name a watch and a module by
  numbers, which the graph holds as constants; everything else is decided when the numbers come
  back: whether the step is recorded, which call of the module this is, who takes the tensor.
- A compiler that fuses operations keeps the values between them in binary32 even where their type
  is narrower, unless something asks for such a value: then it is rounded, and what follows is
  computed from the rounded one. So tensors narrower than binary32 are not looked at in compiled
  code: looking would change the training. The watch says so once.
- Where torch is about to compile, but calls a hook outside of a graph, the hook must run as it is:
  compiled by itself it would show nothing and change how the code around it is compiled. Nor may a
  function mode lie on the stack then, which is compiled into whatever is traced under it.
- Compiled code guards on the global hooks, but code compiled for an inner module by itself does
  not. Whoever attaches must have torch compile anew: `compile_anew`.
"""

# Function modes and the compiler's hold on Python frames have no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import functools
import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch._C._dynamo.eval_frame import (
    _FrameAction,
    _FrameExecStrategy,
    get_eval_frame_callback,
    set_code_exec_strategy,
)
from torch._library.effects import EffectType

from deephochuli.taps._catalogue import Catalogue, Slot, Tapped, channel_dim
from deephochuli.taps._checkpoint import in_backward
from deephochuli.taps._faults import say
from deephochuli.taps._place import Place
from deephochuli.taps._reader import Reader

# What the operator is told of the tensor it is given.
BEGIN, INPUT, INPUT_GRADIENT, OUTPUT, OUTPUT_GRADIENT, NARROW, NO_HOOK = 0, 1, 2, 3, 4, 5, 6
# What is said once where a tensor cannot be looked at in compiled code.
_UNSEEN: Final = {
    NARROW: (
        "The tensors at {path!r} have less than 32 bits and lie inside compiled code: they are not "
        "looked at there, nor are others like them, because that would round values that the "
        "compiler keeps in more. Parameters, gradients and updates are recorded. To see the "
        "activations too, record without torch.compile."
    ),
    NO_HOOK: (
        "The gradients at {path!r} lie inside compiled code: torch {torch} cannot show them there "
        "without changing how the code is compiled, so neither they nor others like them are "
        "recorded; activations, parameters, their gradients and updates are. torch 2.13 shows "
        "them, and so does a run without torch.compile."
    ),
}
# At the beginning: the module's training mode, and whether gradients are wanted.
TRAINS, GRADIENTS = 1, 2

HOOKS_KEEP_TENSORS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
"""Whether a tensor with a hook is the same tensor in compiled code. Up to torch 2.12 it becomes a
view, which an activation that works in place refuses."""

_numbers = itertools.count()
_watches: WeakValueDictionary[int, CompiledWatch] = WeakValueDictionary()


@torch.library.custom_op("deephochuli::look", mutates_args=())
def look(x: Tensor, watch: int, module: int, what: int) -> None:
    """Show one tensor of a compiled graph to the watch that put the operator there.

    Args:
        x: The tensor; it is not changed.
        watch: Number of the watch; nothing happens once it is gone.
        module: Number of the module within the watch; at the `BEGIN` of a forward, its mode.
        what: `BEGIN`, `INPUT`, `INPUT_GRADIENT`, `OUTPUT`, `OUTPUT_GRADIENT`; or `NARROW`, when
            the tensor at the module is not given, because looking would change it; or `NO_HOOK`,
            when its gradient is not.
    """
    found = _watches.get(watch)
    if found is not None:
        found.looked(x, module, what)


@look.register_fake
def _(x: Tensor, watch: int, module: int, what: int) -> None:  # pyright: ignore[reportUnusedFunction]
    """Nothing comes out, whatever goes in."""


look.register_effect(EffectType.ORDERED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the hooks of one module put into the graph; plain values, which a compiler can read."""

    module: int
    sees_input: bool
    sees_input_gradient: bool
    sees_output: bool
    sees_output_gradient: bool


class CompiledWatch:
    """The hooks that are compiled, and what happens when the operator calls back."""

    def __init__(
        self, catalogue: Catalogue, reader: Reader, announce: Callable[[bool, bool], None]
    ) -> None:
        """Watch the modules of `catalogue`; `announce` learns of each forward."""
        self._model = catalogue.model
        self._catalogue = catalogue
        self._reader = reader
        self._announce = announce
        self._tapped = list(catalogue.by_id.values())
        self._hints = _hints(self._tapped)
        self.plans = self._plans()
        self.number = next(_numbers)
        with torch._C.DisableTorchFunction():  # no function mode of the user's takes part
            self.anything = torch.zeros(1, device="cpu")  # an operator must be given a tensor
        self._n_inputs: Counter[int] = Counter()
        self._n_gradients: Counter[tuple[int, int]] = Counter()
        self._is_on = False
        self._said: set[int] = set()
        _watches[self.number] = self

    def _plans(self) -> Mapping[nn.Module, Plan]:
        """Plan what to look at, by module; slots are made only when a call comes."""
        plans: dict[nn.Module, Plan] = {}
        for number, tapped in enumerate(self._tapped):
            if tapped.kind is not None:
                wanted = self._catalogue.wanted_at(tapped)
                plans[tapped.module] = Plan(
                    number, wanted.z is not None, wanted.dz is not None,
                    wanted.a is not None, wanted.da is not None,
                )  # fmt: skip
            elif tapped.has_output:
                plans[tapped.module] = Plan(number, False, False, True, True)
        return plans

    # ---- compiled with the user's code: nothing here may need Python when it runs

    def before(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Global forward pre-hook, inside a graph."""
        if module is self._model:
            mode = TRAINS * int(module.training) + GRADIENTS * int(torch.is_grad_enabled())
            look(self.anything, self.number, mode, BEGIN)
        plan = self.plans.get(module)
        if plan is None or not args or not isinstance(args[0], Tensor):
            return
        self._insert(args[0], plan.module, INPUT, plan.sees_input, plan.sees_input_gradient)

    def after(self, module: nn.Module, output: object) -> None:
        """Global forward hook, inside a graph."""
        plan = self.plans.get(module)
        if plan is not None and isinstance(output, Tensor):
            sees_gradient = plan.sees_output_gradient
            self._insert(output, plan.module, OUTPUT, plan.sees_output, sees_gradient)

    def _insert(
        self, x: Tensor, module: int, what: int, sees_value: bool, sees_gradient: bool
    ) -> None:
        """Put the operator beside a tensor, and a hook that puts it beside its gradient."""
        if not x.is_floating_point():
            return
        if x.dtype.itemsize < 4:
            look(self.anything, self.number, module, NARROW)
            return
        if sees_value:
            look(x.detach(), self.number, module, what)
        if not (sees_gradient and x.requires_grad and torch.is_grad_enabled()):
            return
        if not HOOKS_KEEP_TENSORS:
            look(self.anything, self.number, module, NO_HOOK)
        else:
            x.register_hook(functools.partial(_look_at_gradient, self.number, module, what + 1))

    # ---- what is known of a forward

    def forward_begins(self, *, is_recording: bool, is_listed: bool) -> None:
        """Learn that a forward begins, from within a graph or from a hook outside of one.

        Args:
            is_recording: Whether it is looked at.
            is_listed: Whether so much of the model is compiled that nothing tells the order in
                which its modules are executed.
        """
        if is_listed:
            self._catalogue.take_listed_order()
        self._n_inputs.clear()
        self._n_gradients.clear()
        self._is_on = is_recording

    # ---- called by the operator while the graph runs

    def looked(self, x: Tensor, module: int, what: int) -> None:
        """Take what the operator was given. Never raises an `Exception`."""
        try:
            if what == BEGIN:
                self._begin(is_training=bool(module & TRAINS), has_gradients=module >= GRADIENTS)
            elif what in _UNSEEN:
                self._say_unseen(what, self._tapped[module])
            elif self._is_on:
                self._look(x, self._tapped[module], module, what)
        except Exception as error:  # an instrument never stops the training
            self._reader.faults.report("compiled code", error)

    def _begin(self, *, is_training: bool, has_gradients: bool) -> None:
        """A forward of the whole model begins, unless a checkpoint runs it again."""
        if in_backward():
            return
        self._announce(is_training, has_gradients)
        self.forward_begins(is_recording=bool(self._reader.tell("is_recording")), is_listed=True)

    def _say_unseen(self, what: int, tapped: Tapped) -> None:
        if what not in self._said:
            self._said.add(what)
            say(_UNSEEN[what].format(path=tapped.path, torch=torch.__version__))

    def _look(self, x: Tensor, tapped: Tapped, module: int, what: int) -> None:
        """Show one tensor at its place, if it has one."""
        is_value = what in {INPUT, OUTPUT}
        if is_value and in_backward():
            return  # a recomputation: the values were shown on the first run
        if what == INPUT:
            self._n_inputs[module] += 1
        slot = self._slot(tapped, self._call_number(module, what), x.ndim)
        place = _place(slot, what)
        if place is not None:
            self._reader.see(place, x)

    def _call_number(self, module: int, what: int) -> int:
        """Which call of the module a tensor belongs to: gradients come in the reverse order."""
        n_calls = max(1, self._n_inputs[module])
        if what not in {INPUT_GRADIENT, OUTPUT_GRADIENT}:
            return n_calls
        self._n_gradients[module, what] += 1
        return max(1, n_calls + 1 - self._n_gradients[module, what])

    def _slot(self, tapped: Tapped, index: int, n_dims: int) -> Slot:
        if tapped.kind is None:
            dim = channel_dim(tapped.channel_hint, n_dims, "output")
            return self._catalogue.output_slot(tapped, "", index, dim)
        dim = channel_dim(self._hints[id(tapped.module)], n_dims, tapped.kind)
        return self._catalogue.module_slot(tapped, index, dim)


def _look_at_gradient(watch: int, module: int, what: int, gradient: Tensor) -> None:
    """Tensor hook that is compiled into the backward graph."""
    look(gradient, watch, module, what)


def _place(slot: Slot, what: int) -> Place | None:
    """The place that a tensor belongs to."""
    by_number: Final = {
        INPUT: slot.z,
        INPUT_GRADIENT: slot.dz,
        OUTPUT: slot.a,
        OUTPUT_GRADIENT: slot.da,
    }
    return by_number[what]


def _hints(tapped: list[Tapped]) -> dict[int, int | None]:
    """Where channels are counted at each module: by the last layer listed before it that says."""
    hints: dict[int, int | None] = {}
    hint: int | None = None
    for one in tapped:
        hint = hint if one.channel_hint is None else one.channel_hint
        hints[id(one.module)] = hint
    return hints


def is_compiler_on() -> bool:
    """Say whether torch compiles the functions that are called from here.

    It does so beside the graph as well: in what a graph break leaves to Python, and in the calls of
    a module that it does not trace itself, such as `nn.Sequential` compiled in place.
    """
    return get_eval_frame_callback() not in (None, False)


def is_exporting() -> bool:
    """Say whether torch exports the model, whose graph must not hold our operator.

    In whatever torch 2.11 compiles, `torch.compiler.is_exporting()` is True; the flag it should
    tell of is right there as well.
    """
    return torch.compiler._is_exporting_flag


def call_uncompiled(function: Any, *args: object) -> None:
    """Call a function of ours that torch must not compile."""
    torch.compiler.disable(function)(*args)  # pyright: ignore[reportArgumentType]


def never_compile_alone(code: CodeType) -> None:
    """Have torch trace a function where it is called in a graph, and otherwise leave it alone."""
    strategy = _FrameExecStrategy(_FrameAction.SKIP, _FrameAction.DEFAULT)
    set_code_exec_strategy(code, strategy)


for _function in (is_compiler_on, call_uncompiled):
    never_compile_alone(_function.__code__)


def compile_anew() -> None:
    """Have torch compile again what it has compiled, with the hooks that there are now."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def allow_global_hooks() -> Callable[[], None]:
    """Silence torch's warning that a compiled module calls global hooks once more; return the undo.

    Ours take no notice of that call.
    """
    warnings.filterwarnings(
        "ignore", message=r"Using `torch.compile\(module\)` when there are glob"
    )
    added = warnings.filters[0]

    def undo() -> None:
        # Leaving a `with warnings.catch_warnings()` may have taken the filter away before us.
        if added in warnings.filters:
            warnings.filters.remove(added)  # pyright: ignore[reportAttributeAccessIssue]

    return undo
