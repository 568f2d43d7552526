"""In which layer an operator runs: by the module calls in progress, in the backward by its node.

A node of the autograd graph bears a sequence number that grows from one node to the next. Where
each call of a module begins and ends in those numbers says to which layer a node belongs.
"""

# torch leaves much of its interface without types.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from bisect import bisect_right
from typing import Any

import torch
from torch import nn

MOST_BOUNDARIES = 1_000_000
"""Older boundaries are forgotten beyond this many; a graph that old is not worked backwards."""


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
        self._numbers: list[int] = [-1]
        self._layers: list[str | None] = [None]
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
        return self._layers[bisect_right(self._numbers, node._sequence_nr()) - 1]

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
        number = torch.autograd._get_sequence_nr()
        if number < self._numbers[-1]:  # another thread, whose numbers are its own
            self._numbers, self._layers = [-1], [None]
        if number == self._numbers[-1]:
            self._layers[-1] = self.here()
        else:
            self._numbers.append(number)
            self._layers.append(self.here())
        if len(self._numbers) > MOST_BOUNDARIES:
            half = len(self._numbers) // 2
            self._numbers, self._layers = self._numbers[half:], self._layers[half:]
