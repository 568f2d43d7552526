"""Looking inside what torch.compile has made: by an operator that stands in the compiled graph.

While a forward is being compiled, the global hooks are compiled with it. Beside each activation
they leave a call of `show` in the graph, and activation functions get theirs once the graph is
traced (`_graphs`). When the back end traces that graph in turn, `show` puts the operator
`deephochuli::look` beside the value, and a tensor hook that puts it into the backward graph. When
the graph runs, the operator calls back here. Six facts shape this:

- A compiler drops an operator that has neither output nor effect. One that changes an argument is
  kept, but where two graphs of a forward share that argument, the second finds it changed between
  its forward and its backward, and autograd refuses. So the operator is registered as having an
  ordered effect, like printing: no tensor changes, and the order of the calls stays.
- What is compiled cannot look things up while it runs. The hooks name a watch and a site by
  numbers, which the graph holds as constants; everything else is decided when the numbers come
  back: whether the step is recorded, which call of the module this is, who takes the tensor.
- A compiler that fuses operations keeps the values between them in binary32 even where their type
  is narrower, unless something asks for such a value: then it is rounded, and what follows is
  computed from the rounded one. So tensors narrower than binary32 are not looked at in compiled
  code: looking would change the training. The watch says so once.
- What it fuses, it computes in other loops once a value is asked for: sums come out in another
  order, and exponentials by other implementations. That was measured to change the last bits of
  trainings. So where a back end fuses, nothing inside is looked at. The watch says so once.
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
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Final, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch._library.effects import EffectType
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.fx import Graph, Node

from deephochuli.taps._catalogue import Catalogue, Slot, Tapped, channel_dim
from deephochuli.taps._checkpoint import in_backward
from deephochuli.taps._compiler import is_exporting
from deephochuli.taps._faults import say
from deephochuli.taps._frames import MAX_CALLS
from deephochuli.taps._graphs import (
    FunctionCall,
    Traced,
    first_result,
    function_calls,
    listen,
    nodes_in,
)
from deephochuli.taps._outputs import is_real
from deephochuli.taps._place import Place
from deephochuli.taps._reader import Reader

# What the operator is told of the tensor it is given.
BEGIN, INPUT, INPUT_GRADIENT, OUTPUT, OUTPUT_GRADIENT = 0, 1, 2, 3, 4
# At the beginning: the module's training mode, and whether gradients are wanted.
TRAINS, GRADIENTS = 1, 2

NARROW: Final = (
    "The tensors at {place!r} have less than 32 bits and lie inside compiled code: they are not "
    "looked at there, nor are others like them, because that would round values that the "
    "compiler keeps in more. Parameters, gradients and updates are recorded. To see the "
    "activations too, record without torch.compile."
)
FUSED: Final = (
    "The activation {place} lies inside code that {back_end} fuses: it is not looked at there, nor "
    "is any other, because that can change the last bits of the training. Parameters, gradients "
    "and updates are recorded. To see activations, too, record without torch.compile or with "
    "backend='aot_eager'."
)
UNKNOWN: Final = (
    "A call of {place} lies in compiled code after a graph break, where nothing tells which "
    "module makes it: it is not recorded, nor are others like it. Use an activation module "
    "(nn.ReLU for F.relu), avoid the graph break, or record without torch.compile."
)

_numbers = itertools.count()
_watches: WeakValueDictionary[int, CompiledWatch] = WeakValueDictionary()


@torch.library.custom_op("deephochuli::look", mutates_args=())
def look(x: Tensor, watch: int, site: int, what: int) -> None:
    """Show one tensor of a compiled graph to the watch that put the operator there.

    Args:
        x: The tensor; it is not changed.
        watch: Number of the watch; nothing happens once it is gone.
        site: Number of the site within the watch; at the `BEGIN` of a forward, its mode.
        what: `BEGIN`, `INPUT`, `INPUT_GRADIENT`, `OUTPUT`, `OUTPUT_GRADIENT`.
    """
    found = _watches.get(watch)
    if found is not None:
        found.looked(x, site, what)


@look.register_fake
def _(x: Tensor, watch: int, site: int, what: int) -> None:  # pyright: ignore[reportUnusedFunction]
    """Nothing comes out, whatever goes in."""


look.register_effect(EffectType.ORDERED)


def show(x: Tensor, watch: int, site: int, what: int, value: bool, gradient: bool) -> None:
    """Put the operator beside a tensor, and a hook that puts it beside its gradient.

    A graph that Python was traced into calls this, and runs while the back end traces it: `x` is
    the tensor in the autograd graph of the user's code there.

    Args:
        x: The tensor.
        watch: Number of the watch.
        site: Number of the site within it.
        what: `INPUT` or `OUTPUT`.
        value: Whether the tensor is looked at.
        gradient: Whether its gradient is.
    """
    found = _watches.get(watch)
    if found is None or not is_real(x):
        return
    if x.dtype.itemsize < 4:
        found.say_once(NARROW, found.name_of(site))
        return
    if value:
        look(x.detach(), watch, site, what)
    # Back ends that trace nothing run the graph in each step: a hook on a leaf would stay there.
    is_traced = isinstance(x, FunctionalTensor)
    if gradient and x.requires_grad and torch.is_grad_enabled() and (is_traced or not x.is_leaf):
        x.register_hook(functools.partial(_look_at_gradient, watch, site, what + 1))


def _look_at_gradient(watch: int, site: int, what: int, gradient: Tensor) -> None:
    """Tensor hook that is traced into the backward graph."""
    look(gradient, watch, site, what)


torch.fx.has_side_effect(show)  # or a graph would be rid of it: nothing uses what it returns


@dataclass(frozen=True, slots=True)
class Plan:
    """What the hooks of one module put into the graph; plain values, which a compiler can read."""

    site: int
    sees_input: bool
    sees_input_gradient: bool
    sees_output: bool
    sees_output_gradient: bool


@dataclass(frozen=True, slots=True)
class FunctionSite:
    """The calls of one kind of activation function by one module."""

    caller: Tapped
    kind: str
    index: int
    hint: int | None


class CompiledWatch:
    """What is put into graphs, and what happens when the operator calls back."""

    def __init__(
        self, catalogue: Catalogue, reader: Reader, announce: Callable[[bool, bool], None]
    ) -> None:
        """Watch the modules of `catalogue`; `announce` learns of each forward."""
        self._model = catalogue.model
        self._catalogue = catalogue
        self._reader = reader
        self._announce = announce
        self._tapped = list(catalogue.by_id.values())
        self._functions: list[FunctionSite] = []
        self._first_index: dict[tuple[str, str, CodeType], int] = {}
        self._hints = _hints(self._tapped)
        self.plans = self._plans()
        self.number = next(_numbers)
        with torch._C.DisableTorchFunction():  # no function mode of the user's takes part
            self.anything = torch.zeros(1, device="cpu")  # an operator must be given a tensor
        self._n_inputs: Counter[int] = Counter()
        self._n_gradients: Counter[tuple[int, int]] = Counter()
        self._is_on = False
        self._said: set[str] = set()
        _watches[self.number] = self

    def listen(self) -> Callable[[], None]:
        """Have calls of `show` and of activation functions seen in graphs; return the undo."""
        torch.compiler.allow_in_graph(show)
        return listen(self)

    def _plans(self) -> Mapping[nn.Module, Plan]:
        """Plan what to look at, by module; slots are made only when a call comes."""
        plans: dict[nn.Module, Plan] = {}
        for number, tapped in enumerate(self._tapped):
            if tapped.kind is not None:
                plans[tapped.module] = _plan(number, self._catalogue.wanted_at(tapped))
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
        if plan.sees_input or plan.sees_input_gradient:
            sees = plan.sees_input, plan.sees_input_gradient
            show(args[0], self.number, plan.site, INPUT, *sees)

    def after(self, module: nn.Module, output: object) -> None:
        """Global forward hook, inside a graph."""
        plan = self.plans.get(module)
        if plan is None or not isinstance(output, Tensor):
            return
        if plan.sees_output or plan.sees_output_gradient:
            sees = plan.sees_output, plan.sees_output_gradient
            show(output, self.number, plan.site, OUTPUT, *sees)

    # ---- called with what was traced, before it is compiled

    def traced(self, traced: Traced) -> None:
        """Have a graph show its activation functions too, or nothing if operations are fused."""
        if is_exporting():
            return
        try:
            calls = list(function_calls(traced, self._catalogue.by_id))
            changed = {call.node.graph for call in calls}
            if traced.is_fused:
                self._say_fused(traced, calls)
                changed = self._show_nothing(traced)
            else:
                for call in calls:
                    self._show_function(traced, call)
            for graph in changed:
                if graph.owning_module is not None:
                    graph.owning_module.recompile()
        except Exception as error:  # an instrument never stops the training
            self.unheard(error)

    def unheard(self, error: Exception) -> None:
        """Say once that activation functions inside compiled code are not looked at."""
        self._reader.faults.report("functions in compiled code", error)

    def _say_fused(self, traced: Traced, calls: list[FunctionCall]) -> None:
        """Say which function is not looked at, and in which module."""
        for call in calls[:1]:
            caller = call.caller
            place = call.kind
            if isinstance(caller, Tapped):
                place = f"{_name(caller, call.kind)!r} of a {caller.type_name}"
            self.say_once(FUSED, f"{place} ({call.line})", traced.back_end)

    def _show_nothing(self, traced: Traced) -> set[Graph]:
        """Take away what hooks have put beside values: asking for them changes what is fused."""
        changed: set[Graph] = set()
        for node in list(nodes_in(traced.module)):
            if node.target is not show or node.args[1] != self.number or node.args[3] == BEGIN:
                continue
            tapped = self._tapped[cast("int", node.args[2])]
            self.say_once(FUSED, f"{tapped.path!r} ({tapped.kind})", traced.back_end)
            changed.add(node.graph)
            node.graph.erase_node(node)
        return changed

    def _show_function(self, traced: Traced, call: FunctionCall) -> None:
        """Put `show` before and after one call."""
        if not isinstance(call.caller, Tapped):
            self.say_once(UNKNOWN, f"{call.kind} ({call.line})")
            return
        index = self._index(traced, call.caller, call)
        site = FunctionSite(call.caller, call.kind, index, call.hint)
        plan = _plan(
            len(self._tapped) + len(self._functions),
            self._catalogue.wanted_at(call.caller, call.kind),
        )
        self._functions.append(site)
        add, node = call.node.graph, call.node
        if isinstance(call.argument, Node) and (plan.sees_input or plan.sees_input_gradient):
            sees = plan.sees_input, plan.sees_input_gradient
            with add.inserting_before(node):
                add.call_function(show, (call.argument, self.number, plan.site, INPUT, *sees))
        if plan.sees_output or plan.sees_output_gradient:
            sees = plan.sees_output, plan.sees_output_gradient
            with add.inserting_after(node):
                result = first_result(node)
            with add.inserting_after(result):
                add.call_function(show, (result, self.number, plan.site, OUTPUT, *sees))

    def _index(self, traced: Traced, caller: Tapped, call: FunctionCall) -> int:
        """Which call of its kind it is: after a graph break the count goes on."""
        if caller.module is not traced.owner:
            return call.index
        key = (caller.path, call.kind, traced.code)
        known = [
            site.index
            for site in self._functions
            if traced.is_rest and (site.caller, site.kind) == (caller, call.kind)
        ]
        first = self._first_index.setdefault(key, max(known, default=0))
        return min(first + call.index, MAX_CALLS)

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

    def looked(self, x: Tensor, site: int, what: int) -> None:
        """Take what the operator was given. Never raises an `Exception`."""
        try:
            if what == BEGIN:
                self._begin(is_training=bool(site & TRAINS), has_gradients=site >= GRADIENTS)
            elif self._is_on:
                self._look(x, site, what)
        except Exception as error:  # an instrument never stops the training
            self._reader.faults.report("compiled code", error)

    def _begin(self, *, is_training: bool, has_gradients: bool) -> None:
        """A forward of the whole model begins, unless a checkpoint runs it again."""
        if in_backward():
            return
        self._announce(is_training, has_gradients)
        self.forward_begins(is_recording=bool(self._reader.tell("is_recording")), is_listed=True)

    def _look(self, x: Tensor, site: int, what: int) -> None:
        """Show one tensor at its place, if it has one."""
        is_value = what in {INPUT, OUTPUT}
        if is_value and in_backward():
            return  # a recomputation: the values were shown on the first run
        if what == INPUT:
            self._n_inputs[site] += 1
        place = _place(self._slot(site, what, x.ndim), what)
        if place is not None:
            self._reader.see(place, x)

    def _slot(self, site: int, what: int, n_dims: int) -> Slot:
        """The places at a site, of the call of it that goes on."""
        if site >= len(self._tapped):
            function = self._functions[site - len(self._tapped)]
            dim = channel_dim(function.hint, n_dims, function.kind)
            return self._catalogue.function_slot(
                function.caller, function.kind, function.index, dim
            )
        tapped, index = self._tapped[site], self._call_number(site, what)
        if tapped.kind is None:
            dim = channel_dim(tapped.channel_hint, n_dims, "output")
            return self._catalogue.output_slot(tapped, "", index, dim)
        dim = channel_dim(self._hints[id(tapped.module)], n_dims, tapped.kind)
        return self._catalogue.module_slot(tapped, index, dim)

    def _call_number(self, module: int, what: int) -> int:
        """Which call of the module a tensor belongs to: gradients come in the reverse order."""
        n_calls = max(1, self._n_inputs[module])
        if what not in {INPUT_GRADIENT, OUTPUT_GRADIENT}:
            return n_calls
        self._n_gradients[module, what] += 1
        return max(1, n_calls + 1 - self._n_gradients[module, what])

    # ---- what is said

    def name_of(self, site: int) -> str:
        """What people know a site by."""
        if site < len(self._tapped):
            return self._tapped[site].path
        function = self._functions[site - len(self._tapped)]
        return _name(function.caller, function.kind)

    def say_once(self, message: str, place: str, back_end: str = "") -> None:
        """Say at the first place of a kind what cannot be seen there."""
        if message not in self._said:
            self._said.add(message)
            say(message.format(place=place, back_end=back_end))


def _name(caller: Tapped, function: str) -> str:
    """What people know the calls of a function by."""
    return f"{caller.path}.{function}".removeprefix(".")


def _plan(site: int, wanted: Slot) -> Plan:
    """What to put beside the calls at a site."""
    return Plan(
        site, wanted.z is not None, wanted.dz is not None,
        wanted.a is not None, wanted.da is not None,
    )  # fmt: skip


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
