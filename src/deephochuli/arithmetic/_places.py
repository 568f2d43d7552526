"""In which layer an operator runs: by the module calls in progress, in the backward by its node.

A node of the autograd graph bears a sequence number that grows from one node to the next. Where
each call of a module begins and ends in those numbers says to which layer a node belongs.

Each thread has numbers of its own. The backward of a GPU runs in another thread than the forward,
and with it what a checkpoint computes again: those calls are noted apart.
"""

# torch leaves much of its interface without types.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

MOST_BOUNDARIES = 1_000_000
"""Older boundaries are forgotten beyond this many; a graph that old is not worked backwards."""


@dataclass(slots=True)
class _Boundaries:
    """Sequence numbers from which on another layer is at work, and the layers.

    Attributes:
        thread: Whose numbers they are.
        task: The backward in which the calls were made; -1 outside of any.
    """

    thread: int
    task: int
    numbers: list[int] = field(default_factory=lambda: [-1])
    layers: list[str | None] = field(default_factory=lambda: [None])

    def add(self, number: int, layer: str | None) -> None:
        """Note that from the next node on a layer is at work."""
        if number == self.numbers[-1]:
            self.layers[-1] = layer
        else:
            self.numbers.append(number)
            self.layers.append(layer)
        if len(self.numbers) > MOST_BOUNDARIES:
            half = len(self.numbers) // 2
            self.numbers, self.layers = self.numbers[half:], self.layers[half:]

    def layer_of(self, number: int) -> str | None:
        """The layer that made the node of a number."""
        return self.layers[bisect_right(self.numbers, number) - 1]


class Places:
    """Follows the calls of the modules of one model."""

    def __init__(self, model: nn.Module) -> None:
        """Know every module of `model` by its path; the model itself is ``""``."""
        self._paths: dict[nn.Module, str] = {}
        for path, module in model.named_modules():
            self._paths.setdefault(module, path)
        self._owners: dict[int, str] = {}
        for path, module in model.named_modules():
            for parameter in module.parameters(recurse=False):
                self._owners.setdefault(id(parameter), path)
        self._stack: list[nn.Module] = []
        self._boundaries = _Boundaries(threading.get_ident(), -1)
        self._again: _Boundaries | None = None
        self._handles: list[Any] = []

    @property
    def is_inside(self) -> bool:
        """Whether a call of the model is in progress."""
        return bool(self._stack)

    def here(self) -> str | None:
        """The layer whose forward is in progress, None outside the model."""
        return self._paths[self._stack[-1]] if self._stack else None

    def of_node(self, node: Any) -> str | None:
        """The layer that made a node of the autograd graph; None for one made outside the model."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            return self._owners.get(id(variable))
        again, task = self._again, torch._C._current_graph_task_id()
        # What a checkpoint computes again inside a backward is worked by another one inside of it.
        is_made_again = again is not None and task not in (-1, again.task)
        boundaries = again if again is not None and is_made_again else self._boundaries
        return boundaries.layer_of(node._sequence_nr())

    def follow(self) -> None:
        """Begin to follow."""
        for module in self._paths:
            self._handles.append(module.register_forward_pre_hook(self._enter))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def forget(self) -> None:
        """Follow no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stack.clear()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._stack.append(module)
        self._mark()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        while self._stack:  # a call that an exception ended may lie on top
            if self._stack.pop() is module:
                break
        self._mark()

    def _mark(self) -> None:
        """Note that from the next node on another layer is at work."""
        number, thread = torch.autograd._get_sequence_nr(), threading.get_ident()
        task = torch._C._current_graph_task_id()
        if task == -1 or thread == self._boundaries.thread:
            self._again = None
            if thread != self._boundaries.thread or number < self._boundaries.numbers[-1]:
                self._boundaries = _Boundaries(thread, task)
            self._boundaries.add(number, self.here())
            return
        if self._again is None or (self._again.thread, self._again.task) != (thread, task):
            self._again = _Boundaries(thread, task)
        self._again.add(number, self.here())
