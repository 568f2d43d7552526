"""Finding the activation functions in what torch.compile has traced.

A function leaves no hook in a graph, only the call of it. So the one method by which torch hands a
traced graph to a back end is wrapped, on its class, for as long as anybody listens. The graph says
of each call which modules it was made in, innermost last, by their identities; a call outside of
them was made by the frame that was traced.
"""

# What a graph was traced from has no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportMissingTypeStubs=false
from __future__ import annotations

import operator
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import CodeType
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from deephochuli.taps._activations import (
    CLAMP,
    FUNCTION_KINDS,
    is_rectifying_clamp,
    kind_of_class,
)
from deephochuli.taps._catalogue import Tapped
from deephochuli.taps._frames import MAX_CALLS


@dataclass(frozen=True, slots=True)
class Traced:
    """A graph that is about to be compiled.

    Attributes:
        module: The graph, which may still be changed.
        code: The function that was traced, or the rest of one after a graph break.
        owner: The module whose method that is, if it is one.
        back_end: Name of what will compile it.
    """

    module: GraphModule
    code: CodeType
    owner: nn.Module | None
    back_end: str

    @property
    def is_fused(self) -> bool:
        """Whether operations may be fused: by any back end but those that run them one by one."""
        return self.back_end not in {"eager", "aot_eager"}

    @property
    def is_rest(self) -> bool:
        """Whether it is what comes after a graph break."""
        return self.code.co_name.startswith("torch_dynamo_resume_in_")


class Caller(Enum):
    """Who makes a call in a graph, if it is no module of the model."""

    NOT_OURS = "somebody else"
    UNKNOWN = "after a graph break nothing tells"


Modules = tuple[tuple[str, type[nn.Module]], ...]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of an activation function in a graph.

    Attributes:
        node: The call.
        caller: The module that makes it, or `Caller.UNKNOWN`.
        kind: What the function computes.
        index: Which call of this kind it is within one call of the module, from 1.
        hint: Where the last layer before it counts its channels, as far as its type tells.
    """

    node: Node
    caller: Tapped | Caller
    kind: str
    index: int
    hint: int | None

    @property
    def argument(self) -> object:
        """What the function is given first."""
        given = self.node.kwargs
        return self.node.args[0] if self.node.args else given.get("input", given.get("query"))

    @property
    def line(self) -> str:
        """Where it stands in the user's code, if that is known."""
        frames = [each.strip() for each in (self.node.stack_trace or "").splitlines()]
        files = [each for each in frames if each.startswith("File ")]
        return files[-1].partition(", in ")[0] if files else "somewhere"


class GraphListener(Protocol):
    """Hears of graphs before they are compiled, and may add to them."""

    def traced(self, traced: Traced) -> None:
        """Take a graph."""
        ...

    def unheard(self, error: Exception) -> None:
        """Learn that graphs cannot be told of: this torch keeps them otherwise."""
        ...


_listeners: Final[list[GraphListener]] = []
_lock: Final = threading.Lock()
_original: Callable[..., Any] | None = None


def _compile(self: Any, gm: GraphModule, example_inputs: list[Tensor]) -> Any:
    """Hand a graph to the back end as torch would, with the listeners told before."""
    try:
        back_end = getattr(self.compiler_fn, "__name__", "a back end")
        traced = Traced(gm, self.root_tx.f_code, _owner(self.root_tx), back_end)
    except Exception as error:  # an instrument never stops the training
        for listener in tuple(_listeners):
            listener.unheard(error)
    else:
        for listener in tuple(_listeners):
            listener.traced(traced)
    hand_over = cast("Callable[..., Any]", _original or type(self).call_user_compiler)
    return hand_over(self, gm, example_inputs)


def _owner(frame: Any) -> nn.Module | None:
    """The module whose method a frame is, or the rest of one, where `self` still has its name."""
    for name in (*frame.f_code.co_varnames[:1], "self"):
        found = frame.f_locals.get(name)
        if isinstance(found, nn.Module):
            return found
    return None


def listen(listener: GraphListener) -> Callable[[], None]:
    """Tell `listener` of every graph from now on; return the undo."""
    global _original
    from torch._dynamo.output_graph import OutputGraph  # every optimizer has imported it already

    with _lock:
        _listeners.append(listener)
        if _original is None:
            try:
                _original = OutputGraph.call_user_compiler
            except AttributeError as error:
                listener.unheard(error)
            else:
                OutputGraph.call_user_compiler = _compile

    def cease() -> None:
        global _original
        with _lock:
            if listener in _listeners:
                _listeners.remove(listener)
            is_last = not _listeners and OutputGraph.call_user_compiler is _compile
            if is_last and _original is not None:
                OutputGraph.call_user_compiler = _original
                _original = None

    return cease


def function_calls(traced: Traced, by_id: Mapping[int, Tapped]) -> Iterator[FunctionCall]:
    """Yield the calls of activation functions that modules of a model make, in order.

    Args:
        traced: The graph.
        by_id: The modules of the model by identity.
    """
    counts: Counter[tuple[Modules, str]] = Counter()
    hint, before = None, cast(Modules, ())
    for node in nodes_in(traced.module):
        modules = _modules_around(node)
        for left in reversed([each for each in before if each not in modules]):
            layer = by_id.get(_identity(left))
            hint = layer.channel_hint if layer and layer.channel_hint is not None else hint
        before = modules
        kind = _kind(node)
        caller = Caller.NOT_OURS if kind is None else _caller(modules, traced, by_id)
        if kind is not None and caller is not Caller.NOT_OURS:
            counts[modules, kind] += 1
            yield FunctionCall(node, caller, kind, min(counts[modules, kind], MAX_CALLS), hint)


def nodes_in(module: GraphModule) -> Iterator[Node]:
    """Yield the calls in a graph and in the checkpointed parts of it, as they are executed."""
    for node in module.graph.nodes:
        part = _checkpointed(module, node)
        if part is not None:
            yield from nodes_in(part)
        else:
            yield node


def _checkpointed(module: GraphModule, node: Node) -> GraphModule | None:
    """The graph that a node runs under activation checkpointing, if it does."""
    body = node.args[0] if node.args else None
    is_checkpoint = node.target is torch.ops.higher_order.tag_activation_checkpoint
    if not (is_checkpoint and isinstance(body, Node) and body.op == "get_attr"):
        return None
    found = getattr(module, str(body.target), None)
    return found if isinstance(found, GraphModule) else None


def _modules_around(node: Node) -> Modules:
    """The modules in whose calls a node was made, outermost first."""
    stack = cast("dict[str, tuple[str, type[nn.Module]]]", node.meta.get("nn_module_stack") or {})
    return tuple((key, kind) for key, (_, kind) in stack.items())


def _identity(module: tuple[str, type[nn.Module]]) -> int:
    """The `id` of a module, or -1: its key is that, with the number of the call after the first."""
    number = module[0].partition("@")[0]
    return int(number) if number.isdecimal() else -1


def _kind(node: Node) -> str | None:
    """What an activation function computes, if a node calls one."""
    if node.op not in {"call_function", "call_method"}:
        return None
    function = called(node)
    kind = FUNCTION_KINDS.get(function)
    return None if kind == CLAMP and not is_rectifying_clamp(node.args, node.kwargs) else kind


def called(node: Node) -> Any:
    """The function that a node calls; that of `Tensor` for a method."""
    return getattr(Tensor, str(node.target), None) if node.op == "call_method" else node.target


def _caller(modules: Modules, traced: Traced, by_id: Mapping[int, Tapped]) -> Tapped | Caller:
    """Say who makes a call, as it is told where nothing is compiled."""
    for each in reversed(modules):
        tapped = by_id.get(_identity(each))
        if tapped is not None:  # inside of an activation that is looked at as a module
            return tapped if tapped.kind is None else Caller.NOT_OURS
        if kind_of_class(each[1]) is None:  # a module made on the fly may be an activation
            return Caller.NOT_OURS
    owner = by_id.get(id(traced.owner))
    if owner is not None and owner.kind is None:
        return owner
    return Caller.UNKNOWN if traced.owner is None and traced.is_rest else Caller.NOT_OURS


def first_result(node: Node) -> Node:
    """What an activation returns: the first part of a tuple, which is added to the graph."""
    value = node.meta.get("example_value")
    if not isinstance(value, tuple):
        return node
    return node.graph.call_function(operator.getitem, (node, 0))
